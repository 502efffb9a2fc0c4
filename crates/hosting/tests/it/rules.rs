//! Placement, endpoints, configurations.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use veracity_graph::{Digest, ModelId};
use veracity_hosting::{
    ConfigFault, Duty, Endpoint, EndpointError, FetchConfig, HostingConfig, NodeId, duty, holders, ranking,
    score,
};

fn node(n: u16) -> NodeId {
    NodeId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

fn model(n: u16) -> ModelId {
    ModelId(Digest::of(&n.to_be_bytes()))
}

proptest! {
    #[test]
    fn holders_are_the_nearest_whatever_the_order(m: u16, nodes: BTreeSet<u16>, k in 0usize..6) {
        let candidates: Vec<_> = nodes.into_iter().map(node).collect();
        let held = holders(&model(m), &candidates, k);
        prop_assert_eq!(held.len(), k.min(candidates.len()));
        let mut shuffled = candidates.clone();
        shuffled.reverse();
        shuffled.extend(&candidates);
        prop_assert_eq!(&held, &holders(&model(m), &shuffled, k));
        let ranked = ranking(&model(m), &candidates);
        prop_assert_eq!(ranked.iter().collect::<BTreeSet<_>>(), candidates.iter().collect::<BTreeSet<_>>());
        prop_assert!(ranked.is_sorted_by_key(|n| std::cmp::Reverse(score(&model(m), n))));
    }

    #[test]
    fn a_node_that_leaves_moves_only_its_models(m: u16, nodes in prop::collection::btree_set(0u16.., 1..40), k in 1usize..5) {
        let candidates: Vec<_> = nodes.into_iter().map(node).collect();
        let before = holders(&model(m), &candidates, k);
        let (gone, rest) = candidates.split_first().unwrap();
        let after = holders(&model(m), rest, k);
        let stays: Vec<_> = before.iter().filter(|n| *n != gone).copied().collect();
        prop_assert!(after.starts_with(&stays));
        prop_assert!(before.contains(gone) || after == before);
    }
}

#[test]
fn models_are_spread_over_nodes() {
    let candidates: Vec<_> = (0..20).map(node).collect();
    let mut count = [0; 20];
    for m in 0..2000 {
        for holder in holders(&model(m), &candidates, 3) {
            count[candidates.iter().position(|n| *n == holder).unwrap()] += 1;
        }
    }
    assert!(count.iter().all(|n| (220..380).contains(n)), "300 each are expected: {count:?}");
}

/// The score is a format: nodes of different versions must agree.
#[test]
fn the_score_never_changes() {
    let score = score(&ModelId(Digest([1; 32])), &NodeId([2; 32]));
    let input = [[1; 32], [2; 32]].concat();
    assert_eq!(score, blake3::derive_key("veracity hosting placement v1", &input));
    assert_eq!(Digest(score).to_string(), "5280a0fb8b1edd964bf3b85e714c9ea1457413497f36edfb8ae986599b9d19b8");
}

#[test]
fn duties_follow_the_rank() {
    let duties: Vec<_> = (0..7).map(|rank| duty(rank, 3)).collect();
    let step = |after_ticks| Duty::StepIn { after_ticks };
    assert_eq!(duties, [Duty::Hold, Duty::Hold, Duty::Hold, step(4), step(8), step(12), Duty::None]);
    assert_eq!(duty(0, 0), Duty::None);
}

#[test]
fn endpoints_are_plain_urls() {
    for (text, expected) in [
        ("http://a", "http://a"),
        ("https://node.example:8443/", "https://node.example:8443"),
        ("http://[::1]:80/veracity//", "http://[::1]:80/veracity"),
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), expected);
    }
    let long = format!("http://{}", "a".repeat(250));
    for text in ["", &long] {
        let error = text.parse::<Endpoint>().unwrap_err();
        assert_eq!(error, EndpointError::Length { max: 256, found: text.len() });
    }
    for (text, reason) in [
        ("http://a b", "it has other characters than graphic ASCII"),
        ("http://\u{e9}.example", "it has other characters than graphic ASCII"),
        ("http://a:b:c", "it is no URL"),
        ("ftp://a", "its scheme is neither http nor https"),
        ("node.example", "its scheme is neither http nor https"),
        ("/path", "its scheme is neither http nor https"),
        ("http://user:secret@a", "it has a user"),
        ("http://a?b", "it has a query or a fragment"),
        ("http://a#b", "it has a query or a fragment"),
        ("http://:80", "it has no host"),
    ] {
        let error = text.parse::<Endpoint>().unwrap_err();
        assert_eq!(error, EndpointError::Url { text: text.to_owned(), reason });
    }
}

#[test]
fn configurations_tell_all_their_faults() {
    FetchConfig::public().check().unwrap();
    FetchConfig::local().check().unwrap();
    FetchConfig::host().check().unwrap();
    HostingConfig::with_quota(0).check().unwrap();
    let bad = FetchConfig {
        connections: 0,
        connections_per_host: 0,
        hosts_max: 0,
        attempts_max: 0,
        pause_min: Duration::from_secs(9),
        pause_max: Duration::from_secs(1),
        connect_timeout: Duration::ZERO,
        answer_timeout: Duration::ZERO,
        rate_min_bytes_per_s: 0,
        fetch_timeout: Some(Duration::ZERO),
        private_addresses: false,
    };
    let error = bad.check().unwrap_err();
    assert_eq!(error.0.len(), 9);
    assert!(error.0.contains(&ConfigFault::Order { lower: "pause_min", upper: "pause_max" }));
    assert!(
        error
            .to_string()
            .starts_with("the configuration cannot work: connections is 0; set it to 1 or more; ")
    );
    let bad =
        HostingConfig { quota_bytes: 1, model_bytes_max: 2, answers_max: 0, answer_timeout: Duration::ZERO };
    let error = bad.check().unwrap_err();
    assert_eq!(error.0.len(), 3);
    assert!(error.to_string().ends_with("model_bytes_max is above quota_bytes; lower it"));
}
