use veracity_kernels::{
    ValueError, View, concat_part, gather, pad_maps, resize_maps, select, slice, transpose,
};
use veracity_ops::{
    Concat, DType, Gather, Op, Pad, PadMode, Resize, ResizeCoordinates, ResizeRounding, Slice, Transpose,
};

use crate::support::{Random, compare};

const DTYPES: [DType; 4] = [DType::I8, DType::I16, DType::I32, DType::I64];

#[test]
fn transpose_matches_reference() {
    let mut random = Random::new(21);
    let perms =
        [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [1, 0, 2, 3], [2, 3, 0, 1], [0, 3, 1, 2], [3, 0, 1, 2]];
    for perm in perms {
        for dtype in DTYPES {
            let shape = [random.size(1, 4), random.size(1, 4), random.size(1, 4), random.size(1, 4)];
            let x = random.tensor(dtype, &shape);
            let op = Op::Transpose(Transpose { perm: perm.to_vec() });
            assert!(compare(&op, &[&x], |_, x, y| transpose(&perm, &shape, x[0], y)));
        }
    }
}

#[test]
fn slice_matches_reference() {
    let mut random = Random::new(22);
    for _ in 0..300 {
        let shape = [random.size(1, 5), random.size(1, 5), random.size(1, 5)];
        let x = random.tensor(random_dtype(&mut Random::new(shape[0] as u64)), &shape);
        let op = Slice {
            axis: random.size(0, 2),
            start: random.within(-7, 7),
            end: random.within(-7, 7),
            step: random.pick(&[1, 1, 2, 3, -1, -2]),
        };
        assert!(compare(&Op::Slice(op.clone()), &[&x], |_, x, y| slice(&op, &shape, x[0], y)));
    }
}

fn random_dtype(random: &mut Random) -> DType {
    random.pick(&DTYPES)
}

#[test]
fn concat_matches_reference() {
    let mut random = Random::new(23);
    for axis in 0..3 {
        let parts = [1, 3, 2].map(|n| {
            let mut shape = [2, 3, 4];
            shape[axis] = n;
            random.tensor(DType::I16, &shape)
        });
        let inputs: Vec<_> = parts.iter().collect();
        assert!(compare(&Op::Concat(Concat { axis }), &inputs, |_, x, mut y| {
            let rows: usize = [2, 3, 4][..axis].iter().product();
            let y_len = y.len() / rows;
            let mut at = 0;
            for x in x {
                concat_part(*x, x.len() / rows, y.reborrow(), y_len, at);
                at += x.len() / rows;
            }
        }));
    }
}

#[test]
fn pad_matches_reference() {
    let mut random = Random::new(24);
    for _ in 0..200 {
        let shape = [random.size(1, 5), random.size(1, 5), random.size(1, 5)];
        let x = random.tensor(DType::I8, &shape);
        let mut sizes = || vec![random.size(0, 2), random.size(0, 2), random.size(0, 2)];
        let (begin, end) = (sizes(), sizes());
        let op =
            Pad { mode: random.pick(&[PadMode::Constant(-9), PadMode::Edge, PadMode::Reflect]), begin, end };
        compare(&Op::Pad(op.clone()), &[&x], |_, x, y| {
            let (maps, fill) = pad_maps(&op, &shape);
            select(&maps, fill, &shape, x[0], y);
        });
    }
}

#[test]
fn resize_matches_reference() {
    let mut random = Random::new(25);
    for _ in 0..200 {
        let shape = [random.size(1, 5), random.size(1, 5), random.size(1, 5)];
        let x = random.tensor(DType::I8, &shape);
        let mut scale = || (random.size(1, 5), random.size(1, 3));
        let op = Resize {
            scales: vec![scale(), scale(), (1, 1)],
            coordinates: random.pick(&[
                ResizeCoordinates::Asymmetric,
                ResizeCoordinates::HalfPixel,
                ResizeCoordinates::AlignCorners,
            ]),
            rounding: random.pick(&[
                ResizeRounding::Floor,
                ResizeRounding::Ceil,
                ResizeRounding::PreferFloor,
                ResizeRounding::PreferCeil,
            ]),
        };
        let expected = Op::Resize(op.clone()).eval(&[&x]).unwrap();
        let out = expected[0].shape().to_vec();
        assert!(compare(&Op::Resize(op.clone()), &[&x], |_, x, y| {
            select(&resize_maps(&op, &shape, &out), 0, &shape, x[0], y);
        }));
    }
}

#[test]
fn gather_matches_reference() {
    let mut random = Random::new(26);
    for axis in 0..3 {
        let shape = [3, 4, 5];
        let data = random.tensor(DType::I32, &shape);
        let extent = i64::try_from(shape[axis]).unwrap();
        let indices = random.tensor_within(DType::I32, &[2, 3], -extent, extent - 1);
        let sizes = [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()];
        assert!(compare(&Op::Gather(Gather { axis }), &[&data, &indices], |_, x, y| {
            let View::I32(indices) = x[1] else { panic!("indices are i32") };
            gather(sizes, x[0], indices, y).unwrap();
        }));
    }
}

#[test]
fn gather_refuses_an_index_outside() {
    let mut y = veracity_kernels::Buffer::new(1);
    let error = gather([1, 3, 1], View::I8(&[1, 2, 3]), &[3], y.view_mut(DType::I8, 1)).unwrap_err();
    assert_eq!(error, ValueError::Index { value: 3, lo: -3, hi: 2 });
    assert_eq!(error.to_string(), "index 3 is outside [-3, 2]");
}
