use crate::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, Gather, MatMul, MaxPool, Mul, OpError, Pad, QuantRow,
    Reduce, Requant, Reshape, Resize, Slice, Softmax, Table, Tensor, TensorType, Transpose,
};

/// An operator with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after the struct that documents it")]
pub enum Op {
    MatMul(MatMul),
    Conv(Conv),
    ConvTranspose(ConvTranspose),
    Requant(Requant),
    Table(Table),
    Add(Add),
    Mul(Mul),
    QuantRow(QuantRow),
    Softmax(Softmax),
    MaxPool(MaxPool),
    AvgPool(AvgPool),
    Reduce(Reduce),
    ArgMax(ArgMax),
    Reshape(Reshape),
    Transpose(Transpose),
    Concat(Concat),
    Slice(Slice),
    Pad(Pad),
    Gather(Gather),
    Resize(Resize),
}

impl Op {
    /// Name as in `docs/spec/operators.md`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MatMul(_) => "MatMul",
            Self::Conv(_) => "Conv",
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::Requant(_) => "Requant",
            Self::Table(_) => "Table",
            Self::Add(_) => "Add",
            Self::Mul(_) => "Mul",
            Self::QuantRow(_) => "QuantRow",
            Self::Softmax(_) => "Softmax",
            Self::MaxPool(_) => "MaxPool",
            Self::AvgPool(_) => "AvgPool",
            Self::Reduce(_) => "Reduce",
            Self::ArgMax(_) => "ArgMax",
            Self::Reshape(_) => "Reshape",
            Self::Transpose(_) => "Transpose",
            Self::Concat(_) => "Concat",
            Self::Slice(_) => "Slice",
            Self::Pad(_) => "Pad",
            Self::Gather(_) => "Gather",
            Self::Resize(_) => "Resize",
        }
    }

    /// Number of outputs: 2 for `QuantRow`, else 1.
    #[must_use]
    pub fn n_outputs(&self) -> usize {
        if matches!(self, Self::QuantRow(_)) { 2 } else { 1 }
    }

    /// Whether the output is an exact accumulator: never rounded, and committed in a trace only if it leaves the graph.
    #[must_use]
    pub fn is_linear(&self) -> bool {
        matches!(self, Self::MatMul(_) | Self::Conv(_) | Self::ConvTranspose(_))
    }

    /// Output types for operand types.
    ///
    /// # Errors
    /// An [`OpError`] if attributes, types, shapes or magnitudes are outside what the operator defines.
    pub fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        // The fields of a type are public; everything below relies on its size.
        inputs.iter().try_for_each(|ty| ty.check())?;
        let one = match self {
            Self::QuantRow(op) => return op.infer(inputs).map(Vec::from),
            Self::MatMul(op) => op.infer(inputs),
            Self::Conv(op) => op.infer(inputs),
            Self::ConvTranspose(op) => op.infer(inputs),
            Self::Requant(op) => op.infer(inputs),
            Self::Table(Table) => Table::infer(inputs),
            Self::Add(op) => op.infer(inputs),
            Self::Mul(op) => op.infer(inputs),
            Self::Softmax(op) => op.infer(inputs),
            Self::MaxPool(op) => op.infer(inputs),
            Self::AvgPool(op) => op.infer(inputs),
            Self::Reduce(op) => op.infer(inputs),
            Self::ArgMax(op) => op.infer(inputs),
            Self::Reshape(op) => op.infer(inputs),
            Self::Transpose(op) => op.infer(inputs),
            Self::Concat(op) => op.infer(inputs),
            Self::Slice(op) => op.infer(inputs),
            Self::Pad(op) => op.infer(inputs),
            Self::Gather(op) => op.infer(inputs),
            Self::Resize(op) => op.infer(inputs),
        };
        one.map(|ty| vec![ty])
    }

    /// Outputs for one sample.
    ///
    /// # Errors
    /// As [`Op::infer`], and [`OpError::Range`] if a constant operand holds a forbidden value, an index is outside its
    /// axis, or an accumulator does not fit its type.
    pub fn eval(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, OpError> {
        let one = match self {
            Self::QuantRow(op) => return op.eval(inputs).map(Vec::from),
            Self::MatMul(op) => op.eval(inputs),
            Self::Conv(op) => op.eval(inputs),
            Self::ConvTranspose(op) => op.eval(inputs),
            Self::Requant(op) => op.eval(inputs),
            Self::Table(Table) => Table::eval(inputs),
            Self::Add(op) => op.eval(inputs),
            Self::Mul(op) => op.eval(inputs),
            Self::Softmax(op) => op.eval(inputs),
            Self::MaxPool(op) => op.eval(inputs),
            Self::AvgPool(op) => op.eval(inputs),
            Self::Reduce(op) => op.eval(inputs),
            Self::ArgMax(op) => op.eval(inputs),
            Self::Reshape(op) => op.eval(inputs),
            Self::Transpose(op) => op.eval(inputs),
            Self::Concat(op) => op.eval(inputs),
            Self::Slice(op) => op.eval(inputs),
            Self::Pad(op) => op.eval(inputs),
            Self::Gather(op) => op.eval(inputs),
            Self::Resize(op) => op.eval(inputs),
        };
        one.map(|tensor| vec![tensor])
    }

    /// Checks the values of constant operands that `infer` cannot see: shifts, multipliers and tables.
    ///
    /// # Errors
    /// [`OpError::Attribute`] naming the first forbidden value.
    pub fn check_constants(&self, operands: &[Option<&[i64]>]) -> Result<(), OpError> {
        let at = |i: usize| operands.get(i).copied().flatten();
        match (self, at(1)) {
            (Self::Requant(_), Some(shift)) => Requant::check_constants(shift, at(2)),
            (Self::Softmax(_), Some(table)) => Softmax::check_table(table),
            (_, _) => Ok(()),
        }
    }
}
