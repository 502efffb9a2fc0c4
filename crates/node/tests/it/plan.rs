//! What founders agree on: one plan has one hash, and what is no plan is refused.

use std::net::SocketAddr;

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};
use tempfile::TempDir;
use veracity_chain::Parameter;
use veracity_node::{Folder, FolderError, FounderFile, NodeConfig, Plan, PlanDraft, PlanError};
use veracity_validator::Identity;

const CHAIN_ID: u64 = 7777;

fn address(founder: u8) -> SocketAddr {
    ([203, 0, 113, founder], 30303).into()
}

fn founder(index: u8) -> FounderFile {
    let identity = Identity::from_seed([index; 32]);
    FounderFile::new(&identity, CHAIN_ID, Address::repeat_byte(index), address(index))
}

fn draft(founders: u8) -> PlanDraft {
    PlanDraft {
        chain_id: CHAIN_ID,
        time: 1_700_000_000,
        founders: (1..=founders).map(founder).collect(),
        bond: U256::from(Parameter::BondMinValidatorWei.genesis()),
        allocations: [(Address::repeat_byte(0xaa), U256::from(5))].into(),
        parameters: [(Parameter::HeartbeatMs, 2000)].into(),
        absent_max: 0,
    }
}

#[test]
fn one_plan_has_one_hash() {
    let plan = draft(4).create().unwrap();
    let mut other_order = draft(4);
    other_order.founders.reverse();
    assert_eq!(other_order.create().unwrap().to_json(), plan.to_json());
    let value: Value = serde_json::from_str(&plan.to_json()).unwrap();
    for text in [plan.to_json(), value.to_string(), format!("\n {value:#}\t")] {
        let read = Plan::from_json(&text).unwrap();
        assert_eq!((read.hash(), read.to_json()), (plan.hash(), plan.to_json()));
        assert_eq!(read.addresses(), plan.addresses());
    }
    let changes: [&dyn Fn(&mut PlanDraft); 7] = [
        &|draft| draft.time += 1,
        &|draft| draft.bond += U256::from(1),
        &|draft| draft.absent_max = 1,
        &|draft| *draft.allocations.entry(Address::repeat_byte(0xaa)).or_default() += U256::from(1),
        &|draft| draft.parameters = [(Parameter::HeartbeatMs, 2001)].into(),
        &|draft| drop(draft.founders.pop()),
        &|draft| draft.founders[0].endpoint = address(77).to_string(),
    ];
    let mut hashes = std::collections::BTreeSet::from([plan.hash()]);
    for (place, change) in changes.iter().enumerate() {
        let mut draft = draft(4);
        change(&mut draft);
        assert!(hashes.insert(draft.create().unwrap().hash()), "change {place} counts");
    }
    // Fields that no rule of the chain reads are in the network file, so they count as well.
    let mut odd = value;
    odd["genesis"]["difficulty"] = "0x7".into();
    assert!(hashes.insert(Plan::from_json(&odd.to_string()).unwrap().hash()));
}

#[test]
fn what_is_no_plan_is_refused() {
    #[track_caller]
    fn refused(change: impl FnOnce(&mut PlanDraft), says: &str) {
        let mut draft = draft(4);
        change(&mut draft);
        let error = draft.create().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    for byte in [0, 31, 32, 63] {
        refused(|draft| draft.founders[2].proof[byte] ^= 1, "its proof is not its signature");
    }
    refused(|draft| draft.founders[2].operator = Address::repeat_byte(9), "its proof is not its signature");
    refused(|draft| draft.founders[2].chain_id = 1, "is for chain 1, the plan for chain 7777");
    refused(|draft| draft.founders[2] = founder(1), "registered already");
    refused(|draft| draft.founders.truncate(1), "two founders or more, not 1");
    refused(
        |draft| draft.parameters = [(Parameter::ValidatorsMax, 3)].into(),
        "as many validators as can stand",
    );
    refused(|draft| draft.bond = U256::from(1), "its bond is 1 wei");
    refused(|draft| draft.parameters = [(Parameter::HeartbeatMs, 1)].into(), "heartbeat_ms");
    refused(|draft| draft.absent_max = 2, "of 4 founders at most 1 may be absent, not 2");
    refused(|draft| draft.founders[2].endpoint = address(1).to_string(), "two founders are to be reached at");
    let bad = [
        "",
        "localhost:1",
        "203.0.113.3",
        "203.0.113.3:0",
        "0.0.0.0:5",
        "224.0.0.1:5",
        "[fe80::1%3]:5",
        "[0:0::1]:5",
    ];
    for endpoint in bad {
        refused(|draft| draft.founders[2].endpoint = endpoint.to_owned(), "cannot be reached at");
    }

    let plan: Value = serde_json::from_str(&draft(4).create().unwrap().to_json()).unwrap();
    let change = |path: &str, to: Value| {
        let mut plan = plan.clone();
        *plan.pointer_mut(path).unwrap() = to;
        Plan::from_json(&plan.to_string()).unwrap_err()
    };
    assert!(matches!(change("/version", 2.into()), PlanError::Version { found: 2 }));
    assert!(matches!(change("/absentMax", 2.into()), PlanError::Absent { .. }));
    assert!(matches!(change("/genesis", json!({})), PlanError::Genesis(_)));
    assert!(matches!(change("/genesis/alloc", json!({})), PlanError::Genesis(_)));
    assert!(matches!(change("/genesis/config/veracity/nodes", json!([])), PlanError::TooFew { count: 0 }));
    assert!(matches!(Plan::from_json("{}"), Err(PlanError::Json(_))));
    let more = plan.to_string().replacen('{', r#"{"more":1,"#, 1);
    assert!(matches!(Plan::from_json(&more), Err(PlanError::Json(_))));
}

#[test]
fn a_folder_is_prepared_once() {
    let dir = TempDir::new().unwrap();
    let folder = Folder::new(&dir.path().join("v"));
    let config = NodeConfig {
        listen: address(1),
        rpc: ([127, 0, 0, 1], 0).into(),
        beneficiary: Address::ZERO,
        allow_private: false,
        join: false,
        bootstrap: vec![],
    };
    let made = folder.prepare([1; 32], &config, CHAIN_ID, Address::repeat_byte(1)).unwrap();
    assert_eq!(made, founder(1));
    assert_eq!(folder.founder().unwrap(), made);
    assert_eq!(folder.identity().unwrap().public_key(), made.node_id.0);
    let again = folder.prepare([2; 32], &config, CHAIN_ID, Address::repeat_byte(1));
    assert!(matches!(again, Err(FolderError::Taken { .. })), "{again:?}");
    assert_eq!(FounderFile::from_json(&made.to_json()).unwrap(), made);
    let other = made.to_json().replace("\"version\": 1", "\"version\": 2");
    assert!(FounderFile::from_json(&other).unwrap_err().to_string().contains("version 2"));
}
