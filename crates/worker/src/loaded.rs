use std::sync::Arc;

use veracity_engine::{Engine, Options};
use veracity_graph::{Bundle, DecodeLimits, Decoding, Dim, Elem, Graph, Model, ModelId};
use veracity_ops::TensorType;

use crate::LoadError;

/// A model ready to run, with the id that its bytes have.
#[derive(Debug)]
pub struct LoadedModel {
    id: ModelId,
    id_text: String,
    engine: Engine,
    size_bytes: u64,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
}

/// Name, type and shape of a tensor of requests or answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in requests or answers.
    pub name: String,
    /// Element type.
    pub elem: Elem,
    /// Extents, the batch first; `None` for one that the request decides.
    pub shape: Vec<Option<u64>>,
}

impl LoadedModel {
    /// Checks a bundle and makes its model ready.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(bundle: Bundle, options: &Options) -> Result<Self, LoadError> {
        bundle.check()?;
        let id = bundle.model_id();
        let size_bytes = (bundle.graph.len() as u64).saturating_add(bundle.weights.len() as u64);
        let graph = Graph::decode(&bundle.graph, DecodeLimits::default())?;
        let model = Arc::new(Model::new(graph, bundle.weights)?);
        let (inputs, outputs) = (describe_inputs(model.graph()), describe_outputs(&model));
        let engine = Engine::load(model, options)?;
        Ok(Self { id, id_text: id.to_string(), engine, size_bytes, inputs, outputs })
    }

    /// The id, computed from the bytes that were loaded.
    #[must_use]
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The id in hex.
    #[must_use]
    pub fn id_text(&self) -> &str {
        &self.id_text
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.engine.model()
    }

    /// Memory that the model takes, about: its constants as stored and as packed.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.size_bytes.saturating_mul(2)
    }

    /// Tensors that requests bring.
    #[must_use]
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// Tensors that answers carry.
    #[must_use]
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }
}

fn describe_inputs(graph: &Graph) -> Vec<TensorInfo> {
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => Some(u64::from(*n)),
        Dim::Symbol(_) => None,
    };
    let describe = |input: &veracity_graph::Input| TensorInfo {
        name: input.name.clone(),
        elem: input.elem,
        shape: std::iter::once(None).chain(input.dims.iter().map(extent)).collect(),
    };
    graph.inputs.iter().map(describe).collect()
}

/// Shapes that depend on symbols are found by trying two extents: what differs is dynamic.
fn describe_outputs(model: &Model) -> Vec<TensorInfo> {
    let graph = model.graph();
    let types = [2, 3].map(|symbol| types(model, symbol));
    let shape = |output: &veracity_graph::Output| {
        let [a, b] = [0, 1].map(|i| types[i].as_ref().and_then(|t| t.get(output.value.index())));
        let (Some(a), Some(b)) = (a, b) else { return vec![None] };
        let extent = |(a, b): (&usize, &usize)| (a == b).then_some(*a as u64);
        std::iter::once(None).chain(a.shape.iter().zip(&b.shape).map(extent)).collect()
    };
    let elem = |output: &veracity_graph::Output| match output.decoding {
        Decoding::Dequantise { .. } => Elem::F32,
        Decoding::Integer(elem) => elem,
    };
    graph
        .outputs
        .iter()
        .map(|o| TensorInfo { name: o.name.clone(), elem: elem(o), shape: shape(o) })
        .collect()
}

fn types(model: &Model, symbol: usize) -> Option<Vec<TensorType>> {
    let extent = |dim: &Dim| match dim {
        Dim::Fixed(n) => *n as usize,
        Dim::Symbol(_) => symbol,
    };
    let input = |input: &veracity_graph::Input| {
        TensorType::new(input.encoding.dtype(), input.dims.iter().map(extent).collect()).ok()
    };
    let inputs: Option<Vec<_>> = model.graph().inputs.iter().map(input).collect();
    model.types(&inputs?).ok()
}
