//! Bytes from a stranger, read as a graph, a manifest and a bundle: no panic, and no second encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use veracity_graph::{Bundle, DecodeError, DecodeLimits, Graph, Manifest, Model, ModelError};

/// Most bytes of constants that are made up for a graph.
const WEIGHTS_MAX: u64 = 1 << 20;

fn check_model(graph: Graph) {
    let size = match Model::new(graph.clone(), Vec::new()) {
        Err(ModelError::WeightsSize { .. }) => graph.constants.iter().try_fold(0u64, |n, c| n.checked_add(c.size_bytes()?)),
        Ok(_) | Err(_) => return,
    };
    let Some(size) = size.filter(|size| *size <= WEIGHTS_MAX) else { return };
    let weights = vec![0; usize::try_from(size).expect("a mebibyte fits")];
    if let Ok(model) = Model::new(graph, weights) {
        let again = Graph::decode(&model.graph().encode(), DecodeLimits::default());
        assert_eq!(again.as_ref(), Ok(model.graph()), "a model with another encoding");
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(graph) = Graph::decode(bytes, DecodeLimits::default()) {
        assert_eq!(graph.encode(), bytes, "a graph with a second encoding");
        check_model(graph);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes, "a manifest with a second encoding");
    }
    match Bundle::decode(bytes) {
        Ok(bundle) => {
            assert_eq!(bundle.encode(), bytes, "a bundle with a second encoding");
            assert_eq!(bundle.check(), Ok(()), "a bundle that differs from its manifest");
            // The reason is of no interest; that there is one, without a panic, is.
            drop(bundle.load());
        }
        Err(DecodeError::Trailing { .. } | DecodeError::PartMismatch { .. }) => {
            assert!(Bundle::read_header(bytes).is_ok(), "parts without a header");
        }
        Err(_) => {}
    }
});
