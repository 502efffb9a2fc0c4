use veracity_ops::{DType, Op, OpError, Quantised, Tensor, TensorType};

pub(crate) const I8: DType = DType::I8;
pub(crate) const I16: DType = DType::I16;
pub(crate) const I32: DType = DType::I32;
pub(crate) const I64: DType = DType::I64;

pub(crate) fn tensor(dtype: DType, shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::new(dtype, shape.to_vec(), values.to_vec()).unwrap()
}

pub(crate) fn ty(dtype: DType, shape: &[usize]) -> TensorType {
    TensorType { dtype, shape: shape.to_vec() }
}

/// The first output, after checking that `infer` announces the types of all of them.
pub(crate) fn eval(op: &Op, inputs: &[&Tensor]) -> Tensor {
    let types: Vec<&TensorType> = inputs.iter().map(|t| t.ty()).collect();
    let announced = op.infer(&types).unwrap_or_else(|e| panic!("{op:?}: {e}"));
    let mut outputs = op.eval(inputs).unwrap_or_else(|e| panic!("{op:?}: {e}"));
    assert!(outputs.iter().map(Tensor::ty).eq(&announced), "{op:?}");
    assert_eq!(outputs.len(), op.n_outputs(), "{op:?}");
    outputs.remove(0)
}

pub(crate) fn refusal(op: &Op, inputs: &[&TensorType]) -> String {
    match op.infer(inputs) {
        Ok(types) => panic!("{op:?} accepts {inputs:?} and gives {types:?}"),
        Err(error) => error.to_string(),
    }
}

pub(crate) fn eval_error(op: &Op, inputs: &[&Tensor]) -> OpError {
    op.eval(inputs).expect_err("a value outside the operator's range")
}

/// The whole range of a type, without a zero point.
pub(crate) fn plain(dtype: DType) -> Quantised {
    Quantised::full(dtype, 0)
}
