//! Assembles a [`Graph`] whose constants and nodes are discovered in any order.

use std::collections::BTreeMap;

use veracity_graph::{ConstantType, Dim, Encoding, Graph, Input, Model, ModelError, Node, Output, ValueId};
use veracity_ops::{DType, Op};

use crate::real::{Extent, RealInput};

/// A value of the graph being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ref {
    Input(usize),
    Constant(usize),
    /// Output `.1` of node `.0`.
    Node(usize, usize),
}

#[derive(Debug, Default)]
pub(crate) struct Builder {
    constants: Vec<ConstantType>,
    weights: Vec<u8>,
    known: BTreeMap<(DType, Vec<u32>, [u8; 32]), usize>,
    inputs: Vec<Input>,
    nodes: Vec<(String, Op, Vec<Ref>)>,
}

impl Builder {
    pub(crate) fn input(&mut self, input: &RealInput, encoding: Encoding) -> Ref {
        let dim = |d: &Extent| match *d {
            Extent::Fixed(n) => Dim::Fixed(u32::try_from(n).unwrap_or(u32::MAX)),
            Extent::Symbol(s) => Dim::Symbol(s),
            Extent::Derived => Dim::Symbol(u32::MAX),
        };
        let dims = input.dims.iter().map(dim).collect();
        self.inputs.push(Input { name: input.name.clone(), elem: input.elem, dims, encoding });
        Ref::Input(self.inputs.len() - 1)
    }

    /// Adds a constant, or finds an equal one.
    pub(crate) fn constant(&mut self, dtype: DType, shape: &[usize], values: &[i64]) -> Ref {
        let shape: Vec<u32> = shape.iter().map(|&d| u32::try_from(d).unwrap_or(u32::MAX)).collect();
        let bytes: Vec<u8> =
            values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(dtype.size())).collect();
        let key = (dtype, shape.clone(), *blake3::hash(&bytes).as_bytes());
        if let Some(&index) = self.known.get(&key) {
            return Ref::Constant(index);
        }
        let index = self.constants.len();
        self.known.insert(key, index);
        self.constants.push(ConstantType { dtype, shape });
        self.weights.extend_from_slice(&bytes);
        Ref::Constant(index)
    }

    pub(crate) fn node(&mut self, name: &str, op: impl Into<Op>, inputs: &[Ref]) -> Ref {
        // Names serve messages only; a long one is cut at a character.
        let mut end = name.len().min(256);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.nodes.push((name[..end].to_owned(), op.into(), inputs.to_vec()));
        Ref::Node(self.nodes.len() - 1, 0)
    }

    /// Finishes the graph; `outputs` are named values with their decodings. Also maps each of `values` to its id.
    pub(crate) fn finish(
        self,
        symbols: Vec<String>,
        outputs: &[(String, Ref, veracity_graph::Decoding)],
        values: &[Ref],
    ) -> Result<(Model, Vec<ValueId>), ModelError> {
        let mut graph = Graph { symbols, inputs: self.inputs, constants: self.constants, ..Graph::default() };
        let mut next = graph.inputs.len() + graph.constants.len();
        let mut first = Vec::with_capacity(self.nodes.len());
        for (_, op, _) in &self.nodes {
            first.push(next);
            next += op.n_outputs();
        }
        let n_inputs = graph.inputs.len();
        let id = |r: &Ref| {
            let index = match *r {
                Ref::Input(i) => i,
                Ref::Constant(i) => n_inputs + i,
                Ref::Node(node, output) => first[node] + output,
            };
            ValueId(u32::try_from(index).unwrap_or(u32::MAX))
        };
        graph.nodes = self
            .nodes
            .into_iter()
            .map(|(name, op, inputs)| Node { name, op, inputs: inputs.iter().map(id).collect() })
            .collect();
        graph.outputs = outputs
            .iter()
            .map(|(name, value, decoding)| Output {
                name: name.clone(),
                value: id(value),
                decoding: *decoding,
            })
            .collect();
        let ids = values.iter().map(id).collect();
        Ok((Model::new(graph, self.weights)?, ids))
    }
}

/// The quantised rows of a weight tensor and the scale of each.
pub(crate) struct QuantisedRows {
    pub(crate) values: Vec<i64>,
    pub(crate) scales: Vec<f64>,
}

/// Symmetric `i8` weights with one scale per row, the largest magnitude at 127. A row of zeros takes the largest scale
/// of the others, so that it coarsens nothing.
pub(crate) fn quantise_rows<'a>(rows: impl Iterator<Item = &'a [f32]>) -> QuantisedRows {
    let (mut values, mut scales) = (Vec::new(), Vec::new());
    for row in rows {
        let max = row.iter().fold(0.0f64, |m, &w| m.max(f64::from(w).abs()));
        let scale = max / 127.0;
        quantise_row(row, if max > 0.0 { scale } else { 1.0 }, &mut values);
        scales.push(scale);
    }
    let largest = scales.iter().copied().fold(0.0, f64::max);
    let spare = if largest > 0.0 { largest } else { 1.0 };
    scales.iter_mut().filter(|s| **s == 0.0).for_each(|s| *s = spare);
    QuantisedRows { values, scales }
}

pub(crate) fn quantise_row(row: &[f32], scale: f64, values: &mut Vec<i64>) {
    values.extend(row.iter().map(|&w| crate::fixed::round_to(f64::from(w) / scale, -127, 127)));
}

/// Largest accumulator magnitude of quantised rows with inputs up to `spread`.
pub(crate) fn worst_accumulator(rows: &[i64], n: usize, spread: i64, bias: &[i64]) -> i64 {
    let k = (rows.len() / n.max(1)).max(1);
    let row = |(j, row): (usize, &[i64])| {
        let sum = row.iter().fold(0i64, |s, w| s.saturating_add(w.abs()));
        sum.saturating_mul(spread).saturating_add(bias.get(j).map_or(0, |b| b.saturating_abs()))
    };
    rows.chunks(k).enumerate().map(row).max().unwrap_or(0)
}
