//! Measures how long evidence of a receipt takes to verify against a network's key.

#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "a program that measures time")]

use std::time::Instant;

use veracity_light::{Evidence, NetworkKey, Subject, verify};

const RUNS: usize = 500;
const EVIDENCE: &[u8] = include_bytes!("../testdata/v1-evidence.cbor");
const SUBJECT: Subject = Subject { executor: [7; 32], sequence: 1002, receipt_id: [0x5a; 32] };

fn main() {
    let text = include_str!("../testdata/network-key.hex");
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let key: NetworkKey = text.parse().expect("it is a key");
            let evidence = Evidence::decode(EVIDENCE).expect("it is evidence");
            verify(&evidence, &SUBJECT, &key).expect("it verifies");
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "light verification: p50 {:.2} ms, p99 {:.2} ms ({} bytes of evidence, a key of 96, read and verified {RUNS} times)",
        times[RUNS / 2],
        times[RUNS * 99 / 100],
        EVIDENCE.len(),
    );
}
