//! Calls: executing a transaction that nobody signed, to see what it would do.
//!
//! A call sees the state after a block and that block's header (number, timestamp, and so on), as in `eth_call` of geth:
//! neither nonce nor signature are checked, the sender may have code, and a call that offers no gas price pays none and
//! sees a base fee of zero. One that offers a price must be able to pay.

use std::convert::Infallible;

use alloy_consensus::{TxEnvelope, Typed2718 as _, transaction::Recovered};
use alloy_eips::eip2930::AccessList;
use alloy_evm::{
    Database, EthEvm, EvmEnv, ToTxEnv as _,
    call::caller_gas_allowance,
    eth::{EthEvmBuilder, EthEvmContext},
    overrides::{OverrideBlockHashes as _, apply_state_overrides},
    precompiles::PrecompilesMap,
    rpc::TryIntoTxEnv as _,
};
use alloy_primitives::{Address, Bytes, TxKind};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest, state::StateOverride};
use revm::{
    Context, Database as _, Inspector, MainContext as _,
    context::{CfgEnv, TxEnv},
    context_interface::result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState},
    database::{State as Cache, WrapDatabaseRef},
    database_interface::bal::EvmDatabaseError,
    handler::validation::{validate_initial_tx_gas, validate_tx_env},
    inspector::NoOpInspector,
};
use revm_inspectors::access_list::AccessListInspector;

pub use revm::context_interface::result::HaltReason;

use crate::{
    BlockContext, State,
    execute::{SPEC, environment},
    precompiles::precompiles,
};

/// Gas of a transfer to an account without code: the least of any transaction.
const TRANSFER_GAS: u64 = 21_000;
/// What a call with value hands on, which may be missing when gas is short.
const CALL_STIPEND: u64 = 2_300;
/// An estimate is at most this many thousandths above the least gas that suffices, as in geth.
const ESTIMATE_PERMILLE: u64 = 15;

/// What to execute, and on what.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The transaction. Fields that are absent have the values that geth gives them.
    pub request: TransactionRequest,
    /// Accounts that are to be different.
    pub state: Option<StateOverride>,
    /// Fields of the block that are to be different.
    pub block: Option<BlockOverrides>,
    /// Most gas that it may use; a request for more gets this.
    pub gas_max: u64,
}

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOutcome {
    /// Gas that the sender would pay for.
    pub gas_used: u64,
    /// How it ended.
    pub end: CallEnd,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// Well, with this output: the code, if it made a contract.
    Returned(Bytes),
    /// It was reverted, with this data.
    Reverted(Bytes),
    /// It ran out of gas, or into another fault.
    Halted(HaltReason),
}

/// Why a call has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It carries blobs.
    #[error("blob transactions are not supported: send an EIP-1559 transaction")]
    Blob,
    /// Fields of the request contradict each other.
    #[error("invalid transaction request: {reason}")]
    Request {
        /// Which, and how.
        reason: String,
    },
    /// The accounts that were to be different cannot be so.
    #[error("invalid state override: {reason}")]
    Override {
        /// Which, and why.
        reason: String,
    },
    /// A precompile was to be at another address.
    #[error(
        "invalid state override: movePrecompileToAddress is not supported, override the code of {address}"
    )]
    MovePrecompile {
        /// Where it was to move from.
        address: Address,
    },
    /// No block could contain such a transaction.
    #[error("{}", words(.0))]
    Invalid(InvalidTransaction),
    /// No amount of gas suffices, because the call is reverted.
    #[error("execution reverted")]
    Reverted {
        /// Data of the revert.
        output: Bytes,
    },
    /// No amount of gas suffices, because the call fails.
    #[error("execution failed: {reason:?}")]
    Halted {
        /// Why.
        reason: HaltReason,
    },
    /// More gas would be needed than there may be.
    #[error("gas required exceeds allowance ({gas_max})")]
    Gas {
        /// The least of: gas asked for, gas of a block, gas that the sender can pay, gas that a call may use.
        gas_max: u64,
    },
}

/// A refusal in the words that tools look for.
fn words(error: &InvalidTransaction) -> String {
    use InvalidTransaction as Refusal;
    match error {
        Refusal::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        Refusal::GasPriceLessThanBasefee => {
            "max fee per gas less than block base fee: offer a higher maxFeePerGas or none".into()
        }
        Refusal::PriorityFeeGreaterThanMaxFee => {
            "max priority fee per gas higher than max fee per gas".into()
        }
        Refusal::CallGasCostMoreThanGasLimit { initial_gas: want, gas_limit: have }
        | Refusal::GasFloorMoreThanGasLimit { gas_floor: want, gas_limit: have } => {
            format!("intrinsic gas too low: have {have}, want {want}")
        }
        Refusal::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
        other => other.to_string(),
    }
}

/// Checks what no later block can change: that the gas suffices to begin, that the tip is not above the fee, the size of a
/// contract's code, and so on. A pool that takes others holds them for ever.
///
/// # Errors
/// [`CallError::Blob`], [`CallError::Invalid`].
pub fn check_transaction(transaction: &Recovered<TxEnvelope>) -> Result<(), CallError> {
    if transaction.is_eip4844() {
        return Err(CallError::Blob);
    }
    let mut rules = CfgEnv::new_with_spec(SPEC);
    // The pool knows the chain and its gas limit.
    rules.tx_chain_id_check = false;
    rules.disable_block_gas_limit = true;
    rules.tx_gas_limit_cap = Some(u64::MAX);
    let fields: TxEnv = transaction.to_tx_env();
    let context = Context::mainnet().with_cfg(rules).with_tx(fields.clone());
    validate_tx_env(context, SPEC).map_err(CallError::Invalid)?;
    validate_initial_tx_gas(&fields, SPEC, false, false, u64::MAX, None).map_err(CallError::Invalid)?;
    Ok(())
}

/// Executes `call` on the state after the block `at`.
///
/// # Errors
/// A [`CallError`] if it cannot be executed at all. That it is reverted is an outcome.
pub fn call(state: &State, at: &BlockContext, call: &Call) -> Result<CallOutcome, CallError> {
    let prepared = Prepared::new(state, at, call)?;
    let mut vm = machine(prepared.cache, prepared.environment, NoOpInspector);
    run(&mut vm, prepared.transaction).map(|ran| outcome(ran.result))
}

/// The gas that `call` needs: enough for certain in the state after `at`, and at most 1.5 % more than needed.
///
/// # Errors
/// A [`CallError`]; the call is also one if it fails with any amount of gas.
pub fn estimate_gas(state: &State, at: &BlockContext, call: &Call) -> Result<u64, CallError> {
    let mut prepared = Prepared::new(state, at, call)?;
    if call.request.gas.is_none_or(|gas| gas < TRANSFER_GAS) {
        prepared.transaction.gas_limit =
            prepared.gas_within(prepared.environment.block_env.gas_limit.min(call.gas_max))?;
    }
    let is_transfer = prepared.is_transfer()?;
    let transaction = prepared.transaction;
    let mut vm = machine(prepared.cache, prepared.environment, NoOpInspector);
    let mut with = |gas_limit| run(&mut vm, TxEnv { gas_limit, ..transaction.clone() });
    let gas_max = transaction.gas_limit;
    if is_transfer && gas_max >= TRANSFER_GAS && with(TRANSFER_GAS)?.result.is_success() {
        return Ok(TRANSFER_GAS);
    }
    let first = match with(gas_max) {
        Ok(ran) => ran.result,
        Err(CallError::Invalid(error)) if lacks_gas(&error) => return Err(CallError::Gas { gas_max }),
        Err(error) => return Err(error),
    };
    match &first {
        ExecutionResult::Success { .. } => {}
        ExecutionResult::Revert { output, .. } => {
            return Err(CallError::Reverted { output: output.clone() });
        }
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => {
            return Err(CallError::Gas { gas_max });
        }
        ExecutionResult::Halt { reason, .. } => return Err(CallError::Halted { reason: reason.clone() }),
    }
    let mut suffices = |gas_limit| match with(gas_limit) {
        Ok(ran) => Ok(ran.result.is_success()),
        Err(CallError::Invalid(error)) if lacks_gas(&error) => Ok(false),
        Err(error) => Err(error),
    };
    let (mut low, mut high) = (first.tx_gas_used().saturating_sub(1), gas_max);
    // Most calls need what they used, and what was refunded, and a 64th more where they call another contract.
    let likely = (first.gas().total_gas_spent() + CALL_STIPEND) * 64 / 63;
    if likely < high {
        if suffices(likely)? { high = likely } else { low = likely }
    }
    while low + 1 < high && (high - low) * 1000 > high * ESTIMATE_PERMILLE {
        // Needs are nearer to the lower end.
        let middle = low.midpoint(high).min(low.saturating_mul(2)).max(low + 1);
        if suffices(middle)? { high = middle } else { low = middle }
    }
    Ok(high)
}

/// The accounts and slots that `call` uses, beyond those that any transaction has for free, and what it does with them
/// listed. Listing them makes it begin with less gas, so a call that depends on its gas may use others then.
///
/// # Errors
/// A [`CallError`] if it cannot be executed at all.
pub fn access_list(
    state: &State,
    at: &BlockContext,
    call: &Call,
) -> Result<(AccessList, CallOutcome), CallError> {
    let prepared = Prepared::new(state, at, call)?;
    let inspector = AccessListInspector::new(prepared.transaction.access_list.clone());
    let mut vm = machine(prepared.cache, prepared.environment, inspector);
    run(&mut vm, prepared.transaction)?;
    let list = alloy_evm::Evm::inspector(&vm).access_list();
    let request = TransactionRequest { access_list: Some(list.clone()), ..call.request.clone() };
    let outcome = self::call(state, at, &Call { request, ..call.clone() })?;
    Ok((list, outcome))
}

pub(crate) type CallCache = Cache<WrapDatabaseRef<State>>;
pub(crate) type Machine<D, I> = EthEvm<D, I, PrecompilesMap>;

/// The virtual machine of this chain, watched by `inspector`.
pub(crate) fn machine<D, I>(database: D, environment: EvmEnv, inspector: I) -> Machine<D, I>
where
    D: Database,
    I: Inspector<EthEvmContext<D>>,
{
    EthEvmBuilder::new(database, environment)
        .precompiles(precompiles(SPEC))
        .activate_inspector(inspector)
        .build()
}

/// A call that is ready to run.
pub(crate) struct Prepared {
    pub(crate) cache: CallCache,
    pub(crate) environment: EvmEnv,
    pub(crate) transaction: TxEnv,
    /// The most that the sender may have to pay per gas, which what it has must cover.
    price_max: u128,
}

impl Prepared {
    pub(crate) fn new(state: &State, at: &BlockContext, call: &Call) -> Result<Self, CallError> {
        let request = call.request.clone();
        if request.blob_versioned_hashes.is_some() || request.sidecar.is_some() {
            return Err(CallError::Blob);
        }
        let mut environment = environment(at);
        environment.cfg_env.disable_nonce_check = true;
        environment.cfg_env.disable_eip3607 = true;
        environment.cfg_env.disable_block_gas_limit = true;
        environment.cfg_env.tx_gas_limit_cap = Some(u64::MAX);
        let mut cache = Cache::builder().with_database_ref(state.clone()).build();
        if let Some(overrides) = call.block.clone() {
            cache.apply_block_overrides(overrides, &mut environment.block_env);
        }
        override_state(&mut cache, call.state.clone().unwrap_or_default())?;
        let price = [request.gas_price, request.max_fee_per_gas, request.max_priority_fee_per_gas];
        if price.iter().flatten().all(|price| *price == 0) {
            environment.block_env.basefee = 0;
        }
        let wanted = request.gas;
        let price_max = request.max_fee_per_gas.or(request.gas_price).unwrap_or_default();
        let transaction = request
            .try_into_tx_env(&environment)
            .map_err(|error| CallError::Request { reason: error.to_string() })?;
        let mut prepared = Self { cache, environment, transaction, price_max };
        prepared.transaction.gas_limit = match wanted {
            Some(gas) => gas.min(call.gas_max),
            None => prepared.gas_within(call.gas_max)?,
        };
        Ok(prepared)
    }

    /// At most `gas`, and what the sender can pay if there is a price.
    fn gas_within(&mut self, gas: u64) -> Result<u64, CallError> {
        let gas_price = self.price_max.max(self.transaction.gas_price);
        if gas_price == 0 {
            return Ok(gas);
        }
        let transaction = TxEnv { gas_price, ..self.transaction.clone() };
        match caller_gas_allowance(&mut self.cache, &transaction) {
            Ok(allowance) => Ok(allowance.min(gas)),
            // Executing it says what is missing.
            Err(_) => Ok(gas),
        }
    }

    /// Whether it does nothing but move value to an account without code.
    fn is_transfer(&mut self) -> Result<bool, CallError> {
        let transaction = &self.transaction;
        let TxKind::Call(to) = transaction.kind else { return Ok(false) };
        let is_plain = transaction.data.is_empty()
            && transaction.access_list.0.is_empty()
            && transaction.authorization_list.is_empty();
        let account = self.cache.basic(to).map_err(|error| refusal(EVMError::Database(error)))?;
        Ok(is_plain && account.is_none_or(|account| account.is_empty_code_hash()))
    }
}

fn override_state(cache: &mut CallCache, overrides: StateOverride) -> Result<(), CallError> {
    let moved = overrides.iter().find(|(_, account)| account.move_precompile_to.is_some());
    if let Some((address, _)) = moved {
        return Err(CallError::MovePrecompile { address: *address });
    }
    apply_state_overrides(overrides, cache).map_err(|error| CallError::Override { reason: error.to_string() })
}

fn run<V>(vm: &mut V, transaction: TxEnv) -> Result<ResultAndState, CallError>
where
    V: alloy_evm::Evm<Tx = TxEnv, HaltReason = HaltReason, Error = EVMError<EvmDatabaseError<Infallible>>>,
{
    vm.transact_raw(transaction).map_err(refusal)
}

pub(crate) fn refusal(error: EVMError<EvmDatabaseError<Infallible>>) -> CallError {
    match error {
        EVMError::Transaction(error) => CallError::Invalid(error),
        // As in `TransactionError::from_vm`.
        error => panic!("the virtual machine failed for no fault of the call: {error}"),
    }
}

fn lacks_gas(error: &InvalidTransaction) -> bool {
    matches!(
        error,
        InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
            | InvalidTransaction::GasFloorMoreThanGasLimit { .. }
    )
}

fn outcome(result: ExecutionResult) -> CallOutcome {
    let gas_used = result.tx_gas_used();
    let end = match result {
        ExecutionResult::Success { output, .. } => CallEnd::Returned(output.into_data()),
        ExecutionResult::Revert { output, .. } => CallEnd::Reverted(output),
        ExecutionResult::Halt { reason, .. } => CallEnd::Halted(reason),
    };
    CallOutcome { gas_used, end }
}
