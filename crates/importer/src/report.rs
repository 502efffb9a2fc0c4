use std::fmt;

use serde_json::json;

/// How close one output is to the f32 original.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputAccuracy {
    /// Name of the output.
    pub name: String,
    /// Samples whose largest value is at the same position, of all; for outputs of at least two values.
    pub argmax_agreement: Option<f64>,
    /// Mean over samples of the cosine between both vectors.
    pub cosine_mean: f64,
    /// Smallest cosine of a sample.
    pub cosine_min: f64,
    /// Largest absolute difference.
    pub error_max: f64,
    /// Mean absolute difference.
    pub error_mean: f64,
}

/// What an import found out about accuracy.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `static` or `dynamic` scales.
    pub scheme: &'static str,
    /// `i8` or `i16` activations.
    pub activations: &'static str,
    /// Samples compared; 0 means that nothing was measured.
    pub n_samples: usize,
    /// Why there is no comparison, if there is none.
    pub not_measured: Option<String>,
    /// Accuracy of each output.
    pub outputs: Vec<OutputAccuracy>,
}

/// Sums over the samples of one output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accumulator {
    n: usize,
    n_values: usize,
    agree: usize,
    cosine_sum: f64,
    cosine_min: Option<f64>,
    error_sum: f64,
    error_max: f64,
}

fn argmax(v: &[f32]) -> usize {
    (0..v.len()).fold(0, |best, i| if v[i] > v[best] { i } else { best })
}

/// Cosine of two vectors; 1 if both are zero, 0 if one is.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let (aa, bb) = (dot(a, a), dot(b, b));
    match (aa > 0.0, bb > 0.0) {
        (true, true) => dot(a, b) / (aa * bb).sqrt(),
        (false, false) => 1.0,
        (true, false) | (false, true) => 0.0,
    }
}

impl Accumulator {
    pub(crate) fn add(&mut self, reference: &[f32], ours: &[f32]) {
        self.n += 1;
        self.n_values += reference.len();
        self.agree += usize::from(argmax(reference) == argmax(ours));
        let c = cosine(reference, ours);
        self.cosine_sum += c;
        self.cosine_min = Some(self.cosine_min.map_or(c, |m| m.min(c)));
        for (a, b) in reference.iter().zip(ours) {
            let e = (f64::from(*a) - f64::from(*b)).abs();
            self.error_sum += e;
            self.error_max = self.error_max.max(e);
        }
    }

    pub(crate) fn finish(self, name: &str) -> OutputAccuracy {
        let n = self.n.max(1) as f64;
        OutputAccuracy {
            name: name.into(),
            argmax_agreement: (self.n_values > self.n).then(|| self.agree as f64 / n),
            cosine_mean: self.cosine_sum / n,
            cosine_min: self.cosine_min.unwrap_or(0.0),
            error_max: self.error_max,
            error_mean: self.error_sum / self.n_values.max(1) as f64,
        }
    }
}

impl Report {
    /// The report as JSON text with stable keys.
    #[must_use]
    pub fn to_json(&self) -> String {
        let output = |o: &OutputAccuracy| {
            json!({
                "name": o.name,
                "argmax_agreement": o.argmax_agreement,
                "cosine_mean": o.cosine_mean,
                "cosine_min": o.cosine_min,
                "error_max": o.error_max,
                "error_mean": o.error_mean,
            })
        };
        let outputs: Vec<_> = self.outputs.iter().map(output).collect();
        let report = json!({
            "scheme": self.scheme,
            "activations": self.activations,
            "n_samples": self.n_samples,
            "not_measured": self.not_measured,
            "reference": "rten 0.27 f32",
            "outputs": outputs,
        });
        format!("{report:#}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "scales {}, activations {}", self.scheme, self.activations)?;
        if let Some(reason) = &self.not_measured {
            return writeln!(f, "accuracy NOT measured: {reason}");
        }
        writeln!(f, "accuracy against the f32 original on {} samples:", self.n_samples)?;
        for o in &self.outputs {
            write!(f, "  {}: ", o.name)?;
            if let Some(agreement) = o.argmax_agreement {
                write!(f, "argmax equal {:.2} %, ", 100.0 * agreement)?;
            }
            write!(f, "cosine {:.6} (worst {:.6}), ", o.cosine_mean, o.cosine_min)?;
            writeln!(f, "error mean {:.5}, max {:.5}", o.error_mean, o.error_max)?;
        }
        Ok(())
    }
}
