//! Execution of the transactions of one block.

use alloy_consensus::{
    Header, ReceiptEnvelope, Transaction, TxEnvelope, TxReceipt, Typed2718, transaction::Recovered,
};
use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_evm::{EthEvm, Evm as _, EvmEnv, eth::EthEvmBuilder, precompiles::PrecompilesMap};
use alloy_primitives::{Address, B256, U256, keccak256};
use revm::{
    DatabaseCommit as _,
    context::{BlockEnv, CfgEnv},
    database::{State as Cache, WrapDatabaseRef, states::bundle_state::BundleRetention},
    inspector::NoOpInspector,
    primitives::hardfork::SpecId,
};

use crate::{Change, State, TransactionError, precompiles::precompiles, state, system};

/// The rules of the virtual machine.
pub const SPEC: SpecId = SpecId::OSAKA;

/// What transactions see of the block that they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockContext {
    /// Chain that signatures are for.
    pub chain_id: u64,
    /// Height.
    pub number: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Who receives the tips.
    pub beneficiary: Address,
    /// Most gas that all transactions use together.
    pub gas_limit: u64,
    /// Wei per gas that is burnt.
    pub base_fee: u64,
    /// Random value of the parent, which is also `PREVRANDAO`; see [`Choice::random`](crate::Choice::random).
    pub random: B256,
    /// Hash of the parent.
    pub parent: B256,
}

impl BlockContext {
    /// The context of the block of `header`.
    #[must_use]
    pub fn of(header: &Header, chain_id: u64) -> Self {
        Self {
            chain_id,
            number: header.number,
            timestamp: header.timestamp,
            beneficiary: header.beneficiary,
            gas_limit: header.gas_limit,
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            random: header.mix_hash,
            parent: header.parent_hash,
        }
    }
}

/// What a block does.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The state after it.
    pub state: State,
    /// The difference to its parent's.
    pub changes: Vec<Change>,
    /// Who sent each transaction.
    pub senders: Vec<Address>,
    /// One per transaction.
    pub receipts: Vec<ReceiptEnvelope>,
    /// Gas that all transactions used.
    pub gas_used: u64,
}

/// A virtual machine on a state that it does not change; what it does is in its cache.
pub(crate) type Vm = EthEvm<Cached, NoOpInspector, PrecompilesMap>;
type Cached = Cache<WrapDatabaseRef<State>>;

/// Executes one transaction after the other.
#[expect(missing_debug_implementations, reason = "the virtual machine has none")]
pub struct Executor {
    vm: Vm,
    parent: State,
    first: Vec<Change>,
    gas_limit: u64,
    gas_used: u64,
    senders: Vec<Address>,
    receipts: Vec<ReceiptEnvelope>,
}

impl Executor {
    /// Begins a block on the state of its parent.
    #[must_use]
    pub fn new(parent: &State, at: &BlockContext) -> Self {
        let mut before = parent.clone();
        let first = [remember_parent(at), system::remember_random(parent, at)].concat();
        before.apply(&first).expect("no code is needed");
        Self { first, ..Self::with_rules(SPEC, before, at) }
    }

    /// Begins a block by the rules of any fork, without what this chain does before the first transaction: for
    /// comparing execution with what others say of it.
    #[must_use]
    pub fn with_rules(spec: SpecId, state: State, at: &BlockContext) -> Self {
        Self {
            vm: machine(spec, state.clone(), at),
            parent: state,
            first: vec![],
            gas_limit: at.gas_limit,
            gas_used: 0,
            senders: vec![],
            receipts: vec![],
        }
    }

    /// Gas that is left for transactions.
    #[must_use]
    pub fn gas_left(&self) -> u64 {
        self.gas_limit - self.gas_used
    }

    /// Executes a transaction; a refused one changes nothing.
    ///
    /// # Errors
    /// A [`TransactionError`] if the block may not contain it here.
    pub fn transact(
        &mut self,
        transaction: &Recovered<TxEnvelope>,
    ) -> Result<&ReceiptEnvelope, TransactionError> {
        if transaction.is_eip4844() {
            return Err(TransactionError::Blob);
        }
        let (needed, left) = (transaction.gas_limit(), self.gas_left());
        if needed > left {
            return Err(TransactionError::Gas { needed, left });
        }
        let result = self.vm.transact(transaction).map_err(TransactionError::from_vm)?;
        self.vm.db_mut().commit(result.state);
        self.gas_used += result.result.tx_gas_used();
        let receipt = alloy_consensus::Receipt {
            status: result.result.is_success().into(),
            cumulative_gas_used: self.gas_used,
            logs: result.result.into_logs(),
        };
        self.senders.push(transaction.signer());
        self.receipts.push(ReceiptEnvelope::from_typed(transaction.tx_type(), receipt.into_with_bloom()));
        Ok(self.receipts.last().expect("one was pushed"))
    }

    /// Ends the block.
    #[must_use]
    pub fn finish(self) -> Executed {
        let changes = [self.first, changes(self.vm)].concat();
        let mut state = self.parent;
        state.apply(&changes).expect("changes bring their code");
        Executed { state, changes, senders: self.senders, receipts: self.receipts, gas_used: self.gas_used }
    }
}

/// A virtual machine on `state` in the block `at`.
pub(crate) fn cached_vm(state: State, at: &BlockContext) -> Vm {
    machine(SPEC, state, at)
}

fn machine(spec: SpecId, state: State, at: &BlockContext) -> Vm {
    let cache = Cache::builder().with_database_ref(state).with_bundle_update().build();
    EthEvmBuilder::new(cache, rules(spec, at)).precompiles(precompiles(spec)).build()
}

/// What was committed in a virtual machine.
pub(crate) fn changes(vm: Vm) -> Vec<Change> {
    let mut cache = vm.into_db();
    cache.merge_transitions(BundleRetention::PlainState);
    state::changes(&cache.take_bundle())
}

/// The parent's hash goes into the history contract, which `BLOCKHASH` reads too (EIP-2935; a direct change of the slot,
/// as the EIP allows).
fn remember_parent(at: &BlockContext) -> Vec<Change> {
    let Some(parent) = at.number.checked_sub(1) else { return vec![] };
    let slot = state::slot_hash(state::history_slot(parent));
    vec![Change::Slot(keccak256(HISTORY_STORAGE_ADDRESS), slot, U256::from_be_bytes(at.parent.0))]
}

pub(crate) fn environment(at: &BlockContext) -> EvmEnv {
    rules(SPEC, at)
}

fn rules(spec: SpecId, at: &BlockContext) -> EvmEnv {
    let mut cfg_env = CfgEnv::new_with_spec(spec);
    cfg_env.chain_id = at.chain_id;
    // Proofs are verified within one transaction, which may need more than the cap of EIP-7825.
    cfg_env.tx_gas_limit_cap = Some(at.gas_limit);
    let block_env = BlockEnv {
        number: U256::from(at.number),
        beneficiary: at.beneficiary,
        timestamp: U256::from(at.timestamp),
        gas_limit: at.gas_limit,
        basefee: at.base_fee,
        prevrandao: Some(at.random),
        ..BlockEnv::default()
    };
    EvmEnv { cfg_env, block_env }
}
