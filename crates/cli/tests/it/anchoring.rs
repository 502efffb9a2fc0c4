//! Receipts in blocks: the number that each one gets, and what `verify` says with a network key.

use std::{fs, path::Path};

use veracity_receipt::Receipt;

use crate::home::{Done, Home, text};

fn testdata(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../receipt/testdata").join(name)).unwrap()
}

/// A folder with an anchored receipt, the same without its evidence, the evidence alone, and the network's key.
fn home() -> Home {
    let home = Home::new();
    let anchored = Receipt::decode(&testdata("v1-anchored.cbor")).unwrap();
    home.write("anchored.cose", &anchored.encode());
    home.write("evidence.cbor", &anchored.evidence().unwrap().encode());
    home.write("bare.cose", &anchored.with_evidence(None).encode());
    home.write("key.hex", &testdata("network-key.hex"));
    home
}

fn assert_anchored(done: &Done) {
    assert!(done.line("PASS", "final").contains("block 120 of time 1795000100"), "{done:?}");
    assert!(done.line("PASS", "anchored").contains("sequence 41 is place 1 of batch 0 in block 120"));
    // Nobody has the model here, so the receipt is not verified as a whole.
    assert_eq!(done.status, 1);
    assert!(done.stdout.contains("required but not passed: model, request, execution\n"), "{done:?}");
}

#[test]
fn a_receipt_in_a_final_block() {
    let home = home();
    let digits = String::from_utf8(testdata("network-key.hex")).unwrap();
    for key in ["key.hex", digits.trim_end()] {
        assert_anchored(&home.run(&["verify", "anchored.cose", "--network-key", key]));
    }
    let beside = ["verify", "bare.cose", "--network-key", "key.hex", "--evidence", "evidence.cbor"];
    assert_anchored(&home.run(&beside));
    let json = home.run(&["verify", "anchored.cose", "--network-key", "key.hex", "--json"]).json();
    assert_eq!(json["receipt"]["sequence"], 41);
    let required: Vec<&str> =
        json["required"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(required, ["signature", "model", "request", "execution", "final", "anchored"]);
}

#[test]
fn without_key_or_evidence_nothing_is_claimed() {
    let home = home();
    let keyless = home.run(&["verify", "anchored.cose"]);
    assert!(keyless.line("SKIP", "final").ends_with("the policy gives no network key"));
    keyless.line("SKIP", "anchored");
    let bare = home.run(&["verify", "bare.cose", "--network-key", "key.hex"]);
    assert!(bare.line("SKIP", "final").ends_with("the receipt carries no evidence"));
    assert!(bare.stdout.contains("model, request, execution, final, anchored\n"), "{bare:?}");
}

#[test]
fn another_network_is_not_believed() {
    let home = home();
    let digits = String::from_utf8(testdata("network-key.hex")).unwrap();
    let negated = format!("8{}", &digits.trim_end()[1..]);
    let done = home.run(&["verify", "anchored.cose", "--network-key", &negated]);
    assert!(done.line("FAIL", "final").contains("not that of this network"), "{done:?}");
    done.line("SKIP", "anchored");
    assert_eq!(done.status, 1);
}

/// What is not a key names a file; a file that is not there is no key with a fault.
#[test]
fn a_key_that_is_neither_digits_nor_a_file_is_refused() {
    let home = home();
    let digits = String::from_utf8(testdata("network-key.hex")).unwrap();
    let digits = digits.trim_end();
    let refuse = |key: &str, expected: &str| {
        let done = home.run(&["verify", "anchored.cose", "--network-key", key]);
        assert_eq!(done.status, 2, "{done:?}");
        assert!(done.stderr.contains(expected), "{done:?}");
    };
    refuse("/nofile", "/nofile: No such file or directory");
    refuse("0xnofile", "0xnofile: No such file or directory");
    refuse(&digits[1..], "No such file or directory");
    home.write("short.hex", &digits.as_bytes()[1..]);
    refuse("short.hex", "give the 192 hex digits of the network's key, or a file with them");
    // Digits that are no point of the curve.
    refuse(&"00".repeat(96), "give the 192 hex digits");
    assert_anchored(&home.run(&["verify", "anchored.cose", "--network-key", &format!("0x{digits}")]));
}

#[test]
fn receipts_of_one_executor_are_numbered() {
    let home = Home::with_receipt();
    let sequence =
        |receipt: &str| home.run(&["verify", receipt, "--json"]).ok().json()["receipt"]["sequence"].clone();
    assert_eq!(sequence("r.cose"), 0);
    for n in 1..4 {
        let shown = home.run(&["run", "mlp", "--input", "x.npz", "--receipt", "next.cose"]).ok();
        assert!(shown.stdout.contains(&format!("as its receipt number {n}")), "{shown:?}");
        assert_eq!(sequence("next.cose"), n);
    }
    assert_ne!(home.read("r.cose"), home.read("next.cose"));
    let folder = text(&home.path("data/sequences")).to_owned();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "one executor");
}
