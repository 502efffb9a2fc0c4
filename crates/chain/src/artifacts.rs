//! Code of the contracts that genesis makes, as `contracts/` compiles or derives it.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes};
use serde::Deserialize;

/// A contract that genesis puts at its address.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contract {
    address: Address,
    runtime_code: Bytes,
}

/// Permit2, which a call makes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Permit2 {
    pub(crate) address: Address,
    /// Contract that makes it.
    pub(crate) deployer: Address,
    pub(crate) salt: B256,
    pub(crate) init_code: Bytes,
    /// Where its code holds words that differ between chains.
    pub(crate) immutables: Vec<Immutable>,
    /// Hash of its code with zeros there.
    pub(crate) runtime_template_hash: B256,
}

#[derive(Deserialize)]
pub(crate) struct Immutable {
    pub(crate) offset: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predeploys {
    create2_deployer: Contract,
    multicall3: Contract,
    permit2: Permit2,
}

macro_rules! artifact {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!("../../../contracts/artifacts/", $name, ".json")))
            .expect("the artifact is complete")
    };
}

static CONTRACTS: LazyLock<[Contract; 5]> = LazyLock::new(|| {
    [
        artifact!("Stake"),
        artifact!("Parameters"),
        artifact!("Models"),
        artifact!("Receipts"),
        artifact!("Randomness"),
    ]
});

static PREDEPLOYS: LazyLock<Predeploys> = LazyLock::new(|| artifact!("predeploys"));

/// Address and code of what genesis puts into the state without a call.
pub(crate) fn codes() -> Vec<(Address, Bytes)> {
    let predeploys = [&PREDEPLOYS.create2_deployer, &PREDEPLOYS.multicall3];
    let contracts = CONTRACTS.iter().chain(predeploys);
    contracts.map(|contract| (contract.address, contract.runtime_code.clone())).collect()
}

pub(crate) fn permit2() -> &'static Permit2 {
    &PREDEPLOYS.permit2
}
