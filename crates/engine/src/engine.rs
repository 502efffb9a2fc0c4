use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rayon::ThreadPool;
use veracity_graph::{Batch, Dim, Model, ValueId};
use veracity_kernels::{Isa, View};
use veracity_ops::{DType, TensorType};

use crate::{
    LoadError, RunError, Trace, TraceKind,
    constants::{self, Constants},
    execute,
    plan::{Fusion, Plan},
};

/// How to run models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Instruction set; `None` for the fastest of this processor.
    pub isa: Option<Isa>,
    /// Number of threads; 0 for one per core.
    pub threads: usize,
    /// Most memory in bytes that the values of one run may take, and as much again for packed weights.
    pub memory_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { isa: None, threads: 0, memory_bytes_max: 4 << 30 }
    }
}

/// What a run computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// One batch per output of the model.
    pub outputs: Vec<Batch>,
    /// The commitment, if one was asked for.
    pub trace: Option<Trace>,
    /// Multiply-accumulates of all samples, as [`Model::macs`] counts them; `None` if they do not fit.
    pub macs: Option<u64>,
}

/// Plans kept for the next run of the same shapes.
const PLANS_MAX: usize = 16;

/// A model ready to run. May be shared between threads; runs do not influence each other.
#[derive(Debug)]
pub struct Engine {
    pub(crate) model: Arc<Model>,
    pub(crate) isa: Isa,
    pub(crate) pool: Option<ThreadPool>,
    memory_bytes_max: usize,
    pub(crate) constants: Constants,
    fusion: Fusion,
    plans: Mutex<Vec<Arc<Plan>>>,
}

impl Engine {
    /// Makes a model ready: starts threads and, if no extent is dynamic, packs the weights.
    ///
    /// # Errors
    /// [`LoadError::Threads`] without threads; [`LoadError::Model`] if an operator refuses its operands.
    pub fn load(model: Arc<Model>, options: &Options) -> Result<Self, LoadError> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads == 0 { all() } else { options.threads };
        let builder =
            rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("engine-{i}"));
        let pool = if threads > 1 { Some(builder.build()) } else { None }.transpose();
        let pool = pool.map_err(|source| LoadError::Threads { threads, source })?;
        let constants = Constants::new(&model, isa);
        let fusion = Fusion::of(&model);
        let memory_bytes_max = options.memory_bytes_max;
        let engine = Self { model, isa, pool, memory_bytes_max, constants, fusion, plans: Mutex::default() };
        // A model that needs more memory than is allowed loads, and says so when it is run.
        if let Some(shapes) = engine.fixed_shapes()
            && engine.check_plan(&engine.fusion, &shapes).is_ok()
        {
            engine.plan(&shapes)?;
        }
        Ok(engine)
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Instruction set in use.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Number of threads in use.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, ThreadPool::current_num_threads)
    }

    /// Memory that the engine takes besides the model, about: packed weights, of which there may be more after the
    /// first run, and plans.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let plans: usize = self.plans().iter().map(|plan| plan.size_bytes).sum();
        self.constants.size_bytes().saturating_add(plans)
    }

    /// Computes the outputs for the samples of `inputs`, one batch per input of the model in its order, and a trace of
    /// the kind asked for.
    ///
    /// # Errors
    /// A [`RunError`] naming the input, node or limit.
    pub fn run(&self, inputs: &[Batch], trace: Option<TraceKind>) -> Result<Run, RunError> {
        let n = self.check_inputs(inputs)?;
        let plan = self.plan_for(inputs)?;
        let division = execute::Division::new(&plan, n, self.threads());
        self.check_memory(&plan, n, division.samples_in_memory())?;
        let mut outputs: Vec<Batch> =
            plan.outputs.iter().map(|v| zeros(n, &plan.types[v.id.index()])).collect();
        let samples = execute::run(self, &plan, division, inputs, &mut outputs, trace)?;
        let trace = trace.map(|kind| Trace { kind, samples });
        Ok(Run { outputs, trace, macs: total_macs(plan.macs, n) })
    }

    /// Calls `visit` with every value that a node computes, accumulators included, for some samples at a time: a
    /// value is visited several times, its samples in order.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn observe(
        &self,
        inputs: &[Batch],
        visit: &mut dyn FnMut(ValueId, View<'_>),
    ) -> Result<(), RunError> {
        let n = self.check_inputs(inputs)?;
        let fusion = Fusion::none(&self.model);
        self.check_plan(&fusion, &types(inputs))?;
        let plan = Plan::new(&self.model, &self.constants, &fusion, &types(inputs))?;
        self.check_memory(&plan, n, 1)?;
        execute::observe(self, &plan, n, inputs, visit)
    }

    fn check_inputs(&self, inputs: &[Batch]) -> Result<usize, RunError> {
        let declared = &self.model.graph().inputs;
        if declared.len() != inputs.len() {
            return Err(RunError::InputCount { expected: declared.len(), found: inputs.len() });
        }
        let n = inputs.first().map_or(0, |batch| batch.n);
        if n == 0 {
            return Err(RunError::Empty);
        }
        let mut symbols = HashMap::new();
        for (input, batch) in declared.iter().zip(inputs) {
            let name = || input.name.clone();
            let (expected, found) = (input.encoding.dtype(), batch.data.dtype());
            if expected != found {
                return Err(RunError::InputType { name: name(), expected, found });
            }
            let fits = |(dim, &extent): (&Dim, &usize)| match dim {
                Dim::Fixed(fixed) => u32::try_from(extent) == Ok(*fixed),
                Dim::Symbol(symbol) => extent > 0 && *symbols.entry(*symbol).or_insert(extent) == extent,
            };
            if input.dims.len() != batch.shape.len() || !input.dims.iter().zip(&batch.shape).all(fits) {
                return Err(RunError::InputShape { name: name(), found: batch.shape.clone() });
            }
            if batch.n != n {
                return Err(RunError::InputBatch { name: name(), expected: n, found: batch.n });
            }
            if TensorType::new(found, batch.shape.clone()).is_err() {
                return Err(RunError::InputShape { name: name(), found: batch.shape.clone() });
            }
            let expected = batch.shape.iter().fold(n, |len, d| len.saturating_mul(*d));
            if batch.data.len() != expected {
                return Err(RunError::InputCountValues { name: name(), expected, found: batch.data.len() });
            }
        }
        Ok(n)
    }

    fn check_memory(&self, plan: &Plan, n: usize, samples_in_memory: usize) -> Result<(), RunError> {
        let wide = |n: usize| u128::try_from(n).unwrap_or(u128::MAX >> 64);
        let output = |v: &crate::plan::Value| wide(n) * wide(v.len) * wide(v.dtype.size());
        let outputs: u128 = plan.outputs.iter().map(output).sum();
        let scratch = wide(plan.scratch_bytes) * wide(self.threads());
        let needed_bytes = plan.bytes_per_sample() * wide(samples_in_memory) + outputs + scratch;
        let limit_bytes = self.memory_bytes_max;
        if needed_bytes > wide(limit_bytes) {
            return Err(RunError::TooLarge { needed_bytes, limit_bytes });
        }
        Ok(())
    }

    fn fixed_shapes(&self) -> Option<Vec<TensorType>> {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(n) => usize::try_from(*n).ok(),
            Dim::Symbol(_) => None,
        };
        let inputs = self.model.graph().inputs.iter();
        let one = |input: &veracity_graph::Input| {
            let shape = input.dims.iter().map(extent).collect::<Option<_>>()?;
            TensorType::new(input.encoding.dtype(), shape).ok()
        };
        inputs.map(one).collect()
    }

    fn plan_for(&self, inputs: &[Batch]) -> Result<Arc<Plan>, RunError> {
        let same =
            |plan: &Arc<Plan>| plan.shapes.iter().zip(inputs).all(|(shape, batch)| *shape == batch.shape);
        let known = self.plans().iter().find(|plan| same(plan)).cloned();
        if let Some(plan) = known {
            return Ok(plan);
        }
        let types = types(inputs);
        self.check_plan(&self.fusion, &types)?;
        self.plan(&types).map_err(RunError::from)
    }

    /// Refuses what takes too much memory to plan: values, or packed weights, which a few bytes of a model can ask for
    /// in any number by using one constant in many ways, or in many small groups.
    fn check_plan(&self, fusion: &Fusion, inputs: &[TensorType]) -> Result<(), RunError> {
        let types = self.model.types(inputs)?;
        self.check_values(&types)?;
        let needed_bytes = constants::needed_bytes(&self.model, fusion, &types);
        let limit_bytes = self.memory_bytes_max;
        if needed_bytes > u128::try_from(limit_bytes).unwrap_or(u128::MAX) {
            return Err(RunError::WeightsTooLarge { needed_bytes, limit_bytes });
        }
        Ok(())
    }

    /// Refuses a model one of whose values, or the index maps that planning makes for it, is beyond the memory limit:
    /// a few bytes of a hostile model can ask for any size.
    fn check_values(&self, types: &[TensorType]) -> Result<(), RunError> {
        let wide = |n: usize| u128::try_from(n).unwrap_or(u128::MAX >> 64);
        let index = wide(size_of::<usize>());
        let graph = self.model.graph();
        let given = graph.inputs.len() + graph.constants.len();
        for ty in types.iter().skip(given) {
            let maps: u128 = ty.shape.iter().map(|&extent| wide(extent) * index).sum();
            let needed_bytes = wide(ty.len()) * wide(ty.dtype.size()) + maps;
            if needed_bytes > wide(self.memory_bytes_max) {
                return Err(RunError::TooLarge { needed_bytes, limit_bytes: self.memory_bytes_max });
            }
        }
        Ok(())
    }

    fn plan(&self, inputs: &[TensorType]) -> Result<Arc<Plan>, veracity_graph::ModelError> {
        let plan = Arc::new(Plan::new(&self.model, &self.constants, &self.fusion, inputs)?);
        let mut plans = self.plans();
        if plans.len() >= PLANS_MAX {
            plans.remove(0);
        }
        plans.push(Arc::clone(&plan));
        Ok(plan)
    }

    fn plans(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Plan>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Multiply-accumulates of `n` samples.
pub(crate) fn total_macs(per_sample: u128, n: usize) -> Option<u64> {
    let total = per_sample.checked_mul(u128::try_from(n).ok()?)?;
    u64::try_from(total).ok()
}

/// Types of inputs that were checked, so that their shapes are not larger than their values.
fn types(inputs: &[Batch]) -> Vec<TensorType> {
    inputs.iter().map(|b| TensorType { dtype: b.data.dtype(), shape: b.shape.clone() }).collect()
}

fn zeros(n: usize, ty: &TensorType) -> Batch {
    use veracity_graph::IntData;
    let len = n * ty.len();
    let data = match ty.dtype {
        DType::I8 => IntData::I8(vec![0; len]),
        DType::I16 => IntData::I16(vec![0; len]),
        DType::I32 => IntData::I32(vec![0; len]),
        DType::I64 => IntData::I64(vec![0; len]),
    };
    Batch { n, shape: ty.shape.clone(), data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_that_do_not_fit_are_not_given() {
        assert_eq!(total_macs(1 << 61, 7), Some(7 << 61));
        assert_eq!(total_macs(u128::from(u64::MAX), 1), Some(u64::MAX));
        assert_eq!(total_macs(1 << 61, 8), None);
        assert_eq!(total_macs(1 << 82, usize::MAX), None);
    }
}
