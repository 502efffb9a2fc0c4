//! Answers for people and for programs.

use std::{fmt, path::PathBuf};

use serde::Serialize;
use veracity_graph::{Array, ArrayData};

use crate::{statement::Statement, words};

/// Most values of one output that are shown in full.
const VALUES_SHOWN: usize = 1000;
/// Most values on a line for people.
const LINE_SHOWN: usize = 32;
/// Of a larger output: the first samples, and of each the largest values.
const SAMPLES_SHOWN: usize = 5;
const PEAKS_SHOWN: usize = 3;

/// What a run gave.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) model_id: String,
    pub(crate) elapsed_us: u128,
    pub(crate) outputs: Vec<Tensor>,
    /// Where all values were written.
    pub(crate) output: Option<PathBuf>,
    pub(crate) receipt: Option<Statement>,
    pub(crate) notes: Vec<String>,
}

/// One output.
#[derive(Debug, Serialize)]
pub(crate) struct Tensor {
    name: String,
    #[serde(rename = "type")]
    elem: String,
    shape: Vec<usize>,
    /// Row-major; nothing if there are more than a thousand.
    values: Option<Vec<Number>>,
    /// Where there are more: the largest values of each of the first samples.
    largest: Option<Vec<Vec<Peak>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
enum Number {
    F32(f32),
    I64(i64),
}

/// A value and its row-major position in its sample.
#[derive(Debug, Serialize)]
struct Peak {
    position: usize,
    value: Number,
}

impl From<(String, Array)> for Tensor {
    fn from((name, array): (String, Array)) -> Self {
        let (elem, n) = (array.elem().to_string(), array.len());
        let is_small = n <= VALUES_SHOWN;
        let values = is_small.then(|| (0..n).map(|i| number(&array.data, i)).collect());
        let largest = (!is_small).then(|| {
            let columns = columns(&array.shape, n);
            let samples = (0..n).step_by(columns).take(SAMPLES_SHOWN);
            samples.map(|start| peaks(&array.data, start, columns)).collect()
        });
        Self { name, elem, shape: array.shape, values, largest }
    }
}

impl Tensor {
    /// Whether people do not see all values.
    fn is_cut(&self) -> bool {
        self.values.as_ref().is_none_or(|values| columns(&self.shape, values.len()) > LINE_SHOWN)
    }
}

/// The values of a sample, or the first ones and how many more there are.
fn line(row: &[String]) -> String {
    let shown = row.iter().take(LINE_SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
    match row.len().saturating_sub(LINE_SHOWN) {
        0 => shown,
        more => format!("{shown} and {}", words::count(more, "more value")),
    }
}

/// Values of one sample.
fn columns(shape: &[usize], n_values: usize) -> usize {
    (n_values / shape.first().copied().unwrap_or(1).max(1)).max(1)
}

fn number(data: &ArrayData, i: usize) -> Number {
    match data {
        ArrayData::F32(v) => Number::F32(v[i]),
        ArrayData::I32(v) => Number::I64(v[i].into()),
        ArrayData::I64(v) => Number::I64(v[i]),
    }
}

/// The largest of `columns` values from `start` on, the largest first.
fn peaks(data: &ArrayData, start: usize, columns: usize) -> Vec<Peak> {
    let mut peaks: Vec<Peak> = Vec::new();
    for position in 0..columns {
        let value = number(data, start + position);
        let rank = peaks.partition_point(|peak| peak.value >= value);
        if rank < PEAKS_SHOWN {
            peaks.insert(rank, Peak { position, value });
            peaks.truncate(PEAKS_SHOWN);
        }
    }
    peaks
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32(value) => write!(f, "{value:.4}"),
            Self::I64(value) => write!(f, "{value}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tensor in &self.outputs {
            write!(f, "{tensor}")?;
            if tensor.is_cut() && self.output.is_none() {
                writeln!(f, "  --output FILE.npz writes all values")?;
            }
        }
        if let Some(path) = &self.output {
            writeln!(f, "all values are in {}", path.display())?;
        }
        match &self.receipt {
            Some(receipt) => write!(f, "receipt\n  {}", receipt.to_string().replace('\n', "\n  ")),
            None => {
                write!(f, "in {} us, without a receipt; ask for one with --receipt FILE", self.elapsed_us)
            }
        }
    }
}

/// One line per sample.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {} {:?}", words::printable(&self.name), self.elem, self.shape)?;
        if let Some(values) = &self.values {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            let rows = texts.chunks(columns(&self.shape, texts.len()));
            return rows.map(line).try_for_each(|row| writeln!(f, "  {row}"));
        }
        let samples = self.largest.as_deref().unwrap_or_default();
        for (sample, peaks) in samples.iter().enumerate() {
            let peaks: Vec<String> = peaks.iter().map(|p| format!("{} at {}", p.value, p.position)).collect();
            writeln!(f, "  sample {sample}  largest: {}", peaks.join(", "))?;
        }
        match self.shape.first().map_or(0, |n| n.saturating_sub(samples.len())) {
            0 => Ok(()),
            more => writeln!(f, "  and {}", words::count(more, "more sample")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shape: &[usize], data: ArrayData) -> String {
        Tensor::from(("y".to_owned(), Array { shape: shape.to_vec(), data })).to_string()
    }

    #[test]
    fn small_outputs_are_shown_in_full() {
        let data = ArrayData::F32(vec![0.5, -1.0, 2.0, 1e-9]);
        assert_eq!(text(&[2, 2], data), "y  f32 [2, 2]\n  0.5000 -1.0000\n  2.0000 0.0000\n");
        assert_eq!(
            text(&[2], ArrayData::I64(vec![7, i64::MIN])),
            format!("y  i64 [2]\n  7\n  {}\n", i64::MIN)
        );
        assert_eq!(text(&[0, 3], ArrayData::I32(vec![])), "y  i32 [0, 3]\n");
    }

    #[test]
    fn long_lines_are_cut() {
        let cases = [("i64", ArrayData::I64((0..80).collect())), ("i32", ArrayData::I32((0..80).collect()))];
        let first: Vec<String> = (0..32).map(|v| v.to_string()).collect();
        let second: Vec<String> = (40..72).map(|v| v.to_string()).collect();
        let [first, second] = [first, second].map(|row| row.join(" "));
        for (elem, data) in cases {
            let expected =
                format!("y  {elem} [2, 40]\n  {first} and 8 more values\n  {second} and 8 more values\n");
            assert_eq!(text(&[2, 40], data), expected);
        }
        let floats = text(&[1, 33], ArrayData::F32(vec![0.5; 33]));
        assert_eq!(floats, format!("y  f32 [1, 33]\n  {}and 1 more value\n", "0.5000 ".repeat(32)));
        let full = text(&[1, 32], ArrayData::F32(vec![0.5; 32]));
        assert!(!full.contains("more"), "{full}");
    }

    #[test]
    fn of_large_outputs_the_largest_values_are_shown() {
        let row = |best: usize| (0..10).map(move |i| if i == best { 9.0 } else { i as f32 / 10.0 });
        let data = ArrayData::F32((0..101).flat_map(|sample| row(sample % 10)).collect());
        let expected = "\
y  f32 [101, 10]
  sample 0  largest: 9.0000 at 0, 0.9000 at 9, 0.8000 at 8
  sample 1  largest: 9.0000 at 1, 0.9000 at 9, 0.8000 at 8
  sample 2  largest: 9.0000 at 2, 0.9000 at 9, 0.8000 at 8
  sample 3  largest: 9.0000 at 3, 0.9000 at 9, 0.8000 at 8
  sample 4  largest: 9.0000 at 4, 0.9000 at 9, 0.8000 at 8
  and 96 more samples
";
        assert_eq!(text(&[101, 10], data), expected);
        let one = text(&[1, 2000], ArrayData::I32((0..2000).collect()));
        assert_eq!(one, "y  i32 [1, 2000]\n  sample 0  largest: 1999 at 1999, 1998 at 1998, 1997 at 1997\n");
    }
}
