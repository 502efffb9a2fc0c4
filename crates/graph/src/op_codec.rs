//! Bytes of one operator: a tag, then its attributes in the order of the struct's fields.

use veracity_ops::{
    Add, ArgMax, AvgPool, Concat, Conv, ConvTranspose, DimSpec, Gather, MatMul, MaxPool, Mul, Op, Pad,
    PadMode, QuantRow, Quantised, Reduce, ReduceKind, Requant, Reshape, Resize, ResizeCoordinates,
    ResizeRounding, Slice, Softmax, Table, Transpose, Window,
};

use crate::{
    DecodeError,
    codec::{Reader, Writer, read_dtype, write_dtype},
};

fn write_sizes(w: &mut Writer, sizes: &[usize]) {
    for &size in sizes {
        w.size(size);
    }
}

fn read_sizes<const N: usize>(r: &mut Reader<'_>, what: &'static str) -> Result<[usize; N], DecodeError> {
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = r.size(what)?;
    }
    Ok(sizes)
}

fn write_quantised(w: &mut Writer, y: &Quantised) {
    write_dtype(w, y.dtype);
    w.i32(y.zero);
    w.i32(y.lo);
    w.i32(y.hi);
}

fn read_quantised(r: &mut Reader<'_>) -> Result<Quantised, DecodeError> {
    Ok(Quantised { dtype: read_dtype(r)?, zero: r.i32("zero")?, lo: r.i32("lo")?, hi: r.i32("hi")? })
}

fn write_conv(w: &mut Writer, op: &Conv) {
    write_sizes(w, &op.strides);
    write_sizes(w, &op.pads);
    write_sizes(w, &op.dilations);
    w.size(op.groups);
    w.i32(op.x_zero);
    write_dtype(w, op.acc);
}

fn read_conv(r: &mut Reader<'_>) -> Result<Conv, DecodeError> {
    Ok(Conv {
        strides: read_sizes(r, "strides")?,
        pads: read_sizes(r, "pads")?,
        dilations: read_sizes(r, "dilations")?,
        groups: r.size("groups")?,
        x_zero: r.i32("x_zero")?,
        acc: read_dtype(r)?,
    })
}

fn write_window(w: &mut Writer, window: &Window) {
    write_sizes(w, &window.kernel);
    write_sizes(w, &window.strides);
    write_sizes(w, &window.pads);
    write_sizes(w, &window.dilations);
    w.u8(u8::from(window.ceil));
}

fn read_window(r: &mut Reader<'_>) -> Result<Window, DecodeError> {
    Ok(Window {
        kernel: read_sizes(r, "kernel")?,
        strides: read_sizes(r, "strides")?,
        pads: read_sizes(r, "pads")?,
        dilations: read_sizes(r, "dilations")?,
        ceil: r.flag("ceil")?,
    })
}

fn write_dim(w: &mut Writer, dim: DimSpec) {
    match dim {
        DimSpec::Fixed(n) => {
            w.u8(0);
            w.size(n);
        }
        DimSpec::Input(axis) => {
            w.u8(1);
            w.size(axis);
        }
        DimSpec::Infer => w.u8(2),
    }
}

fn read_dim(r: &mut Reader<'_>) -> Result<DimSpec, DecodeError> {
    match r.u8("extent")? {
        0 => r.size("extent").map(DimSpec::Fixed),
        1 => r.size("extent").map(DimSpec::Input),
        2 => Ok(DimSpec::Infer),
        _ => Err(r.invalid("extent", "unknown tag")),
    }
}

fn write_reduce(w: &mut Writer, op: &Reduce) {
    w.u8(match op.kind {
        ReduceKind::Sum => 0,
        ReduceKind::Mean => 1,
        ReduceKind::Max => 2,
    });
    w.list(&op.axes, |w, a| w.size(*a));
    w.i32(op.x_zero);
    w.i32(op.mul);
    w.u32(op.shift);
    write_quantised(w, &op.y);
}

fn read_reduce(r: &mut Reader<'_>) -> Result<Reduce, DecodeError> {
    let kind = match r.u8("reduction")? {
        0 => ReduceKind::Sum,
        1 => ReduceKind::Mean,
        2 => ReduceKind::Max,
        _ => return Err(r.invalid("reduction", "unknown tag")),
    };
    Ok(Reduce {
        kind,
        axes: r.list("axes", |r| r.size("axis"))?,
        x_zero: r.i32("x_zero")?,
        mul: r.i32("mul")?,
        shift: r.u32("shift")?,
        y: read_quantised(r)?,
    })
}

fn write_pad(w: &mut Writer, op: &Pad) {
    match op.mode {
        PadMode::Constant(v) => {
            w.u8(0);
            w.i32(v);
        }
        PadMode::Edge => w.u8(1),
        PadMode::Reflect => w.u8(2),
    }
    w.list(&op.begin, |w, n| w.size(*n));
    w.list(&op.end, |w, n| w.size(*n));
}

fn read_pad(r: &mut Reader<'_>) -> Result<Pad, DecodeError> {
    let mode = match r.u8("pad mode")? {
        0 => PadMode::Constant(r.i32("pad value")?),
        1 => PadMode::Edge,
        2 => PadMode::Reflect,
        _ => return Err(r.invalid("pad mode", "unknown tag")),
    };
    Ok(Pad { mode, begin: r.list("pads", |r| r.size("pad"))?, end: r.list("pads", |r| r.size("pad"))? })
}

fn write_resize(w: &mut Writer, op: &Resize) {
    w.list(&op.scales, |w, (n, d)| write_sizes(w, &[*n, *d]));
    w.u8(match op.coordinates {
        ResizeCoordinates::Asymmetric => 0,
        ResizeCoordinates::HalfPixel => 1,
        ResizeCoordinates::AlignCorners => 2,
    });
    w.u8(match op.rounding {
        ResizeRounding::Floor => 0,
        ResizeRounding::Ceil => 1,
        ResizeRounding::PreferFloor => 2,
        ResizeRounding::PreferCeil => 3,
    });
}

fn read_resize(r: &mut Reader<'_>) -> Result<Resize, DecodeError> {
    let scales = r.list("scales", |r| read_sizes(r, "scale").map(|[n, d]| (n, d)))?;
    let coordinates = match r.u8("coordinates")? {
        0 => ResizeCoordinates::Asymmetric,
        1 => ResizeCoordinates::HalfPixel,
        2 => ResizeCoordinates::AlignCorners,
        _ => return Err(r.invalid("coordinates", "unknown tag")),
    };
    let rounding = match r.u8("rounding")? {
        0 => ResizeRounding::Floor,
        1 => ResizeRounding::Ceil,
        2 => ResizeRounding::PreferFloor,
        3 => ResizeRounding::PreferCeil,
        _ => return Err(r.invalid("rounding", "unknown tag")),
    };
    Ok(Resize { scales, coordinates, rounding })
}

fn write_pair(w: &mut Writer, pair: [i32; 2]) {
    w.i32(pair[0]);
    w.i32(pair[1]);
}

fn read_pair(r: &mut Reader<'_>, what: &'static str) -> Result<[i32; 2], DecodeError> {
    Ok([r.i32(what)?, r.i32(what)?])
}

pub(crate) fn write(w: &mut Writer, op: &Op) {
    match op {
        Op::MatMul(MatMul { x_zero, acc }) => {
            w.u8(0);
            w.i32(*x_zero);
            write_dtype(w, *acc);
        }
        Op::Conv(op) => {
            w.u8(1);
            write_conv(w, op);
        }
        Op::ConvTranspose(op) => {
            w.u8(2);
            write_conv(w, &op.conv);
            write_sizes(w, &op.output_pads);
        }
        Op::Requant(Requant { x_zero, y }) => {
            w.u8(3);
            w.i32(*x_zero);
            write_quantised(w, y);
        }
        Op::Table(Table) => w.u8(4),
        Op::Add(Add { zeros, muls, shift, y }) => {
            w.u8(5);
            write_pair(w, *zeros);
            write_pair(w, *muls);
            w.u32(*shift);
            write_quantised(w, y);
        }
        Op::Mul(Mul { zeros, mul, shift, y }) => {
            w.u8(6);
            write_pair(w, *zeros);
            w.i32(*mul);
            w.u32(*shift);
            write_quantised(w, y);
        }
        Op::QuantRow(QuantRow { axis, q }) => {
            w.u8(7);
            w.size(*axis);
            write_dtype(w, *q);
        }
        Op::Softmax(Softmax { shift, one_bits, y }) => {
            w.u8(8);
            w.u32(*shift);
            w.u32(*one_bits);
            write_quantised(w, y);
        }
        Op::MaxPool(MaxPool { window }) => {
            w.u8(9);
            write_window(w, window);
        }
        Op::AvgPool(AvgPool { window, count_pads, x_zero, mul, shift, y }) => {
            w.u8(10);
            write_window(w, window);
            w.u8(u8::from(*count_pads));
            w.i32(*x_zero);
            w.i32(*mul);
            w.u32(*shift);
            write_quantised(w, y);
        }
        Op::Reduce(op) => {
            w.u8(11);
            write_reduce(w, op);
        }
        Op::ArgMax(ArgMax { axis, last }) => {
            w.u8(12);
            w.size(*axis);
            w.u8(u8::from(*last));
        }
        Op::Reshape(Reshape { dims }) => {
            w.u8(13);
            w.list(dims, |w, d| write_dim(w, *d));
        }
        Op::Transpose(Transpose { perm }) => {
            w.u8(14);
            w.list(perm, |w, a| w.size(*a));
        }
        Op::Concat(Concat { axis }) => {
            w.u8(15);
            w.size(*axis);
        }
        Op::Slice(Slice { axis, start, end, step }) => {
            w.u8(16);
            w.size(*axis);
            w.i64(*start);
            w.i64(*end);
            w.i64(*step);
        }
        Op::Pad(op) => {
            w.u8(17);
            write_pad(w, op);
        }
        Op::Gather(Gather { axis }) => {
            w.u8(18);
            w.size(*axis);
        }
        Op::Resize(op) => {
            w.u8(19);
            write_resize(w, op);
        }
    }
}

pub(crate) fn read(r: &mut Reader<'_>) -> Result<Op, DecodeError> {
    Ok(match r.u8("operator")? {
        0 => Op::MatMul(MatMul { x_zero: r.i32("x_zero")?, acc: read_dtype(r)? }),
        1 => Op::Conv(read_conv(r)?),
        2 => Op::ConvTranspose(ConvTranspose {
            conv: read_conv(r)?,
            output_pads: read_sizes(r, "output pads")?,
        }),
        3 => Op::Requant(Requant { x_zero: r.i32("x_zero")?, y: read_quantised(r)? }),
        4 => Op::Table(Table),
        5 => Op::Add(Add {
            zeros: read_pair(r, "zero")?,
            muls: read_pair(r, "mul")?,
            shift: r.u32("shift")?,
            y: read_quantised(r)?,
        }),
        6 => Op::Mul(Mul {
            zeros: read_pair(r, "zero")?,
            mul: r.i32("mul")?,
            shift: r.u32("shift")?,
            y: read_quantised(r)?,
        }),
        7 => Op::QuantRow(QuantRow { axis: r.size("axis")?, q: read_dtype(r)? }),
        8 => Op::Softmax(Softmax {
            shift: r.u32("shift")?,
            one_bits: r.u32("one_bits")?,
            y: read_quantised(r)?,
        }),
        9 => Op::MaxPool(MaxPool { window: read_window(r)? }),
        10 => Op::AvgPool(AvgPool {
            window: read_window(r)?,
            count_pads: r.flag("count_pads")?,
            x_zero: r.i32("x_zero")?,
            mul: r.i32("mul")?,
            shift: r.u32("shift")?,
            y: read_quantised(r)?,
        }),
        11 => Op::Reduce(read_reduce(r)?),
        12 => Op::ArgMax(ArgMax { axis: r.size("axis")?, last: r.flag("last")? }),
        13 => Op::Reshape(Reshape { dims: r.list("extents", read_dim)? }),
        14 => Op::Transpose(Transpose { perm: r.list("perm", |r| r.size("axis"))? }),
        15 => Op::Concat(Concat { axis: r.size("axis")? }),
        16 => Op::Slice(Slice {
            axis: r.size("axis")?,
            start: r.i64("start")?,
            end: r.i64("end")?,
            step: r.i64("step")?,
        }),
        17 => Op::Pad(read_pad(r)?),
        18 => Op::Gather(Gather { axis: r.size("axis")? }),
        19 => Op::Resize(read_resize(r)?),
        _ => return Err(r.invalid("operator", "unknown tag")),
    })
}
