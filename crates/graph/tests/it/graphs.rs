//! Graphs drawn from a seed: any values that have bytes, valid as models or not.

use veracity_graph::{
    ConstantType, Decoding, Digest, Dim, Elem, Encoding, Graph, Input, Manifest, Node, Output, Part,
    Provenance, Scale, ValueId,
};
use veracity_ops::DType;

use crate::draw::{Draw, N_OPS};

fn text(draw: &mut Draw) -> String {
    let words =
        ["", "x", "input.1", "a name with spaces", "\u{e9}\u{4e2d}\u{1f600}", "\0", "/conv/Conv_output_0"];
    format!("{}{}", draw.pick(&words), draw.below(4))
}

fn word(draw: &mut Draw) -> u32 {
    let small = draw.below(5) as u32;
    draw.pick(&[small, small, u32::MAX, 1 << 31])
}

fn int(draw: &mut Draw) -> i32 {
    i32::from_le_bytes(word(draw).to_le_bytes())
}

fn scale(draw: &mut Draw) -> Scale {
    let value = draw.pick(&[1.0, 0.1, f32::MIN_POSITIVE, f32::MAX, 123.456]);
    Scale::new(value).unwrap()
}

fn elem(draw: &mut Draw) -> Elem {
    draw.pick(&[Elem::F32, Elem::I32, Elem::I64])
}

fn dtype(draw: &mut Draw) -> DType {
    draw.pick(&[DType::I8, DType::I16, DType::I32, DType::I64])
}

fn list<T>(draw: &mut Draw, most: usize, mut item: impl FnMut(&mut Draw) -> T) -> Vec<T> {
    (0..draw.below(most + 1)).map(|_| item(draw)).collect()
}

fn input(draw: &mut Draw) -> Input {
    let dim = |draw: &mut Draw| if draw.flag() { Dim::Fixed(word(draw)) } else { Dim::Symbol(word(draw)) };
    let encoding = if draw.flag() {
        Encoding::Quantise { dtype: dtype(draw), inv_scale: scale(draw), zero: int(draw) }
    } else {
        Encoding::Integer { lo: int(draw), hi: int(draw) }
    };
    Input { name: text(draw), elem: elem(draw), dims: list(draw, 4, dim), encoding }
}

fn output(draw: &mut Draw) -> Output {
    let decoding = if draw.flag() {
        Decoding::Dequantise { scale: scale(draw), zero: int(draw) }
    } else {
        Decoding::Integer(elem(draw))
    };
    Output { name: text(draw), value: ValueId(word(draw)), decoding }
}

/// A graph of up to `n_nodes` nodes.
pub(crate) fn graph(draw: &mut Draw, n_nodes: usize) -> Graph {
    draw.most = u32::MAX as usize;
    let constant = |draw: &mut Draw| ConstantType { dtype: dtype(draw), shape: list(draw, 3, word) };
    let node = |draw: &mut Draw| {
        let kind = draw.below(N_OPS);
        Node { name: text(draw), op: draw.case(kind).0, inputs: list(draw, 3, |draw| ValueId(word(draw))) }
    };
    Graph {
        symbols: list(draw, 2, text),
        inputs: list(draw, 2, input),
        constants: list(draw, 3, constant),
        nodes: list(draw, n_nodes, node),
        outputs: list(draw, 2, output),
    }
}

fn digest(draw: &mut Draw) -> Digest {
    Digest::of(&draw.next().to_le_bytes())
}

pub(crate) fn manifest(draw: &mut Draw) -> Manifest {
    let part = |draw: &mut Draw| Part { digest: digest(draw), size_bytes: draw.next() };
    let provenance = Provenance {
        converter: text(draw),
        format: text(draw),
        source: digest(draw),
        options: text(draw),
        samples: draw.flag().then(|| digest(draw)),
    };
    Manifest { graph: part(draw), weights: part(draw), provenance }
}
