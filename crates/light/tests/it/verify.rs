//! Every refusal of the verifier, by its message.

use alloy_primitives::{Address, B256, Bytes, LogData, U256};
use veracity_light::{
    AnchorError, BlockHash, Evidence, FinalityError, Parts, Subject, VerifyError, merkle, verify,
};

use crate::fixture::{HEIGHT, SUBJECT, Scene, TIME, Validators, anchored, evidence, parts, validators};

fn anchor_error(parts: Parts) -> String {
    anchor_error_of(parts, &SUBJECT)
}

fn anchor_error_of(parts: Parts, subject: &Subject) -> String {
    Evidence::new(parts).unwrap().verify_anchor(subject).unwrap_err().to_string()
}

fn scene_error(scene: &Scene) -> String {
    anchor_error(scene.parts(&validators()))
}

fn finality_error(parts: Parts) -> FinalityError {
    Evidence::new(parts).unwrap().verify_finality(&validators().key()).unwrap_err()
}

/// Evidence whose headers are these and whose certificate fits the last one.
fn with_headers(headers: Vec<Vec<u8>>) -> Parts {
    let certificate = validators().finalize(BlockHash::of(headers.last().unwrap()));
    Parts { certificate, headers, ..parts() }
}

/// Evidence for a block whose only Ethereum receipt is `value`.
fn with_receipt(value: &[u8]) -> Parts {
    with_node(alloy_rlp::encode(vec![Bytes::from_static(&[0x20, 0x80]), value.to_vec().into()]))
}

/// Evidence for a block whose trie of Ethereum receipts has this root node.
fn with_node(node: Vec<u8>) -> Parts {
    let receipts_root = B256::from(BlockHash::of(&node).as_bytes());
    let header = alloy_rlp::encode(alloy_consensus::Header { receipts_root, ..Default::default() });
    Parts { headers: vec![header], nodes: vec![node], transaction_index: 0, ..parts() }
}

#[test]
fn good_evidence_says_where_and_when() {
    let (block, anchor) = verify(&evidence(), &SUBJECT, &validators().key()).unwrap();
    assert_eq!((block.height, block.time, block.certified_height), (HEIGHT, TIME, HEIGHT + 2));
    assert_eq!(block.hash, BlockHash::of(&parts().headers[0]));
    assert_eq!(block.round.to_string(), "epoch 1, view 9");
    assert_eq!((anchor.batch, anchor.index, anchor.height, anchor.time), (3, 2, HEIGHT, TIME));
    assert_eq!(anchor.block, block.hash);
    assert!(format!("{:?}", block.hash).starts_with("BlockHash(0x"));
}

#[test]
fn another_network_has_another_key() {
    let error = verify(&evidence(), &SUBJECT, &Validators::new(1).key()).unwrap_err();
    assert!(matches!(error, VerifyError::Finality(FinalityError::Signature(_))));
    assert_eq!(
        error.to_string(),
        "the vote signature of epoch 1, view 9 is not that of this network over this block"
    );
    let error = verify(&evidence(), &Subject { sequence: 0, ..SUBJECT }, &validators().key()).unwrap_err();
    assert!(matches!(error, VerifyError::Anchor(AnchorError::OtherBatch { .. })));
}

#[test]
fn malformed_headers() {
    let error = |header: &[u8]| finality_error(with_headers(vec![header.to_vec()])).to_string();
    assert_eq!(error(b""), "header 0 is malformed: the bytes end inside an item");
    assert_eq!(error(b"\x80"), "header 0 is malformed: expected a list, found the other type");
    assert_eq!(error(b"\xc0"), "header 0 is malformed: the bytes end inside an item");
    assert_eq!(error(b"\xc1\x80"), "header 0 is malformed: a string must have 32 bytes, it has 0");
    assert_eq!(error(b"\xc1\xc0"), "header 0 is malformed: expected a string, found the other type");
    assert_eq!(error(b"\xc0\x80"), "header 0 is malformed: 1 bytes follow the last item");
    assert_eq!(error(b"\xc5\x83\x01"), "header 0 is malformed: the bytes end inside an item");
    assert_eq!(
        error(b"\xb8\x01"),
        "header 0 is malformed: a length, number or path is not in its canonical form"
    );
    assert_eq!(
        error(b"\xf8\x01\x80"),
        "header 0 is malformed: a length, number or path is not in its canonical form"
    );
    assert_eq!(
        error(b"\xf9\x00\x40"),
        "header 0 is malformed: a length, number or path is not in its canonical form"
    );
    assert_eq!(
        error(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        "header 0 is malformed: the bytes end inside an item"
    );

    // The items of a good header, one of which is another.
    let good = alloy_consensus::Header { number: 5, timestamp: 6, ..Default::default() };
    let bytes = alloy_rlp::encode(&good);
    let place = bytes.len() - 4 - 1 - 33 - 9;
    assert_eq!(&bytes[place..place + 5], [5, 0x80, 0x80, 6, 0x80], "number, limit, use, time, extra data");
    let with = |at: usize, byte: u8| {
        let mut bad = bytes.clone();
        bad[place + at] = byte;
        bad
    };
    let canonical = "header 0 is malformed: a length, number or path is not in its canonical form";
    assert_eq!(error(&with(0, 0)), canonical);
    assert_eq!(error(&with(3, 0)), canonical);
    let huge = alloy_consensus::Header { difficulty: U256::MAX, ..good };
    assert!(matches!(
        finality_error(with_headers(vec![bytes, alloy_rlp::encode(&huge)])),
        FinalityError::BrokenLink { position: 1, .. }
    ));
    assert_eq!(
        anchor_error(Parts { headers: vec![vec![0xc0]], ..parts() }),
        "the header is malformed: the bytes end inside an item"
    );
}

#[test]
fn headers_that_are_no_chain() {
    let good = parts().headers;
    let [a, b, c] = [0, 1, 2].map(|i| good[i].clone());
    let hash = |header: &[u8]| BlockHash::of(header);
    assert_eq!(
        finality_error(with_headers(vec![a.clone(), c.clone()])).to_string(),
        format!("header 1 follows {}, but the one before it is {}", hash(&b), hash(&a))
    );
    assert_eq!(
        finality_error(Parts { headers: vec![a.clone(), b.clone()], ..parts() }).to_string(),
        format!("the certificate is for block {}, the last header is of {}", hash(&c), hash(&b))
    );
    let skipping = alloy_consensus::Header {
        parent_hash: B256::from(hash(&a).as_bytes()),
        number: HEIGHT + 2,
        ..Default::default()
    };
    assert_eq!(
        finality_error(with_headers(vec![a.clone(), alloy_rlp::encode(&skipping)])).to_string(),
        "header 1 has height 122, the one before it has 120"
    );
    let malformed = finality_error(with_headers(vec![a, vec![0x80]])).to_string();
    assert_eq!(malformed, "header 1 is malformed: expected a list, found the other type");
}

#[test]
fn a_proof_that_leads_elsewhere() {
    let good = parts();
    let nodes = good.nodes;
    assert!(nodes.len() > 1, "the trie has branches");
    let other = Parts { transaction_index: 16, ..parts() };
    let error = anchor_error(other);
    assert!(error.starts_with("the Ethereum receipt is not in the block: node 2 is not"), "{error}");
    let prefix = "the Ethereum receipt is not in the block: ";
    let shorter = Parts { nodes: nodes[..nodes.len() - 1].to_vec(), ..parts() };
    assert_eq!(anchor_error(shorter), format!("{prefix}{} nodes do not lead to a leaf", nodes.len() - 1));
    let longer = Parts { nodes: [nodes.as_slice(), &[vec![0x80]]].concat(), ..parts() };
    let expected =
        format!("{prefix}the leaf is node {}, but there are {} nodes", nodes.len(), nodes.len() + 1);
    assert_eq!(anchor_error(longer), expected);
    let absent = format!("{prefix}the path ends at node 0: there is no such transaction in the block");
    let single = Scene { n_transactions: 1, transaction: 0, ..Scene::default() }.parts(&validators());
    for transaction_index in [1, 127, 128, u64::MAX] {
        assert_eq!(anchor_error(Parts { transaction_index, ..single.clone() }), absent);
    }
    assert_eq!(
        anchor_error(Parts { transaction_index: 0x30, ..parts() }),
        absent,
        "a branch without this child"
    );
}

#[test]
fn nodes_that_are_none() {
    let error = |node: &[u8]| {
        let error = anchor_error(with_node(node.to_vec()));
        error
            .strip_prefix("the Ethereum receipt is not in the block: node 0 is malformed: ")
            .unwrap_or(&error)
            .to_owned()
    };
    let items = |n: usize| alloy_rlp::encode(vec![Bytes::new(); n]);
    assert_eq!(error(b"\x80"), "expected a list, found the other type");
    assert_eq!(error(&items(3)), "a node of a trie has 2 or 17 items, this one has 3");
    assert_eq!(error(&items(300)), "a node of a trie has 2 or 17 items, this one has 255");
    let canonical = "a length, number or path is not in its canonical form";
    let short = |path: &'static [u8], value: &'static [u8]| {
        error(&alloy_rlp::encode(vec![Bytes::from_static(path), Bytes::from_static(value)]))
    };
    assert_eq!(short(b"", b""), canonical, "a path has a head");
    assert_eq!(short(b"\x40", b""), canonical, "of four kinds");
    assert_eq!(short(b"\x21\x80", b""), canonical, "with zeros in the unused half");
    assert_eq!(short(b"\x18", b"child"), "a string must have 32 bytes, it has 5");
    assert!(
        short(b"\x38", b"").ends_with("there is no such transaction in the block"),
        "the leaf is not deep enough"
    );
    assert!(short(b"\x19", b"").ends_with("there is no such transaction in the block"));
    // A branch with a child inside it, and one at which the key has ended.
    let branch = |child: &[u8]| {
        [&[0xc0 + 16 + u8::try_from(child.len()).unwrap()], [0x80; 8].as_slice(), child, &[0x80; 8]].concat()
    };
    assert_eq!(error(&branch(b"\xc2\x20\x01")), "expected a string, found the other type");
    assert_eq!(error(&branch(b"\x01")), "a string must have 32 bytes, it has 1");
    let leafless = items(17);
    let child = BlockHash::of(&leafless);
    let mut parts = with_node([&[0xe3, 0x82, 0x00, 0x80, 0xa0][..], child.as_bytes()].concat());
    parts.nodes[0][0] = 0xe4;
    let mut parts = with_node(parts.nodes.remove(0));
    parts.nodes.push(leafless);
    assert!(
        anchor_error(parts).ends_with("the path ends at node 1: there is no such transaction in the block")
    );
}

#[test]
fn receipts_that_are_none() {
    let malformed = |value: &[u8], reason: &str| {
        assert_eq!(anchor_error(with_receipt(value)), format!("the Ethereum receipt is malformed: {reason}"));
    };
    malformed(b"", "the bytes end inside an item");
    malformed(b"\x02\x80", "expected a list, found the other type");
    malformed(b"\x02\xc2\x01\x82", "the bytes end inside an item");
    malformed(b"\x02\xc3\x01\x05\x80", "a string must have 256 bytes, it has 0");
    malformed(b"\x02\xcb\x01\x89\x01\0\0\0\0\0\0\0\0", "a number has 9 bytes, at most 8 are possible");
    let receipt = |status: &[u8], logs: &[u8], more: &[u8]| {
        let bloom = [&[0xb9, 1, 0][..], &[0; 256]].concat();
        let payload = [status, &[5], &bloom, logs, more].concat();
        [&[2, 0xf9, payload.len().to_be_bytes()[6], payload.len().to_be_bytes()[7]], payload.as_slice()]
            .concat()
    };
    malformed(&receipt(&[1], &[0xc0], &[0x80]), "1 bytes follow the last item");
    malformed(&receipt(&[1], &[0x80], &[]), "expected a list, found the other type");
    malformed(&receipt(&[1], &[0xc2, 0xc0, 0x80], &[]), "expected a list, found the other type");
    malformed(&receipt(&[1], &[0xc2, 0xc0, 0xc0], &[]), "the bytes end inside an item");
    malformed(&receipt(&[1], &[0xc3, 0xc0, 0xc1, 0x80], &[]), "a string must have 20 bytes, it has 0");
    for status in [&[0x80][..], &[2], &[0x82, 1, 1]] {
        let error = anchor_error(with_receipt(&receipt(status, &[0xc0], &[])));
        assert_eq!(error, "the anchoring transaction was reverted");
    }
    assert_eq!(
        anchor_error(with_receipt(&receipt(&[1], &[0xc0], &[]))),
        "there is no log 1, the transaction has 0"
    );
}

#[test]
fn a_transaction_that_failed() {
    assert_eq!(
        scene_error(&Scene { status: false, ..Scene::default() }),
        "the anchoring transaction was reverted"
    );
}

#[test]
fn a_log_that_is_another() {
    for log_index in [3, u64::MAX] {
        let error = scene_error(&Scene { log_index, ..Scene::default() });
        assert_eq!(error, format!("there is no log {log_index}, the transaction has 3"));
    }
    let error = scene_error(&Scene { log_index: 0, ..Scene::default() });
    assert_eq!(error, format!("the log is not of the contract Receipts but of 0x{}", "09".repeat(20)));

    let ids = Scene::default().ids;
    let changed = |change: &dyn Fn(&mut alloy_primitives::Log)| {
        let mut log = anchored(&ids);
        change(&mut log);
        scene_error(&Scene { logs: vec![log], log_index: 0, ..Scene::default() })
    };
    assert!(changed(&|log| log.address = Address::ZERO).starts_with("the log is not of the contract"));
    type Topics<'a> = &'a dyn Fn(&mut Vec<B256>);
    let topics = |change: Topics<'_>| {
        changed(&|log| {
            let mut topics = log.data.topics().to_vec();
            change(&mut topics);
            log.data = LogData::new_unchecked(topics, log.data.data.clone());
        })
    };
    let other = "the log is not the event Anchored";
    assert_eq!(topics(&|t| t[0] = B256::ZERO), other);
    assert_eq!(topics(&|t| t.truncate(2)), other);
    assert_eq!(topics(&|t| t.push(B256::ZERO)), other);
    let executors =
        format!("the receipt is of executor {}, the batch of {}", "07".repeat(32), "08".repeat(32));
    assert_eq!(topics(&|t| t[1] = B256::repeat_byte(8)), executors);
    assert_eq!(topics(&|t| t[2] = B256::repeat_byte(1)), "the field batch of the event is out of range");

    let data = |change: &dyn Fn(&mut Vec<u8>)| {
        changed(&|log| {
            let mut data = log.data.data.to_vec();
            change(&mut data);
            log.data.data = data.into();
        })
    };
    assert_eq!(data(&|d| d.truncate(95)), "the field data of the event is out of range");
    assert_eq!(data(&|d| d.push(0)), "the field data of the event is out of range");
    assert_eq!(data(&|d| d[23] = 1), "the field first of the event is out of range");
    for count in [0_u64, 65_537, 1 << 32, u64::MAX] {
        let error = data(&|d| d[56..64].copy_from_slice(&count.to_be_bytes()));
        assert_eq!(error, "the field count of the event is out of range", "{count}");
    }
}

#[test]
fn a_receipt_that_is_not_in_the_batch() {
    for sequence in [0, 999, 1005, u64::MAX] {
        let error = anchor_error_of(parts(), &Subject { sequence, ..SUBJECT });
        assert_eq!(error, format!("the receipt has sequence {sequence}, the batch has 5 from 1000"));
    }
    // The right leaf under a wrong sequence: a path of its own does not help.
    let scene = Scene::default();
    let error = anchor_error_of(parts(), &Subject { sequence: 1003, ..SUBJECT });
    assert_eq!(error, "batch 3 does not have this receipt at place 3, which is that of sequence 1003");
    let path = merkle::path(&scene.ids, 3).unwrap();
    let other = Parts { path, ..parts() };
    let error = anchor_error_of(other, &Subject { sequence: 1003, ..SUBJECT });
    assert_eq!(error, "batch 3 does not have this receipt at place 3, which is that of sequence 1003");
    let short = Parts { path: vec![], ..parts() };
    assert!(anchor_error(short).starts_with("batch 3 does not have this receipt at place 2"));
}
