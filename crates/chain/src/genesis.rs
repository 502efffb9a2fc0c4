//! The first block and its state (docs/spec/contracts.md, sections 8 and 9).

use std::collections::{BTreeMap, BTreeSet};

use alloy_consensus::Header;
use alloy_eips::{
    eip1559::INITIAL_BASE_FEE,
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
};
use alloy_evm::Evm as _;
use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B256, Bytes, FixedBytes, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall as _, SolInterface as _};
use revm::{
    Database as _, DatabaseCommit as _,
    context::TxEnv,
    context_interface::result::{ExecutionResult, ResultAndState},
    state::Bytecode,
};
use serde::{Deserialize, Serialize};

use crate::{
    AccountValues, Block, BlockContext, Change, EXTRA_DATA_BYTES_MAX, GenesisError, PARAMETERS, Parameter,
    RegisterError, Role, STAKE, State, TransactionError, artifacts,
    block::empty_header,
    execute::{Vm, cached_vm, changes},
    parameters::GENESIS_VALIDATORS_MAX_SLOT,
    slot_hash,
    system::{abi::Stake, mask},
};

/// All that block 0 of a chain with system contracts is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Genesis {
    /// Chain id, time, gas limit and balances, as in Ethereum.
    pub ethereum: alloy_genesis::Genesis,
    /// Parameters that begin with another value than [`Parameter::genesis`].
    pub parameters: BTreeMap<Parameter, u128>,
    /// The first nodes, in the order of their registration. Their operators pay the bonds from the balances.
    pub nodes: Vec<GenesisNode>,
}

/// A node that is registered in block 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisNode {
    /// Its Ed25519 key.
    pub node_id: B256,
    /// Who speaks for it and owns its bond.
    pub operator: Address,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Where it is reached: at most 256 graphic ASCII characters, or nothing.
    #[serde(default)]
    pub endpoint: String,
    /// In wei, paid from the operator's balance.
    pub bond: U256,
    /// Signature of the node's key over [`binding_message`](crate::binding_message) for this chain and operator.
    pub proof: FixedBytes<64>,
}

/// Block 0 and what it does.
#[derive(Debug, Clone)]
pub struct GenesisBlock {
    /// The block, which has no transactions.
    pub block: Block,
    /// Its state.
    pub state: State,
    /// Makes the state from nothing.
    pub changes: Vec<Change>,
}

/// What a genesis file says beside what geth knows, under `config.veracity`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Extension {
    parameters: BTreeMap<String, U256>,
    nodes: Vec<GenesisNode>,
}

/// Gas of each call that genesis makes, and of the block that it sees.
const CALL_GAS: u64 = 1 << 24;

const EXTENSION: &str = "veracity";

impl Genesis {
    /// Reads a genesis file: geth's format, with parameters and nodes under `config.veracity` (docs/spec/chain.md,
    /// section 4).
    ///
    /// # Errors
    /// [`GenesisError::Json`], [`GenesisError::UnknownParameter`], and [`GenesisError::OutOfRange`] for values above
    /// 2^128. Everything else shows in [`Self::build`].
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        let mut ethereum: alloy_genesis::Genesis = serde_json::from_str(text)?;
        let extension = ethereum.config.extra_fields.remove(EXTENSION);
        let Extension { parameters, nodes } =
            extension.map(serde_json::from_value).transpose()?.unwrap_or_default();
        let parameter = |(name, value): (String, U256)| {
            let Some(parameter) = Parameter::from_name(&name) else {
                return Err(GenesisError::UnknownParameter { name });
            };
            let value = u128::try_from(value).map_err(|_| out_of_range(parameter, value))?;
            Ok((parameter, value))
        };
        let parameters = parameters.into_iter().map(parameter).collect::<Result<_, _>>()?;
        Ok(Self { ethereum, parameters, nodes })
    }

    /// The genesis file that [`Self::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        let parameters = self.parameters.iter().map(|(p, value)| (p.name().to_owned(), U256::from(*value)));
        let extension = Extension { parameters: parameters.collect(), nodes: self.nodes.clone() };
        let mut file = self.ethereum.clone();
        let added = file.config.extra_fields.insert_value(EXTENSION.to_owned(), extension);
        added.and_then(|()| serde_json::to_string_pretty(&file)).expect("all keys are strings")
    }

    /// The chain that signatures are for.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.ethereum.config.chain_id
    }

    /// Makes block 0 and its state.
    ///
    /// # Errors
    /// A [`GenesisError`] naming the first rule that is broken.
    pub fn build(&self) -> Result<GenesisBlock, GenesisError> {
        self.check()?;
        let mut changes = genesis_changes(&self.ethereum);
        let mut state = State::default();
        changes.extend(alloc_changes(&self.contracts()));
        state.apply(&changes).expect("accounts bring their code");
        let called = self.calls(&state)?;
        state.apply(&called).expect("accounts bring their code");
        changes.extend(called);
        Ok(GenesisBlock { block: genesis_block(&self.ethereum, &state), state, changes })
    }

    fn check(&self) -> Result<(), GenesisError> {
        let Self { ethereum, .. } = self;
        if let Some(found) = ethereum.number.filter(|number| *number != 0) {
            return Err(GenesisError::Number { found });
        }
        let (found, gas_limit_min) = (ethereum.gas_limit, Parameter::GasLimitTarget.range().0);
        if u128::from(found) < gas_limit_min {
            return Err(GenesisError::GasLimit { found, gas_limit_min });
        }
        let length = ethereum.extra_data.len();
        if length > EXTRA_DATA_BYTES_MAX {
            return Err(GenesisError::ExtraData { length });
        }
        let own = [Address::ZERO, artifacts::permit2().address];
        if let Some(address) =
            self.contracts().into_keys().chain(own).find(|a| ethereum.alloc.contains_key(a))
        {
            return Err(GenesisError::Reserved { address });
        }
        let is_damaged = |account: &GenesisAccount| {
            account.code.as_ref().is_some_and(|code| Bytecode::new_raw_checked(code.clone()).is_err())
        };
        if let Some((address, _)) = ethereum.alloc.iter().find(|(_, account)| is_damaged(account)) {
            return Err(GenesisError::Code { address: *address });
        }
        let is_bare = |account: &GenesisAccount| {
            let has_code = account.code.as_ref().is_some_and(|code| !code.is_empty());
            let has_storage = account.storage.as_ref().is_some_and(|slots| !slots.is_empty());
            has_storage && !has_code && account.nonce.unwrap_or_default() == 0
        };
        if let Some((address, _)) = ethereum.alloc.iter().find(|(_, account)| is_bare(account)) {
            return Err(GenesisError::Storage { address: *address });
        }
        self.check_parameters()
    }

    /// The rules of docs/spec/contracts.md, section 4, which no later change can break.
    fn check_parameters(&self) -> Result<(), GenesisError> {
        for parameter in Parameter::ALL {
            let (value, (min, max)) = (self.parameter(*parameter), parameter.range());
            if !(min..=max).contains(&value) {
                return Err(out_of_range(*parameter, U256::from(value)));
            }
        }
        let [epoch_blocks, validators_max, heartbeat_ms, delay_s] = [
            Parameter::EpochBlocks,
            Parameter::ValidatorsMax,
            Parameter::HeartbeatMs,
            Parameter::UnbondDelayS,
        ]
        .map(|parameter| self.parameter(parameter));
        let needed = 8 * validators_max;
        if epoch_blocks < needed {
            return Err(GenesisError::EpochTooShort { needed, found: epoch_blocks });
        }
        let needed = (4 * epoch_blocks * heartbeat_ms).div_ceil(1000);
        if delay_s < needed {
            return Err(GenesisError::UnbondDelayTooShort { needed, found: delay_s });
        }
        Ok(())
    }

    fn parameter(&self, parameter: Parameter) -> u128 {
        self.parameters.get(&parameter).copied().unwrap_or(parameter.genesis())
    }

    /// Accounts that genesis makes without a call.
    fn contracts(&self) -> BTreeMap<Address, GenesisAccount> {
        let mut codes = artifacts::codes();
        codes.push((HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE.clone()));
        let account = |code| GenesisAccount::default().with_nonce(Some(1)).with_code(Some(code));
        let mut accounts: BTreeMap<_, _> =
            codes.into_iter().map(|(address, code)| (address, account(code))).collect();
        let word = |parameter: &Parameter| {
            (B256::from(parameter.slot()), B256::from(U256::from(self.parameter(*parameter))))
        };
        if let Some(contract) = accounts.get_mut(&PARAMETERS) {
            let (_, validators_max) = word(&Parameter::ValidatorsMax);
            let first = (B256::from(GENESIS_VALIDATORS_MAX_SLOT), validators_max);
            contract.storage = Some(Parameter::ALL.iter().map(word).chain([first]).collect());
        }
        accounts
    }

    /// What the calls of genesis change: they make Permit2 and register the nodes.
    fn calls(&self, state: &State) -> Result<Vec<Change>, GenesisError> {
        let at = BlockContext {
            chain_id: self.chain_id(),
            number: 0,
            timestamp: self.ethereum.timestamp,
            beneficiary: Address::ZERO,
            gas_limit: CALL_GAS,
            base_fee: 0,
            random: B256::ZERO,
            parent: B256::ZERO,
        };
        let mut vm = cached_vm(state.clone(), &at);
        make_permit2(&mut vm);
        for (index, node) in self.nodes.iter().enumerate() {
            register(&mut vm, node).map_err(|source| GenesisError::Node {
                index,
                node_id: node.node_id,
                source,
            })?;
        }
        Ok(changes(vm))
    }
}

fn out_of_range(parameter: Parameter, value: U256) -> GenesisError {
    let (min, max) = parameter.range();
    GenesisError::OutOfRange { name: parameter.name(), value, min, max }
}

/// A call that is no transaction: gas costs nothing, and the sender's nonce stays.
fn call(
    vm: &mut Vm,
    from: Address,
    to: Address,
    value: U256,
    data: Bytes,
) -> Result<ResultAndState, TransactionError> {
    let sender = vm.db_mut().basic(from).expect("the state is in memory");
    let nonce = sender.map_or(0, |account| account.nonce);
    let (kind, chain_id) = (TxKind::Call(to), Some(vm.chain_id()));
    let call =
        TxEnv { caller: from, kind, value, data, nonce, chain_id, gas_limit: CALL_GAS, ..TxEnv::default() };
    let mut answer = vm.transact_raw(call).map_err(TransactionError::from_vm)?;
    if let Some(sender) = answer.state.get_mut(&from) {
        sender.info.nonce = nonce;
    }
    Ok(answer)
}

/// Permit2 holds chain id and domain separator in its code, so its own init code makes it, through the CREATE2 deployer.
fn make_permit2(vm: &mut Vm) {
    let permit2 = artifacts::permit2();
    let input = [permit2.salt.as_slice(), &permit2.init_code].concat().into();
    let answer = call(vm, Address::ZERO, permit2.deployer, U256::ZERO, input);
    let answer = answer.expect("the zero address has no code");
    let made = answer.state.get(&permit2.address).and_then(|account| account.info.code.clone());
    let mut template = made.map(|code| code.original_bytes().to_vec()).unwrap_or_default();
    for place in &permit2.immutables {
        if let Some(rest) = template.get_mut(place.offset..) {
            rest.iter_mut().take(32).for_each(|byte| *byte = 0);
        }
    }
    assert_eq!(keccak256(template), permit2.runtime_template_hash, "Permit2 is not what its init code makes");
    vm.db_mut().commit(answer.state);
}

fn register(vm: &mut Vm, node: &GenesisNode) -> Result<(), RegisterError> {
    let function = Stake::registerCall {
        nodeId: node.node_id,
        roles: mask(node.roles.iter().copied()),
        endpoint: node.endpoint.clone(),
        proof: Bytes::copy_from_slice(node.proof.as_slice()),
    };
    let input = function.abi_encode().into();
    let answer = call(vm, node.operator, STAKE, node.bond, input)?;
    match answer.result {
        ExecutionResult::Success { .. } => {
            vm.db_mut().commit(answer.state);
            Ok(())
        }
        ExecutionResult::Revert { output, .. } => {
            let error = Stake::StakeErrors::abi_decode(&output);
            Err(error
                .unwrap_or_else(|_| panic!("Stake refuses for a reason that is not its own: {output}"))
                .into())
        }
        ExecutionResult::Halt { reason, .. } => panic!("Stake halts: {reason:?}"),
    }
}

/// Changes that make the state of a genesis file of geth from nothing, without system contracts.
#[must_use]
pub fn genesis_changes(genesis: &alloy_genesis::Genesis) -> Vec<Change> {
    alloc_changes(&genesis.alloc)
}

fn alloc_changes(alloc: &BTreeMap<Address, GenesisAccount>) -> Vec<Change> {
    let mut changes = vec![];
    for (address, account) in alloc {
        let at = keccak256(address);
        let code = account.code.clone().unwrap_or_default();
        let code_hash = keccak256(&code);
        if !code.is_empty() {
            changes.push(Change::Code(code_hash, code));
        }
        let (nonce, balance) = (account.nonce.unwrap_or_default(), account.balance);
        changes.push(Change::Account(at, Some(AccountValues { nonce, balance, code_hash })));
        let slots = account.storage.iter().flatten().filter(|(_, value)| !value.is_zero());
        changes.extend(slots.map(|(slot, value)| {
            Change::Slot(at, slot_hash(U256::from_be_bytes(slot.0)), U256::from_be_bytes(value.0))
        }));
    }
    changes
}

/// Block 0 with `state`, which [`genesis_changes`] make.
#[must_use]
pub fn genesis_block(genesis: &alloy_genesis::Genesis, state: &State) -> Block {
    let base_fee = genesis.base_fee_per_gas.and_then(|fee| u64::try_from(fee).ok());
    let header = Header {
        number: genesis.number.unwrap_or_default(),
        timestamp: genesis.timestamp,
        gas_limit: genesis.gas_limit,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        beneficiary: genesis.coinbase,
        state_root: state.root(),
        base_fee_per_gas: Some(base_fee.unwrap_or(INITIAL_BASE_FEE)),
        ..empty_header()
    };
    Block { header, transactions: vec![] }
}
