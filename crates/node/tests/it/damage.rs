//! Damaged files: a node starts with what it had, or says what to do. It never starts with something else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, U256};
use serde_json::json;
use veracity_validator::Stopped;

use crate::support::Net;

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

/// The largest file of each store of consensus. The index is not among them: its database has checksums for what a crash
/// leaves behind, and does not look at all of them at start.
fn victims(node: &Path) -> Vec<PathBuf> {
    let mut victims = vec![];
    for store in fs::read_dir(node.join("consensus")).unwrap().map(|entry| entry.unwrap().path()) {
        let all = if store.is_dir() { files(&store) } else { vec![store] };
        let largest = all.into_iter().max_by_key(|file| fs::metadata(file).unwrap().len());
        victims.extend(largest.filter(|file| fs::metadata(file).unwrap().len() > 0));
    }
    victims.sort();
    victims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_with_what_to_do() {
    let mut net = Net::new(1);
    net.start(0).await;
    let to = Address::repeat_byte(0x7a);
    for nonce in 0..20 {
        let hash = net.send(0, nonce, to, 5).await;
        net.receipt(0, hash).await;
    }
    let height = net.height(0).await;
    let hash = net.block_hash(0, &json!(format!("0x{height:x}"))).await;
    net.stop(0).await;
    let mut refused = 0;
    for victim in victims(&net.at(0)) {
        let (whole, name) = (fs::read(&victim).unwrap(), victim.display());
        let mut damaged = whole.clone();
        // In the middle, where no header is, and as a bad sector would be.
        let middle = damaged.len() / 2;
        let end = damaged.len().min(middle + 512);
        damaged[middle..end].iter_mut().for_each(|byte| *byte ^= 0xff);
        fs::write(&victim, &damaged).unwrap();
        let is_refused = match net.try_start(0).await {
            Ok(node) => {
                let (head, state) = node.chain().latest();
                assert!(head.number() >= height, "{name}");
                assert_eq!(json!(node.chain().block(height).unwrap().unwrap().hash()), hash, "{name}");
                assert_eq!(state.account(to).unwrap().balance, U256::from(100), "{name}");
                // What it reads only now may stop it.
                match node.stop().await {
                    Stopped::Asked => false,
                    stopped => {
                        assert!(matches!(stopped, Stopped::Panic(_)), "{name}: {stopped}");
                        true
                    }
                }
            }
            Err(error) => {
                assert!(error.to_string().contains("from a backup"), "{name}: {error}");
                true
            }
        };
        if is_refused {
            refused += 1;
            fs::write(&victim, &whole).unwrap();
        }
    }
    assert!(refused > 0, "what is looked at was damaged");
}
