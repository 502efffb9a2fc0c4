use std::sync::Arc;

use veracity_engine::{Engine, Options};
use veracity_graph::{Bundle, ConstantType, DecodeLimits, Decoding, Dim, Elem, Graph, Model, ModelId, Node};
use veracity_ops::TensorType;

use crate::LoadError;

/// A model whose bytes were checked, with the id that they have. Enough to describe it; nothing is packed.
#[derive(Debug)]
pub struct CheckedModel {
    id: ModelId,
    model: Arc<Model>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
}

/// A model ready to run.
#[derive(Debug)]
pub struct LoadedModel {
    checked: Arc<CheckedModel>,
    id_text: String,
    engine: Engine,
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

/// Name and lists of a node or constant, about.
const LISTS_BYTES: u64 = 128;

impl CheckedModel {
    /// Checks a bundle.
    ///
    /// # Errors
    /// [`LoadError::Decode`] or [`LoadError::Model`].
    pub fn new(bundle: Bundle) -> Result<Self, LoadError> {
        bundle.check()?;
        let id = bundle.model_id();
        let graph = Graph::decode(&bundle.graph, DecodeLimits::default())?;
        let model = Arc::new(Model::new(graph, bundle.weights)?);
        let (inputs, outputs) = (describe_inputs(model.graph()), describe_outputs(&model));
        Ok(Self { id, model, inputs, outputs })
    }

    /// The id, computed from the bytes that were checked.
    #[must_use]
    pub fn id(&self) -> ModelId {
        self.id
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Memory that the model takes, about: its constants as stored, and its graph.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let graph = self.model.graph();
        let each = |len: usize, size: usize| (len as u64).saturating_mul(size as u64 + LISTS_BYTES);
        let nodes = each(graph.nodes.len(), size_of::<Node>());
        let constants = each(graph.constants.len(), size_of::<ConstantType>());
        (self.model.weights().len() as u64).saturating_add(nodes).saturating_add(constants)
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

impl LoadedModel {
    /// Checks a bundle and makes its model ready.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(bundle: Bundle, options: &Options) -> Result<Self, LoadError> {
        Self::new(Arc::new(CheckedModel::new(bundle)?), options)
    }

    /// Makes a checked model ready.
    ///
    /// # Errors
    /// [`LoadError::Engine`].
    pub fn new(checked: Arc<CheckedModel>, options: &Options) -> Result<Self, LoadError> {
        let engine = Engine::load(Arc::clone(&checked.model), options)?;
        Ok(Self { id_text: checked.id.to_string(), checked, engine })
    }

    /// What is known without running it.
    #[must_use]
    pub fn checked(&self) -> &Arc<CheckedModel> {
        &self.checked
    }

    /// The id, computed from the bytes that were loaded.
    #[must_use]
    pub fn id(&self) -> ModelId {
        self.checked.id
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
        self.checked.model()
    }

    /// Memory that the model takes now, about: its constants as stored and as packed, its graph and its plans. It grows
    /// with the first run of a shape.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.checked.memory_bytes().saturating_add(self.engine.size_bytes() as u64)
    }

    /// Tensors that requests bring.
    #[must_use]
    pub fn inputs(&self) -> &[TensorInfo] {
        self.checked.inputs()
    }

    /// Tensors that answers carry.
    #[must_use]
    pub fn outputs(&self) -> &[TensorInfo] {
        self.checked.outputs()
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
