//! Floats as text (specification, section 2).

use std::fmt::Write as _;

/// Appends a finite `x`.
pub(crate) fn write(out: &mut String, x: f32) {
    // `{:e}` gives the shortest digits that round back, closest to the value among those: `d1[.d2...dn]e<e>`.
    let mut text = ShortText::default();
    let _ = write!(text, "{x:e}");
    let text = text.as_str();
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let Some((mantissa, exponent)) = text.split_once('e') else { return };
    let e: i32 = exponent.parse().unwrap_or(0);
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    out.push_str(sign);
    match e {
        -5..0 => {
            out.push_str("0.");
            out.extend((e + 1..0).map(|_| '0'));
            out.push_str(first);
            out.push_str(rest);
        }
        0..=15 => {
            let split = rest.len().min(e.unsigned_abs() as usize);
            let (whole, fraction) = rest.split_at(split);
            out.push_str(first);
            out.push_str(whole);
            out.extend((split..e.unsigned_abs() as usize).map(|_| '0'));
            out.push('.');
            out.push_str(if fraction.is_empty() { "0" } else { fraction });
        }
        _ => out.push_str(text),
    }
}

/// Sign, 9 digits, point, `e-45`: 16 bytes and room.
#[derive(Default)]
struct ShortText {
    bytes: [u8; 32],
    len: usize,
}

impl ShortText {
    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl std::fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(x: f32) -> String {
        let mut out = String::new();
        write(&mut out, x);
        out
    }

    #[test]
    fn floats_are_written_as_specified() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1.1, "1.1"),
            (123.456, "123.456"),
            (0.00001, "0.00001"),
            (0.000_012_5, "0.0000125"),
            (0.000_001, "1e-6"),
            (-0.000_001_5, "-1.5e-6"),
            (16_777_216.0, "16777216.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e16"),
            (f32::MAX, "3.4028235e38"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (f32::from_bits(1), "1e-45"),
            (f32::EPSILON, "1.1920929e-7"),
            (1.0 / 3.0, "0.33333334"),
            (9_007_199_254_740_993.0, "9007199000000000.0"),
        ];
        for (x, expected) in cases {
            assert_eq!(text(x), expected, "{x:e}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back_to_the_same_bits_and_is_json(bits: u32) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            let text = text(x);
            prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), bits);
            prop_assert!(serde_json::from_str::<f64>(&text).is_ok());
            prop_assert!(text.contains(['.', 'e']));
        }
    }
}
