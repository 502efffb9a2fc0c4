use std::fmt;

use serde::Serialize;
use veracity_graph::{Graph, Input};
use veracity_worker::TensorInfo;

use crate::words;

/// A tensor that a model takes or gives.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tensor {
    name: String,
    #[serde(rename = "type")]
    elem: String,
    /// In words, the batch first.
    shape: String,
}

impl Tensor {
    pub(super) fn of_input(graph: &Graph, input: &Input) -> Self {
        let shape = words::printable(&graph.shape_text(input));
        Self { name: words::printable(&input.name), elem: input.elem.to_string(), shape }
    }

    pub(super) fn of_output(output: &TensorInfo) -> Self {
        let word = |extent: &Option<u64>| extent.map_or("?".to_owned(), |n| n.to_string());
        let rest = output.shape.iter().skip(1).map(word);
        let words: Vec<String> = std::iter::once("batch".to_owned()).chain(rest).collect();
        let shape = format!("[{}]", words.join(", "));
        Self { name: words::printable(&output.name), elem: output.elem.to_string(), shape }
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} {}", self.name, self.elem, self.shape)
    }
}
