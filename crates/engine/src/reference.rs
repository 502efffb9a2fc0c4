//! The plain definition of a run: every operator by its scalar meaning, one sample and one node at a time.

use veracity_graph::{Batch, IntData, Model, ValueId};
use veracity_ops::{OpError, Tensor, TensorType};

use crate::{Run, RunError, Trace, TraceKind, engine::total_macs};

/// Computes outputs and a trace of `inputs`, one batch per input of the model, each with the same number of samples.
///
/// # Errors
/// [`RunError::Model`] or [`RunError::Reference`] if an operator refuses its operands.
pub fn run(model: &Model, inputs: &[Batch], trace: Option<TraceKind>) -> Result<Run, RunError> {
    let n = inputs.first().map_or(0, |batch| batch.n);
    let input_types: Vec<TensorType> =
        inputs.iter().map(|b| TensorType { dtype: b.data.dtype(), shape: b.shape.clone() }).collect();
    let types = model.types(&input_types)?;
    let mut outputs: Vec<Vec<i64>> = vec![Vec::new(); model.graph().outputs.len()];
    let mut trace = trace.map(|kind| Trace { kind, samples: Vec::new() });
    for sample in 0..n {
        let values = evaluate(model, inputs, sample)?;
        if let Some(trace) = &mut trace {
            trace.samples.push(commit(trace.kind, model, &input_types, &values)?);
        }
        for (all, output) in outputs.iter_mut().zip(&model.graph().outputs) {
            all.extend(values[output.value.index()].values());
        }
    }
    let declared = model.graph().outputs.iter().map(|o| &types[o.value.index()]);
    let outputs = outputs.iter().zip(declared).map(|(values, ty)| batch(n, ty, values)).collect();
    Ok(Run { outputs, trace, macs: total_macs(model.macs(&input_types)?, n) })
}

/// All values of one sample, by value id.
fn evaluate(model: &Model, inputs: &[Batch], sample: usize) -> Result<Vec<Tensor>, RunError> {
    let refuse = |node: &str| {
        let node = node.to_owned();
        |source: OpError| RunError::Reference { node, source }
    };
    let mut values = Vec::new();
    for batch in inputs {
        let len: usize = batch.shape.iter().product();
        let own = batch.data.to_i64()[sample * len..][..len].to_vec();
        values.push(Tensor::new(batch.data.dtype(), batch.shape.clone(), own).map_err(refuse("input"))?);
    }
    for index in 0..model.graph().constants.len() {
        values.push(model.constant_tensor(index).map_err(refuse("constant"))?);
    }
    for node in &model.graph().nodes {
        let operands: Vec<&Tensor> = node.inputs.iter().map(|v| &values[v.index()]).collect();
        values.extend(node.op.eval(&operands).map_err(refuse(&node.name))?);
    }
    Ok(values)
}

/// Root of a sample, from all its values.
fn commit(
    kind: TraceKind,
    model: &Model,
    inputs: &[TensorType],
    values: &[Tensor],
) -> Result<[u8; 32], RunError> {
    let graph = model.graph();
    let committed: Vec<ValueId> = match kind {
        TraceKind::Checkpoints => {
            let outputs = graph.outputs.iter().map(|output| output.value);
            model.checkpoints(inputs)?.into_iter().chain(outputs).collect()
        }
        TraceKind::Full => {
            let inputs = (0..graph.inputs.len()).map(|index| graph.input_value(index));
            inputs.chain(graph.traced_values()).collect()
        }
    };
    let leaf = |value: &ValueId| *blake3::hash(&values[value.index()].to_bytes()).as_bytes();
    let leaves: Vec<[u8; 32]> = committed.iter().map(leaf).collect();
    let [context, _] = kind.contexts();
    Ok(blake3::derive_key(context, leaves.as_flattened()))
}

fn batch(n: usize, ty: &TensorType, values: &[i64]) -> Batch {
    use veracity_ops::DType;
    let data = match ty.dtype {
        DType::I8 => IntData::I8(cast(values)),
        DType::I16 => IntData::I16(cast(values)),
        DType::I32 => IntData::I32(cast(values)),
        DType::I64 => IntData::I64(values.to_vec()),
    };
    Batch { n, shape: ty.shape.clone(), data }
}

fn cast<T: TryFrom<i64>>(values: &[i64]) -> Vec<T> {
    let fits = |v: &i64| T::try_from(*v).ok().expect("tensors hold values of their type");
    values.iter().map(fits).collect()
}
