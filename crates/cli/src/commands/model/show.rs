use std::fmt;

use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use veracity_graph::Provenance;
use veracity_worker::CheckedModel;

use super::{Tensor, accuracy::Accuracy};
use crate::{
    args::Global,
    error::Failure,
    models::{self, Found},
    words,
};

/// All about one model.
#[derive(Debug, Serialize)]
pub(super) struct Card {
    model_id: String,
    name: Option<String>,
    size_bytes: u64,
    parameters: u64,
    nodes: usize,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    provenance: Source,
    accuracy: Option<Value>,
    /// Why the accuracy report cannot be read, if it cannot.
    accuracy_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Source {
    converter: String,
    format: String,
    source_hash: String,
    options: String,
    samples_hash: Option<String>,
}

impl From<&Provenance> for Source {
    fn from(provenance: &Provenance) -> Self {
        Self {
            converter: words::printable(&provenance.converter),
            format: words::printable(&provenance.format),
            source_hash: provenance.source.to_string(),
            options: words::printable(&provenance.options),
            samples_hash: provenance.samples.map(|s| s.to_string()),
        }
    }
}

/// Reads a model in full, so that what is shown was checked. It is not made ready to run, which may take far more
/// memory than the model has bytes.
pub(super) fn show(reference: &str, global: &Global) -> Result<Card, Failure> {
    let Found { id, name, bundle, report } = models::find(reference, global)?;
    let manifest = bundle.manifest.clone();
    let checked = CheckedModel::new(bundle).map_err(|error| models::damaged(&error))?;
    let graph = checked.model().graph();
    let (accuracy, accuracy_error) = match report.map(|text| text.map(|t| serde_json::from_str(&t))) {
        Ok(None) => (None, None),
        Ok(Some(Ok(value))) => (Some(value), None),
        Ok(Some(Err(error))) => (None, Some(format!("the report is not JSON: {error}"))),
        Err(failure) => (None, Some(format!("{}; {}", failure.message, failure.fix))),
    };
    let count = |shape: &[u32]| shape.iter().map(|&d| u64::from(d)).product::<u64>();
    Ok(Card {
        model_id: id.to_string(),
        name: Some(name).filter(|n| *n != id.to_string()),
        size_bytes: manifest.graph.size_bytes.saturating_add(manifest.weights.size_bytes),
        parameters: graph.constants.iter().map(|c| count(&c.shape)).sum(),
        nodes: graph.nodes.len(),
        inputs: graph.inputs.iter().map(|i| Tensor::of_input(graph, i)).collect(),
        outputs: checked.outputs().iter().map(Tensor::of_output).collect(),
        provenance: Source::from(&manifest.provenance),
        accuracy,
        accuracy_error,
    })
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Source { converter, format, source_hash, options, samples_hash } = &self.provenance;
        writeln!(f, "model      {}", self.model_id)?;
        if let Some(name) = &self.name {
            writeln!(f, "name       {name}")?;
        }
        let (size, parameters) = (words::size(self.size_bytes), words::grouped(self.parameters));
        writeln!(f, "size       {size}: {parameters} constants, {} operators", self.nodes)?;
        self.inputs.iter().try_for_each(|t| writeln!(f, "takes      {t}"))?;
        self.outputs.iter().try_for_each(|t| writeln!(f, "gives      {t}"))?;
        writeln!(f, "source     {format} {source_hash}")?;
        writeln!(f, "samples    {}", samples_hash.as_deref().unwrap_or("none"))?;
        writeln!(f, "converter  {converter}")?;
        write!(f, "options    {options}")?;
        f.write_str("\naccuracy   ")?;
        match (&self.accuracy, &self.accuracy_error) {
            (_, Some(error)) => write!(f, "unreadable: {}", words::printable(error)),
            (None, None) => f.write_str("no report is stored with this model"),
            (Some(report), None) => match Accuracy::deserialize(report) {
                Ok(accuracy) => accuracy.fmt(f),
                Err(_) => f.write_str("a report of another form; --json shows it"),
            },
        }
    }
}
