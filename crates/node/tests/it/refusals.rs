//! What is refused, with words that say what to do.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;
use veracity_node::{Created, DevPlan, Folder, FolderError, Network, NetworkError, NodeConfig};
use veracity_validator::{FirstEpoch, Identity, KeyError, deal};

fn plan() -> DevPlan {
    let validators = vec![([127, 0, 0, 1], 1).into()];
    DevPlan { chain_id: 5, validators, accounts: 1, parameters: vec![], time: 1 }
}

fn config() -> NodeConfig {
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    NodeConfig {
        listen: address,
        rpc: address,
        beneficiary: [7; 20].into(),
        allow_private: true,
        join: false,
        bootstrap: vec![],
    }
}

fn founded() -> (Created, TempDir, Folder) {
    let created = plan().create().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(&dir.path().join("node"));
    folder.found(&created.network, &created.founders[0], &config()).unwrap();
    (created, dir, folder)
}

#[test]
fn a_folder_gives_back_what_it_was_made_of() {
    let (created, dir, folder) = founded();
    assert_eq!(folder.network().unwrap().hash(), created.network.hash());
    assert_eq!(folder.network().unwrap().to_json(), created.network.to_json());
    assert_eq!(folder.config().unwrap(), config());
    let identity = Identity::from_seed(created.founders[0].seed);
    assert_eq!(folder.identity().unwrap().public_key(), identity.public_key());
    assert_eq!(folder.share().unwrap().as_ref(), Some(&created.founders[0].share));
    let joined = Folder::new(&dir.path().join("other"));
    joined.join(&created.network, [3; 32], &config()).unwrap();
    assert_eq!(joined.share().unwrap(), None);
}

#[test]
fn folders_are_refused() {
    let (created, dir, folder) = founded();
    let taken = folder.found(&created.network, &created.founders[0], &config()).unwrap_err();
    assert!(matches!(taken, FolderError::Taken { .. }), "{taken}");
    let at = |name: &str| dir.path().join("node").join(name);
    fs::write(at("node.key"), "00").unwrap();
    assert!(matches!(folder.identity().unwrap_err(), FolderError::Key { .. }));
    fs::write(at("share.key"), "not hexadecimal").unwrap();
    assert!(matches!(folder.share().unwrap_err(), FolderError::Key { .. }));
    fs::write(at("node.json"), "{}").unwrap();
    assert!(matches!(folder.config().unwrap_err(), FolderError::Config { .. }));
    fs::write(at("network.json"), "{}").unwrap();
    assert!(matches!(folder.network().unwrap_err(), FolderError::Network { .. }));
    fs::remove_file(at("node.json")).unwrap();
    assert!(matches!(folder.config().unwrap_err(), FolderError::Io { .. }));
}

#[test]
fn networks_are_refused() {
    let text = plan().create().unwrap().network.to_json();
    assert!(matches!(Network::from_json("{}").unwrap_err(), NetworkError::Json(_)));
    let newer = text.replace("\"version\": 1", "\"version\": 2");
    assert!(matches!(Network::from_json(&newer).unwrap_err(), NetworkError::Version { found: 2 }));
    let epoch = text.find("0x").unwrap();
    let damaged = format!("{}0x00{}", &text[..epoch], &text[epoch + 4..]);
    let damaged = damaged.replacen("0x00", "0xff", 1);
    assert!(matches!(Network::from_json(&damaged).unwrap_err(), NetworkError::Key(KeyError::Epoch)));
    let parameter = text.replace("\"parameters\": {", "\"parameters\": { \"no_such\": \"0x1\",");
    assert_ne!(parameter, text);
    assert!(matches!(Network::from_json(&parameter).unwrap_err(), NetworkError::Genesis(_)));
}

#[test]
fn keys_are_refused() {
    let address: SocketAddr = ([127, 0, 0, 1], 1).into();
    let key = |seed: u8| Identity::from_seed([seed; 32]).public_key();
    assert_eq!(deal(&[]).unwrap_err(), KeyError::NoValidators);
    // No point of the curve has this y-coordinate.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert_eq!(deal(&[(no_point, address)]).unwrap_err(), KeyError::PublicKey);
    assert_eq!(deal(&[(key(1), address), (key(1), address)]).unwrap_err(), KeyError::Twice);
    let many: Vec<_> = (0..129).map(|i| (key(i), address)).collect();
    assert_eq!(deal(&many).unwrap_err(), KeyError::TooManyValidators { count: 129 });
    assert_eq!(FirstEpoch::decode(&[1, 2, 3]).unwrap_err(), KeyError::Epoch);
    let dealt = deal(&[(key(1), address), (key(2), address)]).unwrap();
    let share = |of: u8| dealt.shares[&key(of)].as_slice();
    assert_eq!(dealt.epoch.check_share(&Identity::from_seed([1; 32]), share(1)), Ok(()));
    let foreign = dealt.epoch.check_share(&Identity::from_seed([1; 32]), share(2));
    assert_eq!(foreign, Err(KeyError::ForeignShare));
    let damaged = dealt.epoch.check_share(&Identity::from_seed([1; 32]), &share(1)[1..]);
    assert_eq!(damaged, Err(KeyError::Share));
}

/// Whoever sends a network file decides what a node does with it: nearly good ones are refused, or name their network.
#[test]
fn network_files_of_strangers() {
    let text = plan().create().unwrap().network.to_json();
    let mut mutator = veracity_testkit::Mutator::new(11, &[text.into_bytes()]);
    let mut read = 0;
    for _ in 0..2000 {
        let Ok(changed) = String::from_utf8(mutator.next_input()) else { continue };
        let Ok(network) = Network::from_json(&changed) else { continue };
        let again = Network::from_json(&network.to_json()).unwrap();
        assert_eq!((again.hash(), again.key()), (network.hash(), network.key()));
        read += 1;
    }
    assert!(read > 0, "white space may change");
    // The first epoch, which is binary, alone.
    let epoch = plan().create().unwrap().network.epoch().encode();
    let mut mutator = veracity_testkit::Mutator::new(12, std::slice::from_ref(&epoch));
    for _ in 0..20_000 {
        let bytes = mutator.next_input();
        if let Ok(read) = FirstEpoch::decode(&bytes) {
            assert_eq!(read.encode(), bytes, "a second encoding");
        }
    }
}
