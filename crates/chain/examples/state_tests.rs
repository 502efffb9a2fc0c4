//! Runs Ethereum's state tests through the chain's own execution: `state_tests FOLDER...`.
//!
//! A file maps names to tests. A test has a block (`env`), accounts (`pre`), and for each fork (`post`) signed
//! transactions (`txbytes`) with the state root and the hash of the logs that they lead to; see
//! <https://ethereum-tests.readthedocs.io>. Where a test also says which receipts root it expects, that is compared too.
//! Each transaction is decoded, its sender recovered, and executed as one of a block; a refused one must leave the state
//! as it was.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for developers; a damaged test ends it"
)]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
};

use alloy_consensus::{
    TxEnvelope, Typed2718 as _,
    proofs::calculate_receipt_root,
    transaction::{Recovered, SignerRecoverable as _},
};
use alloy_eips::Decodable2718 as _;
use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use revm::primitives::hardfork::SpecId;
use serde_json::Value;
use veracity_chain::{BlockContext, Executor, State, genesis_changes};

/// Forks whose rules can be run here. Those before Shanghai lack what every block of this chain has.
const FORKS: [(&str, SpecId); 3] =
    [("Cancun", SpecId::CANCUN), ("Prague", SpecId::PRAGUE), ("Osaka", SpecId::OSAKA)];

/// How a case ended.
enum Outcome {
    /// As the test says.
    Pass,
    /// In another way.
    Fail(String),
    /// It is about something that this chain does not have.
    Skip(&'static str),
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: BTreeMap<&'static str, usize>,
}

fn main() -> ExitCode {
    let folders: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    assert!(!folders.is_empty(), "name a folder with state tests");
    let mut tallies = BTreeMap::<&str, Tally>::new();
    for path in folders.iter().flat_map(|folder| files(folder)) {
        let text = std::fs::read(&path).unwrap();
        let tests: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap();
        for (name, test) in &tests {
            run(&path, name, test, &mut tallies);
        }
    }
    let mut failed = 0;
    for (fork, Tally { passed, failed: here, skipped }) in &tallies {
        let skips: usize = skipped.values().sum();
        // The closing line of a test run, which CI reads.
        println!("{fork}: {passed} passed, {here} failed, {skips} skipped");
        skipped.iter().for_each(|(reason, count)| println!("  {count} skipped: {reason}"));
        failed += here;
    }
    let passed: usize = tallies.values().map(|tally| tally.passed).sum();
    ExitCode::from(u8::from(failed > 0 || passed == 0))
}

/// JSON files under `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    paths.into_iter().flat_map(below).filter(|path| path.extension().is_some_and(|e| e == "json")).collect()
}

fn run(path: &Path, name: &str, test: &Value, tallies: &mut BTreeMap<&str, Tally>) {
    for (fork, spec) in FORKS {
        for (index, case) in test["post"][fork].as_array().into_iter().flatten().enumerate() {
            let outcome = catch_unwind(AssertUnwindSafe(|| judge(test, case, spec)));
            let tally = tallies.entry(fork).or_default();
            match outcome.unwrap_or_else(|_| Outcome::Fail("it panics".into())) {
                Outcome::Pass => tally.passed += 1,
                Outcome::Skip(reason) => *tally.skipped.entry(reason).or_default() += 1,
                // What creating a contract there does is open (EIP-7610); no chain has such accounts.
                Outcome::Fail(_)
                    if test["pre"].as_object().into_iter().flatten().any(|(_, a)| is_bare(a)) =>
                {
                    *tally
                        .skipped
                        .entry("differs, with storage where there is neither code nor nonce")
                        .or_default() += 1;
                }
                Outcome::Fail(how) => {
                    tally.failed += 1;
                    println!("FAIL {} {name} {fork} {index}: {how}", path.display());
                }
            }
        }
    }
}

fn judge(test: &Value, case: &Value, spec: SpecId) -> Outcome {
    let at = context(&test["env"]);
    let state = state(&test["pre"]);
    let before = state.root();
    let mut executor = Executor::with_rules(spec, state, &at);
    let bytes: Bytes = parse(&case["txbytes"]);
    let refusal = match recovered(&bytes) {
        Ok(transaction) if transaction.is_eip4844() => return Outcome::Skip("transactions with blobs"),
        Ok(transaction) => executor.transact(&transaction).err().map(|error| error.to_string()),
        Err(error) => Some(error),
    };
    let executed = executor.finish();
    if refusal.is_some() && executed.state.root() != before {
        return Outcome::Fail("a refused transaction changes the state".into());
    }
    if let (None, Some(expected)) = (&refusal, case["expectException"].as_str()) {
        return Outcome::Fail(format!("it is accepted, but must be refused: {expected}"));
    }
    let logs: Vec<_> = executed.receipts.iter().flat_map(|receipt| receipt.logs().to_vec()).collect();
    let found = [
        ("hash", executed.state.root()),
        ("logs", keccak256(alloy_rlp::encode(&logs))),
        ("receiptsRoot", calculate_receipt_root(&executed.receipts)),
    ];
    for (field, found) in found {
        if let Some(expected) =
            case[field].as_str().filter(|expected| found != expected.parse::<B256>().unwrap())
        {
            let refusal = refusal.map(|error| format!(" ({error})")).unwrap_or_default();
            return Outcome::Fail(format!("{field} is {found}, not {expected}{refusal}"));
        }
    }
    Outcome::Pass
}

fn recovered(mut bytes: &[u8]) -> Result<Recovered<TxEnvelope>, String> {
    let transaction = TxEnvelope::decode_2718(&mut bytes).map_err(|error| error.to_string())?;
    transaction.try_into_recovered().map_err(|error| error.to_string())
}

fn is_bare(account: &Value) -> bool {
    let has_storage = account["storage"].as_object().is_some_and(|slots| !slots.is_empty());
    has_storage && parse::<Bytes>(&account["code"]).is_empty() && parse::<U256>(&account["nonce"]).is_zero()
}

fn context(env: &Value) -> BlockContext {
    let number = |field: &str| parse::<U256>(&env[field]).to::<u64>();
    BlockContext {
        chain_id: 1,
        number: number("currentNumber"),
        timestamp: number("currentTimestamp"),
        beneficiary: parse(&env["currentCoinbase"]),
        gas_limit: number("currentGasLimit"),
        base_fee: number("currentBaseFee"),
        random: parse(&env["currentRandom"]),
        parent: B256::ZERO,
    }
}

fn state(pre: &Value) -> State {
    let account = |(address, fields): (&String, &Value)| {
        let word = |text: &str| B256::from(U256::from_str(text).unwrap());
        let slots = fields["storage"].as_object().into_iter().flatten();
        let account = GenesisAccount {
            nonce: Some(parse::<U256>(&fields["nonce"]).to()),
            balance: parse(&fields["balance"]),
            code: Some(parse(&fields["code"])),
            storage: Some(slots.map(|(slot, value)| (word(slot), word(value.as_str().unwrap()))).collect()),
            private_key: None,
        };
        (address.parse::<Address>().unwrap(), account)
    };
    let alloc = pre.as_object().unwrap().iter().map(account).collect();
    let mut state = State::default();
    let genesis = alloy_genesis::Genesis { alloc, ..alloy_genesis::Genesis::default() };
    state.apply(&genesis_changes(&genesis)).unwrap();
    state
}

fn parse<T: FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}
