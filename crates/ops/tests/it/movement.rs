//! Data movement, by hand.

use veracity_ops::{
    Concat, DimSpec, Gather, Op, Pad, PadMode, Reshape, Resize, ResizeCoordinates, ResizeRounding, Slice,
    Transpose,
};

use crate::support::{I8, I32, eval, tensor};

const INFER: DimSpec = DimSpec::Infer;

fn fixed(n: usize) -> DimSpec {
    DimSpec::Fixed(n)
}

#[test]
fn reshapes() {
    let cases: [(&[usize], &[DimSpec], &[usize]); 6] = [
        (&[2, 3], &[fixed(3), fixed(2)], &[3, 2]),
        (&[2, 3], &[INFER], &[6]),
        (&[2, 3], &[DimSpec::Input(1), fixed(1), INFER], &[3, 1, 2]),
        (&[1], &[], &[]),
        (&[0, 3], &[fixed(3), INFER], &[3, 0]),
        (&[0, 3], &[fixed(0), INFER], &[0, 0]),
    ];
    for (shape, dims, expected) in cases {
        let n: usize = shape.iter().product();
        let values: Vec<i64> = (0..n as i64).collect();
        let y = eval(&Op::Reshape(Reshape { dims: dims.to_vec() }), &[&tensor(I8, shape, &values)]);
        assert_eq!((y.shape(), y.values()), (expected, &*values), "{shape:?} to {dims:?}");
    }
}

#[test]
fn transposes_and_joins() {
    let x = tensor(I8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let y = eval(&Op::Transpose(Transpose { perm: vec![1, 0] }), &[&x]);
    assert_eq!((y.shape(), y.values()), (&[3, 2][..], &[1, 4, 2, 5, 3, 6][..]));
    let z = tensor(I8, &[2, 1], &[7, 8]);
    let y = eval(&Op::Concat(Concat { axis: 1 }), &[&x, &z, &x]);
    assert_eq!((y.shape(), y.values()), (&[2, 7][..], &[1, 2, 3, 7, 1, 2, 3, 4, 5, 6, 8, 4, 5, 6][..]));
    let nothing = tensor(I8, &[0, 3], &[]);
    assert_eq!(eval(&Op::Concat(Concat { axis: 0 }), &[&nothing, &x]).values(), x.values());
    assert_eq!(eval(&Op::Concat(Concat { axis: 1 }), &[&nothing, &nothing]).shape(), [0, 6]);
}

#[test]
fn slices() {
    let x = tensor(I8, &[5], &[10, 11, 12, 13, 14]);
    let cases: [(i64, i64, i64, &[i64]); 10] = [
        (1, 4, 1, &[11, 12, 13]),
        (0, i64::MAX, 2, &[10, 12, 14]),
        (-2, i64::MAX, 1, &[13, 14]),
        (-100, -3, 1, &[10, 11]),
        (4, 1, 1, &[]),
        (-1, i64::MIN, -1, &[14, 13, 12, 11, 10]),
        (100, 0, -2, &[14, 12]),
        (-100, i64::MIN, -1, &[10]),
        (2, -1, -1, &[]),
        (3, -5, -1, &[13, 12, 11]),
    ];
    for (start, end, step, expected) in cases {
        let y = eval(&Op::Slice(Slice { axis: 0, start, end, step }), &[&x]);
        assert_eq!(y.values(), expected, "{start}..{end} by {step}");
    }
    let rows = tensor(I8, &[3, 2], &[1, 2, 3, 4, 5, 6]);
    let y = eval(&Op::Slice(Slice { axis: 0, start: -1, end: i64::MIN, step: -2 }), &[&rows]);
    assert_eq!((y.shape(), y.values()), (&[2, 2][..], &[5, 6, 1, 2][..]));
}

#[test]
fn pads() {
    let x = tensor(I8, &[3], &[1, 2, 3]);
    let cases: [(PadMode, usize, usize, &[i64]); 4] = [
        (PadMode::Constant(-9), 1, 2, &[-9, 1, 2, 3, -9, -9]),
        (PadMode::Edge, 2, 5, &[1, 1, 1, 2, 3, 3, 3, 3, 3, 3]),
        (PadMode::Reflect, 2, 2, &[3, 2, 1, 2, 3, 2, 1]),
        (PadMode::Reflect, 0, 0, &[1, 2, 3]),
    ];
    for (mode, begin, end, expected) in cases {
        let y = eval(&Op::Pad(Pad { mode, begin: vec![begin], end: vec![end] }), &[&x]);
        assert_eq!(y.values(), expected, "{mode:?} {begin} {end}");
    }
    let square = tensor(I8, &[2, 2], &[1, 2, 3, 4]);
    let op = Pad { mode: PadMode::Constant(0), begin: vec![1, 0], end: vec![0, 1] };
    let y = eval(&Op::Pad(op), &[&square]);
    assert_eq!((y.shape(), y.values()), (&[3, 3][..], &[0, 0, 0, 1, 2, 0, 3, 4, 0][..]));
    let op = Pad { mode: PadMode::Constant(7), begin: vec![0, 1], end: vec![0, 1] };
    let y = eval(&Op::Pad(op), &[&tensor(I8, &[2, 0], &[])]);
    assert_eq!((y.shape(), y.values()), (&[2, 2][..], &[7; 4][..]));
}

#[test]
fn gathers() {
    let data = tensor(I8, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let indices = tensor(I32, &[2, 2], &[0, -1, 2, 1]);
    let y = eval(&Op::Gather(Gather { axis: 1 }), &[&data, &indices]);
    assert_eq!((y.shape(), y.values()), (&[2, 2, 2][..], &[1, 3, 3, 2, 4, 6, 6, 5][..]));
    let y = eval(&Op::Gather(Gather { axis: 0 }), &[&data, &tensor(I32, &[], &[-2])]);
    assert_eq!((y.shape(), y.values()), (&[3][..], &[1, 2, 3][..]));
    let none = tensor(I8, &[0, 3], &[]);
    let far = tensor(I32, &[1], &[99]);
    assert_eq!(eval(&Op::Gather(Gather { axis: 1 }), &[&none, &far]).shape(), [0, 1]);
}

#[test]
fn resizes() {
    use {ResizeCoordinates as C, ResizeRounding as R};
    let cases: [(C, R, (usize, usize), &[i64], &[i64]); 9] = [
        (C::Asymmetric, R::Floor, (2, 1), &[1, 2], &[1, 1, 2, 2]),
        (C::Asymmetric, R::Ceil, (2, 1), &[1, 2], &[1, 2, 2, 2]),
        (C::Asymmetric, R::PreferFloor, (2, 1), &[1, 2, 3], &[1, 1, 2, 2, 3, 3]),
        (C::Asymmetric, R::PreferCeil, (2, 1), &[1, 2, 3], &[1, 2, 2, 3, 3, 3]),
        (C::HalfPixel, R::PreferFloor, (2, 1), &[1, 2], &[1, 1, 2, 2]),
        (C::HalfPixel, R::PreferFloor, (1, 2), &[1, 2, 3, 4], &[1, 3]),
        (C::HalfPixel, R::PreferCeil, (1, 2), &[1, 2, 3, 4], &[2, 4]),
        (C::AlignCorners, R::PreferFloor, (2, 1), &[1, 2, 3], &[1, 1, 2, 2, 3, 3]),
        (C::AlignCorners, R::PreferFloor, (1, 3), &[1, 2, 3], &[1]),
    ];
    for (coordinates, rounding, scale, x, expected) in cases {
        let op = Resize { scales: vec![scale], coordinates, rounding };
        let y = eval(&Op::Resize(op.clone()), &[&tensor(I8, &[x.len()], x)]);
        assert_eq!(y.values(), expected, "{op:?}");
    }
}
