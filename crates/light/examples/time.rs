//! Measures how long evidence of a receipt takes to verify against a network's key.

#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "a program that measures time")]

use std::time::Instant;

use veracity_light::{Evidence, NetworkKey, Subject, verify};

const RUNS: usize = 500;
const EVIDENCE: &[u8] = include_bytes!("../testdata/v1-evidence.cbor");
const SUBJECT: Subject = Subject { executor: [7; 32], sequence: 1002, receipt_id: [0x5a; 32] };

fn main() {
    let text = include_str!("../testdata/network-key.hex");
    let key: NetworkKey = text.parse().expect("it is a key");
    let verified = |key: &NetworkKey| {
        let evidence = Evidence::decode(EVIDENCE).expect("it is evidence");
        verify(&evidence, &SUBJECT, key).expect("it verifies");
    };
    let evidence_bytes = EVIDENCE.len();
    println!("light verification, {evidence_bytes} bytes of evidence, read and verified {RUNS} times:");
    println!("  with a key that was read before  {}", times(|| verified(&key)));
    println!(
        "  the key of 96 bytes read as well {}",
        times(|| verified(&text.parse().expect("it is a key")))
    );
}

/// How long something takes.
fn times(run: impl Fn()) -> String {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    format!("p50 {:.2} ms, p99 {:.2} ms", times[RUNS / 2], times[RUNS * 99 / 100])
}
