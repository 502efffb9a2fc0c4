//! The accuracy report of an import, as a table.

use std::fmt;

use serde::Deserialize;

use crate::words;

/// What is shown of a report, which is the JSON of [`veracity_importer::Report::to_json`].
#[derive(Debug, Deserialize)]
pub(super) struct Accuracy {
    scheme: String,
    activations: String,
    n_samples: u64,
    not_measured: Option<String>,
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize)]
struct Output {
    name: String,
    argmax_agreement: Option<f64>,
    cosine_mean: Option<f64>,
    cosine_min: Option<f64>,
    error_mean: Option<f64>,
    error_max: Option<f64>,
}

impl Output {
    /// Its numbers in the order of the columns; `-` for what was not measured.
    fn cells(&self) -> [String; 5] {
        let number = |value: Option<f64>, decimals| value.map(|v| format!("{v:.decimals$}"));
        let share = self.argmax_agreement.map(|share| format!("{:.2} %", 100.0 * share));
        [
            share,
            number(self.cosine_mean, 6),
            number(self.cosine_min, 6),
            number(self.error_mean, 5),
            number(self.error_max, 5),
        ]
        .map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
    }
}

const COLUMNS: [&str; 5] = ["SAME ARGMAX", "COSINE MEAN", "COSINE MIN", "ERROR MEAN", "ERROR MAX"];

impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, activations) = (words::printable(&self.scheme), words::printable(&self.activations));
        if let Some(reason) = &self.not_measured {
            return write!(f, "not measured: {}", words::printable(reason));
        }
        let samples = words::count(self.n_samples, "sample");
        write!(f, "{scheme} scales, {activations} activations, against the original in f32 on {samples}")?;
        let names: Vec<String> = self.outputs.iter().map(|o| words::printable(&o.name)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("OUTPUT".len());
        let mut row = |name: &str, cells: [&str; 5]| {
            write!(f, "\n  {name:<width$}")?;
            COLUMNS.iter().zip(cells).try_for_each(|(column, cell)| write!(f, "  {cell:>0$}", column.len()))
        };
        row("OUTPUT", COLUMNS)?;
        names.iter().zip(&self.outputs).try_for_each(|(name, output)| {
            let cells = output.cells();
            row(name, cells.each_ref().map(String::as_str))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_table() {
        let json = r#"{"scheme":"static","activations":"i8","n_samples":1,"not_measured":null,"reference":"x","outputs":[
            {"name":"logits","argmax_agreement":0.9921875,"cosine_mean":0.9998149,"cosine_min":0.99,"error_mean":0.1,"error_max":12.5},
            {"name":"y","argmax_agreement":null,"cosine_mean":null,"cosine_min":1.0,"error_mean":0.0,"error_max":0.0}]}"#;
        let report: Accuracy = serde_json::from_str(json).unwrap();
        let expected = "\
static scales, i8 activations, against the original in f32 on 1 sample
  OUTPUT  SAME ARGMAX  COSINE MEAN  COSINE MIN  ERROR MEAN  ERROR MAX
  logits      99.22 %     0.999815    0.990000     0.10000   12.50000
  y                 -            -    1.000000     0.00000    0.00000";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let json = r#"{"scheme":"dynamic","activations":"i8","n_samples":0,"not_measured":"no samples","outputs":[]}"#;
        let report: Accuracy = serde_json::from_str(json).unwrap();
        assert_eq!(report.to_string(), "not measured: no samples");
    }
}
