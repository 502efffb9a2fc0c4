//! Pictures and bars in a terminal: half blocks in 24-bit or 256 greys, characters where there is no colour.

use crate::output::Colors;

/// Columns per pixel; a row of text holds two rows of subpixels.
const ZOOM: usize = 2;
const RAMP: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
const UPPER_HALF: char = '\u{2580}';
const BLOCK: char = '\u{2588}';

/// Lines that show grey `pixels` in `0..=1`, row-major, `width` in a row.
pub(super) fn lines(pixels: &[f32], width: usize, colors: Colors) -> Vec<String> {
    if width == 0 {
        return Vec::new();
    }
    let subrows: Vec<&[f32]> = pixels.chunks(width).flat_map(|row| [row; ZOOM]).collect();
    subrows.chunks(2).map(|pair| line(pair[0], pair[pair.len() - 1], colors)).collect()
}

fn line(upper: &[f32], lower: &[f32], colors: Colors) -> String {
    let cells = upper.iter().zip(lower).flat_map(|cell| [cell; ZOOM]);
    match colors {
        Colors::None => cells.map(|(upper, _)| RAMP[level(*upper, RAMP.len())]).collect(),
        Colors::Indexed | Colors::True => {
            let cell = |(upper, lower)| {
                format!("{}{}{UPPER_HALF}", grey(38, upper, colors), grey(48, lower, colors))
            };
            cells.map(|(u, l)| cell((*u, *l))).collect::<String>() + "\x1b[0m"
        }
    }
}

/// The escape that sets the foreground (38) or background (48).
fn grey(ground: u8, value: f32, colors: Colors) -> String {
    match colors {
        Colors::True => {
            let level = level(value, 256);
            format!("\x1b[{ground};2;{level};{level};{level}m")
        }
        Colors::Indexed | Colors::None => format!("\x1b[{ground};5;{}m", 232 + level(value, 24)),
    }
}

/// `value` in `0..=1` as one of `n` levels.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a picture"
)]
fn level(value: f32, n: usize) -> usize {
    ((value.clamp(0.0, 1.0) * n as f32) as usize).min(n - 1)
}

/// A bar of at most `width` columns for a share in `0..=1`.
pub(super) fn bar(share: f32, width: usize, colors: Colors) -> String {
    let block = if colors == Colors::None { '#' } else { BLOCK };
    std::iter::repeat_n(block, level(share, width + 1)).collect()
}

/// Shares that sum to 1, from logits. For display: nothing that is verified passes through here.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|l| (l - max).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// Position of the largest value, the first of equals.
pub(super) fn argmax(values: &[f32]) -> usize {
    let larger = |best: usize, (i, v): (usize, &f32)| if *v > values[best] { i } else { best };
    values.iter().enumerate().fold(0, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_without_colour_are_plain_text() {
        assert_eq!(lines(&[0.0, 1.0, 0.5, 2.0], 2, Colors::None), ["  @@", "++@@"]);
        assert!(lines(&[], 0, Colors::None).is_empty());
    }

    #[test]
    fn pictures_with_colour_reset_it() {
        for (colors, white) in [(Colors::True, "\x1b[38;2;255;255;255m"), (Colors::Indexed, "\x1b[38;5;255m")]
        {
            let lines = lines(&[0.0, 1.0], 2, colors);
            assert!(lines.iter().all(|l| l.contains(white) && l.ends_with("\x1b[0m")), "{lines:?}");
        }
    }

    #[test]
    fn bars_and_shares() {
        assert_eq!(bar(1.0, 4, Colors::None), "####");
        assert_eq!(bar(0.0, 4, Colors::None), "");
        assert_eq!(softmax(&[0.0, 0.0]), [0.5, 0.5]);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }
}
