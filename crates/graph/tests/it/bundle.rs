//! Bundles and manifests.

use veracity_graph::{Bundle, BundleError, DecodeError, Digest, Manifest, ModelError, Part, Scale};

use crate::{draw::Draw, examples, graphs};

fn error(bytes: &[u8]) -> String {
    Bundle::decode(bytes).unwrap_err().to_string()
}

#[test]
fn a_bundle_loads_as_its_model() {
    let model = examples::every_operator();
    let bundle = Bundle::new(&model, examples::provenance());
    let again = Bundle::decode(&bundle.encode()).unwrap();
    assert_eq!(again.load(), Ok(model));
    assert_eq!(again.model_id(), bundle.model_id());
}

#[test]
fn parts_are_checked_against_the_manifest() {
    let bundle = examples::small_bundle();
    let bytes = bundle.encode();
    let header = Bundle::read_header(&bytes).unwrap().size_bytes;
    for (at, part, own) in [(header, "graph", &bundle.graph), (bytes.len() - 1, "weights", &bundle.weights)] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let found = match part {
            "graph" => Digest::of(&changed[header..header + own.len()]),
            _ => Digest::of(&changed[bytes.len() - own.len()..]),
        };
        let expected = Digest::of(own);
        let message =
            format!("the {part} does not match its manifest: expected hash {expected}, found {found}");
        assert_eq!(error(&changed), message);
    }
    assert_eq!(error(b"VMDX"), "not a model bundle: the first bytes are not its magic");
    let mut long = bytes.clone();
    long[5..9].copy_from_slice(&65_537u32.to_le_bytes());
    assert_eq!(error(&long), "manifest length at byte 5 is invalid: longer than 64 KiB");
    let mut flag = bytes.clone();
    flag[151] = 2;
    assert_eq!(error(&flag), "samples at byte 151 is invalid: a flag is 0 or 1");
    let mut wide = bytes.clone();
    wide[5] += 1;
    assert_eq!(error(&wide), "manifest at byte 9 is invalid: bytes follow its end");
    let mut short = bytes;
    short[5] -= 1;
    assert_eq!(error(&short), "manifest at byte 9 is invalid: it ends early");
    assert!(
        matches!(Bundle::read_header(&short), Err(DecodeError::Invalid { .. })),
        "more bytes would not help"
    );
}

#[test]
fn a_bundle_of_no_model_says_why() {
    let mut bundle = examples::small_bundle();
    bundle.weights.push(0);
    bundle.manifest.weights = Part::of(&bundle.weights);
    assert!(matches!(bundle.load(), Err(BundleError::Model(ModelError::WeightsSize { .. }))));
    assert_eq!(bundle.load().unwrap_err().to_string(), "the constants need 3 bytes, the weights have 4");
    bundle.graph.push(0);
    assert!(matches!(bundle.check(), Err(DecodeError::PartMismatch { part: "graph", .. })));
    bundle.manifest.graph = Part::of(&bundle.graph);
    assert_eq!(bundle.check(), Ok(()));
    assert!(matches!(bundle.load(), Err(BundleError::Decode(DecodeError::Trailing { count: 1 }))));
}

/// Whatever a manifest announces, nothing is allocated for it.
#[test]
fn announced_sizes_are_not_believed() {
    let mut bundle = examples::small_bundle();
    for size in [u64::MAX, 1 << 40] {
        bundle.manifest.weights.size_bytes = size;
        assert!(matches!(
            Bundle::decode(&bundle.encode()),
            Err(DecodeError::Truncated { what: "weights", .. })
        ));
    }
}

#[test]
fn every_field_is_part_of_the_id() {
    let base = graphs::manifest(&mut Draw::new(1, 0));
    let changes: [fn(&mut Manifest); 9] = [
        |m| m.graph.digest.0[31] ^= 1,
        |m| m.graph.size_bytes ^= 1,
        |m| m.weights.digest.0[0] ^= 1,
        |m| m.weights.size_bytes ^= 1 << 63,
        |m| m.provenance.converter.push('x'),
        |m| m.provenance.format.push('x'),
        |m| m.provenance.source.0[5] ^= 1,
        |m| m.provenance.options.push(' '),
        |m| m.provenance.samples = m.provenance.samples.map_or(Some(Digest([0; 32])), |_| None),
    ];
    let mut ids = std::collections::BTreeSet::from([base.model_id()]);
    for change in changes {
        let mut manifest = base.clone();
        change(&mut manifest);
        ids.insert(manifest.model_id());
    }
    assert_eq!(ids.len(), 10);
    let mut joined = base;
    joined.provenance.converter = "ab".into();
    joined.provenance.format = "c".into();
    let mut other = joined.clone();
    other.provenance.converter = "a".into();
    other.provenance.format = "bc".into();
    assert_ne!(joined.model_id(), other.model_id(), "lengths separate texts");
}

#[test]
fn digests_and_scales_have_one_form() {
    let digest = Digest::of(b"veracity");
    let hex = digest.to_string();
    assert_eq!(Digest::from_hex(&hex), Some(digest));
    for bad in [
        &hex[1..],
        &hex.to_uppercase(),
        &format!("{hex}0"),
        "",
        &hex.replace(|c: char| c.is_ascii_digit(), "g"),
    ] {
        assert_eq!(Digest::from_hex(bad), None, "{bad}");
    }
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 2.0] {
        assert_eq!(Scale::new(bad), None, "{bad}");
    }
}
