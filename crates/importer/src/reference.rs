//! The f32 original, run by rten: the yardstick of the accuracy report. Nothing here reaches the model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rten::{Dimension, Model, ModelOptions, NodeId, Value, ValueOrView};
use rten_tensor::{AsView, Layout, Tensor};

use prost::Message;
use veracity_graph::{Array, ArrayData};

use crate::{Samples, calibrate::chunk, complete::complete, onnx};

pub(crate) struct Reference {
    model: Model,
    outputs: Vec<(String, NodeId)>,
    /// Whether the source fixes the batch at one sample.
    single: bool,
}

impl Reference {
    /// Loads the source; `Err` says why rten cannot run it.
    pub(crate) fn load(source: &[u8], outputs: &[String]) -> Result<Self, String> {
        guarded(|| Self::read(source, outputs))
    }

    fn read(source: &[u8], outputs: &[String]) -> Result<Self, String> {
        let mut proto = onnx::parse(source).map_err(|e| e.to_string())?;
        complete(&mut proto)?;
        let model = ModelOptions::with_all_ops().load(proto.encode_to_vec()).map_err(|e| e.to_string())?;
        let find =
            |name: &String| model.node_id(name).map(|id| (name.clone(), id)).map_err(|e| e.to_string());
        let outputs = outputs.iter().map(find).collect::<Result<_, _>>()?;
        let first = model.input_shape(0).and_then(|shape| shape.first().cloned());
        let single = matches!(first, Some(Dimension::Fixed(1)));
        Ok(Self { model, outputs, single })
    }

    /// Outputs for the samples `range`, each as one vector per sample.
    pub(crate) fn run(
        &self,
        samples: &Samples,
        range: std::ops::Range<usize>,
    ) -> Result<Vec<Vec<Vec<f32>>>, String> {
        if !self.single {
            return self.run_batch(&chunk(samples, range));
        }
        let mut all: Vec<Vec<Vec<f32>>> = vec![Vec::new(); self.outputs.len()];
        for i in range {
            for (to, from) in all.iter_mut().zip(self.run_batch(&chunk(samples, i..i + 1))?) {
                to.extend(from);
            }
        }
        Ok(all)
    }

    fn run_batch(&self, samples: &Samples) -> Result<Vec<Vec<Vec<f32>>>, String> {
        let input = |(name, array): (&String, &Array)| -> Result<(NodeId, ValueOrView<'static>), String> {
            let (id, shape) = (self.model.node_id(name).map_err(|e| e.to_string())?, array.shape.as_slice());
            // rten reads all integers as i32.
            let small = |v: &i64| i32::try_from(*v).map_err(|_| format!("input '{name}' exceeds 32 bits"));
            Ok(match &array.data {
                ArrayData::F32(v) => (id, Tensor::from_data(shape, v.clone()).into()),
                ArrayData::I32(v) => (id, Tensor::from_data(shape, v.clone()).into()),
                ArrayData::I64(v) => {
                    let v: Vec<i32> = v.iter().map(small).collect::<Result<_, _>>()?;
                    (id, Tensor::from_data(shape, v).into())
                }
            })
        };
        let inputs = samples.iter().map(input).collect::<Result<_, _>>()?;
        let ids: Vec<NodeId> = self.outputs.iter().map(|(_, id)| *id).collect();
        guarded(|| self.model.run(inputs, &ids, None).map_err(|e| e.to_string()))?
            .iter()
            .map(per_sample)
            .collect()
    }
}

/// Runs code that meets a stranger's model and is not ours: its panic is its refusal.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err("it panicked".into()))
}

fn per_sample(value: &Value) -> Result<Vec<Vec<f32>>, String> {
    let flat: Vec<f32> = match value {
        Value::FloatTensor(t) => t.iter().copied().collect(),
        #[expect(clippy::cast_precision_loss, reason = "indices are small")]
        Value::Int32Tensor(t) => t.iter().map(|&v| v as f32).collect(),
        _ => return Err("an output has an unexpected type".into()),
    };
    let n = match value {
        Value::FloatTensor(t) => t.shape().first().copied(),
        Value::Int32Tensor(t) => t.shape().first().copied(),
        _ => None,
    };
    let len = flat.len() / n.unwrap_or(1).max(1);
    Ok(flat.chunks(len.max(1)).map(<[f32]>::to_vec).collect())
}
