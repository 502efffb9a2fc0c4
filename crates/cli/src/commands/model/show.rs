use std::fmt;

use serde::Serialize;
use serde_json::Value;
use veracity_graph::Provenance;

use super::Tensor;
use crate::{
    args::Global,
    error::Failure,
    models::{self, Found},
    runner::EngineArgs,
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

/// Reads a model in full, so that what is shown was checked.
pub(super) fn show(reference: &str, global: &Global) -> Result<Card, Failure> {
    let Found { id, name, bundle, report } = models::find(reference, global)?;
    let manifest = bundle.manifest.clone();
    let loaded = EngineArgs::default().load(bundle)?;
    let graph = loaded.model().graph();
    let count = |shape: &[u32]| shape.iter().map(|&d| u64::from(d)).product::<u64>();
    Ok(Card {
        model_id: id.to_string(),
        name: Some(name).filter(|n| *n != id.to_string()),
        size_bytes: manifest.graph.size_bytes.saturating_add(manifest.weights.size_bytes),
        parameters: graph.constants.iter().map(|c| count(&c.shape)).sum(),
        nodes: graph.nodes.len(),
        inputs: graph.inputs.iter().map(|i| Tensor::of_input(graph, i)).collect(),
        outputs: loaded.outputs().iter().map(Tensor::of_output).collect(),
        provenance: Source::from(&manifest.provenance),
        accuracy: report.and_then(|text| serde_json::from_str(&text).ok()),
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
        match &self.accuracy {
            Some(report) => write!(f, "\naccuracy against the original in f32:{}", indent(report, 2)),
            None => write!(f, "\naccuracy   no report is stored with this model"),
        }
    }
}

/// A JSON value as indented lines, one `key  value` each; nothing for null.
fn indent(value: &Value, depth: usize) -> String {
    let line = |(key, value): (String, &Value)| {
        format!("\n{:depth$}{}{}", "", words::printable(&key), indent(value, depth + 2))
    };
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| line((k.clone(), v))).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| line((format!("[{i}]"), v))).collect(),
        Value::String(text) => format!("  {}", words::printable(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => format!("  {value}"),
    }
}
