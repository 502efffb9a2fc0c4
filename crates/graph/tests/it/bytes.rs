//! One value, one encoding.

use veracity_graph::{Bundle, DecodeError, DecodeLimits, Graph, Manifest};

use crate::{draw::Draw, examples, graphs};

fn decode(bytes: &[u8]) -> Result<Graph, DecodeError> {
    Graph::decode(bytes, DecodeLimits::default())
}

/// Changes each byte in `n_ways` ways; what still decodes must encode to the changed bytes.
fn check_flips(bytes: &[u8], n_ways: u8, recode: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut changed = bytes.to_vec();
    for position in 0..bytes.len() {
        for way in 1..=n_ways {
            changed[position] = bytes[position] ^ way;
            if let Some(again) = recode(&changed) {
                assert_eq!(again, changed, "byte {position} changed by {way:#x} has two encodings");
            }
        }
        changed[position] = bytes[position];
    }
}

fn check_truncation(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<(), DecodeError>) {
    for len in 0..bytes.len() {
        let error = decode(&bytes[..len]).unwrap_err();
        assert!(matches!(error, DecodeError::Truncated { offset, .. } if offset == len), "{len}: {error}");
    }
    let longer = [bytes, &[0, 0]].concat();
    assert_eq!(decode(&longer), Err(DecodeError::Trailing { count: 2 }));
    assert_eq!(decode(bytes), Ok(()));
}

#[test]
fn graphs_survive_encoding() {
    for seed in 0..4000 {
        let mut draw = Draw::new(seed, [0, 4][seed as usize % 2]);
        let graph = graphs::graph(&mut draw, 6);
        assert_eq!(decode(&graph.encode()), Ok(graph), "seed {seed}");
    }
}

#[test]
fn a_changed_graph_is_another_graph_or_none() {
    for seed in 0..20 {
        let graph = graphs::graph(&mut Draw::new(seed, 6), 4);
        check_flips(&graph.encode(), 255, |bytes| decode(bytes).ok().map(|g| g.encode()));
    }
    let all = examples::every_operator().graph().encode();
    check_flips(&all, 255, |bytes| decode(bytes).ok().map(|g| g.encode()));
}

#[test]
fn a_changed_manifest_is_another_manifest_or_none() {
    for seed in 0..40 {
        let manifest = graphs::manifest(&mut Draw::new(seed, 0));
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
        check_flips(&bytes, 255, |bytes| Manifest::decode(bytes).ok().map(|m| m.encode()));
        check_truncation(&bytes, |bytes| Manifest::decode(bytes).map(drop));
        let other = graphs::manifest(&mut Draw::new(seed + 1000, 0));
        assert_ne!(manifest.model_id(), other.model_id());
    }
}

#[test]
fn a_changed_bundle_is_another_bundle_or_none() {
    let bundle = examples::small_bundle();
    let bytes = bundle.encode();
    assert_eq!(Bundle::decode(&bytes), Ok(bundle.clone()));
    check_flips(&bytes, 255, |bytes| {
        let changed = Bundle::decode(bytes).ok()?;
        assert_ne!(changed.model_id(), bundle.model_id(), "only what the id covers may change");
        Some(changed.encode())
    });
    check_truncation(&bytes, |bytes| Bundle::decode(bytes).map(drop));
    let header = Bundle::read_header(&bytes).unwrap();
    for len in 0..header.size_bytes {
        assert!(matches!(Bundle::read_header(&bytes[..len]), Err(DecodeError::Truncated { .. })), "{len}");
    }
    assert_eq!(Bundle::read_header(&bytes[..header.size_bytes]), Ok(header));
}

#[test]
fn a_graph_cut_or_continued_is_refused() {
    for seed in 0..100 {
        let graph = graphs::graph(&mut Draw::new(seed, 6), 4);
        check_truncation(&graph.encode(), |bytes| decode(bytes).map(drop));
    }
}

#[test]
fn random_bytes_have_one_encoding_at_most() {
    let start = examples::every_operator().graph().encode();
    for seed in 0..30_000 {
        let mut draw = Draw::new(seed, 0);
        let mut bytes = start.clone();
        for _ in 0..1 + draw.below(4) {
            let (at, from) = (draw.below(bytes.len()), draw.below(bytes.len()));
            let len = draw.below(9).min(bytes.len() - at.max(from));
            match draw.below(3) {
                0 => bytes[at] = draw.next() as u8,
                1 => bytes.copy_within(from..from + len, at),
                _ => drop(bytes.drain(at..at + len)),
            }
        }
        if let Ok(graph) = decode(&bytes) {
            assert_eq!(graph.encode(), bytes, "seed {seed}");
        }
    }
}

/// Replaces the bytes at `at` of the small example's graph.
fn patched(at: usize, new: &[u8]) -> String {
    let mut bytes = examples::small_graph().encode();
    bytes[at..at + new.len()].copy_from_slice(new);
    decode(&bytes).unwrap_err().to_string()
}

#[test]
fn refusals_say_what_and_where() {
    let bytes = examples::small_graph().encode();
    let find = |needle: &[u8]| bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    let quantise = find(&2.0f32.to_le_bytes());
    let node = find(b"fc");
    let cases: [(usize, &[u8], &str); 16] = [
        (0, b"VGRX", "not a graph: the first bytes are not its magic"),
        (4, &[2], "graph version 2 is not supported, this program reads version 1"),
        (5, &[1, 0, 16, 0], "symbols at byte 5 is invalid: the list is longer than allowed"),
        (5, &[255; 4], "symbols at byte 5 is invalid: the list is longer than allowed"),
        (13, &[1, 2, 0, 0], "input name at byte 13 is invalid: text is longer than 512 bytes"),
        (17, &[0xFF], "input name at byte 17 is invalid: text is not UTF-8"),
        (18, &[3], "request element type at byte 18 is invalid: unknown tag"),
        (23, &[2], "extent at byte 23 is invalid: unknown tag"),
        (28, &[2], "encoding at byte 28 is invalid: unknown tag"),
        (29, &[4], "element type at byte 29 is invalid: unknown tag"),
        (30, &(-1.0f32).to_le_bytes(), "scale at byte 30 is invalid: not a positive normal number"),
        (30, &[0; 4], "scale at byte 30 is invalid: not a positive normal number"),
        (30, &f32::NAN.to_le_bytes(), "scale at byte 30 is invalid: not a positive normal number"),
        (30, &f32::INFINITY.to_le_bytes(), "scale at byte 30 is invalid: not a positive normal number"),
        (30, &1u32.to_le_bytes(), "scale at byte 30 is invalid: not a positive normal number"),
        (node + 2, &[20], "operator at byte 74 is invalid: unknown tag"),
    ];
    assert_eq!((quantise, node), (30, 72));
    for (at, new, expected) in cases {
        assert_eq!(patched(at, new), expected);
    }
    let last = bytes.len() - 9;
    assert_eq!(patched(last, &[2]), format!("decoding at byte {last} is invalid: unknown tag"));
    assert_eq!(decode(&bytes[..20]).unwrap_err().to_string(), "the bytes end at 20 inside input extents");
    assert_eq!(decode(&[&bytes[..], &[7]].concat()).unwrap_err().to_string(), "1 bytes follow the end");
    assert_eq!(decode(b"VG"), Err(DecodeError::Truncated { what: "graph", offset: 2 }));
    assert_eq!(decode(b"VX"), Err(DecodeError::Magic { what: "graph" }));
}

#[test]
fn tags_and_flags_have_no_second_form() {
    use veracity_ops::{
        ArgMax, MaxPool, Op, Pad, PadMode, Reduce, ReduceKind, Reshape, Resize, ResizeCoordinates,
        ResizeRounding, Window,
    };

    let window = Window { kernel: [1, 1], strides: [1, 1], pads: [0; 4], dilations: [1, 1], ceil: false };
    let (coordinates, rounding) = (ResizeCoordinates::Asymmetric, ResizeRounding::Floor);
    let y = examples::full(veracity_ops::DType::I8);
    let reduce = Reduce { kind: ReduceKind::Sum, axes: vec![], x_zero: 0, mul: 1, shift: 0, y };
    // Operator, position of a tag after the operator's own, and the first unknown tag.
    let cases = [
        (Op::ArgMax(ArgMax { axis: 0, last: false }), 4, 2, "last", "a flag is 0 or 1"),
        (Op::MaxPool(MaxPool { window }), 40, 2, "ceil", "a flag is 0 or 1"),
        (Op::Reduce(reduce), 0, 3, "reduction", "unknown tag"),
        (Op::Pad(Pad { mode: PadMode::Edge, begin: vec![], end: vec![] }), 0, 3, "pad mode", "unknown tag"),
        (Op::Reshape(Reshape { dims: vec![veracity_ops::DimSpec::Infer] }), 4, 3, "extent", "unknown tag"),
        (Op::Resize(Resize { scales: vec![], coordinates, rounding }), 4, 3, "coordinates", "unknown tag"),
        (Op::Resize(Resize { scales: vec![], coordinates, rounding }), 5, 4, "rounding", "unknown tag"),
    ];
    for (op, offset, tag, what, reason) in cases {
        let graph = Graph { nodes: vec![examples::node("", op, &[])], ..Graph::default() };
        let mut bytes = graph.encode();
        let at = 5 + 4 * 4 + 4 + 1 + offset;
        bytes[at] = tag;
        let expected = format!("{what} at byte {at} is invalid: {reason}");
        assert_eq!(decode(&bytes).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_list_takes_memory_for_what_is_there() {
    let limits = DecodeLimits { list_max: usize::MAX };
    for list in 0..5 {
        let mut bytes = b"VGRF\x01".to_vec();
        (0..list).for_each(|_| bytes.extend([0; 4]));
        bytes.extend([255; 4]);
        bytes.extend([0; 8]);
        assert!(matches!(
            Graph::decode(&bytes, limits),
            Err(DecodeError::Truncated { .. } | DecodeError::Invalid { .. })
        ));
    }
}
