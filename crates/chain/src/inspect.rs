//! Traces: executing a transaction again and noting what it does, in the formats of geth's `debug_trace*`.
//!
//! A trace may be thousands of times longer than its transaction, so its size is limited: one that would be longer is
//! refused, never cut.

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_evm::{Evm as _, ToTxEnv as _};
use alloy_primitives::B256;
use alloy_rpc_types_trace::geth::{
    GethDebugBuiltInTracerType as Tracer, GethDebugTracerType, GethDebugTracingOptions, GethTrace,
};
use revm::{
    DatabaseCommit as _, context::TxEnv, context_interface::result::EVMError, database::State as Cache,
};
use revm_inspectors::tracing::{DebugInspector, TraceLimitBehavior, TraceLimits, TransactionContext};

use crate::{
    BlockContext, Call, CallError, Executor, State,
    call::{CallCache, Machine, Prepared, machine, refusal},
    execute::environment,
};

/// Most steps that a trace of instructions lists.
pub const TRACE_STEPS_MAX: u64 = 100_000;
/// Most bytes of inputs, memory and the like that a trace copies.
pub const TRACE_BYTES_MAX: usize = 64 << 20;

/// Why there is no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The tracer is not known, or not offered.
    #[error(
        "tracer {name} is not supported: use callTracer, prestateTracer, flatCallTracer, 4byteTracer, noopTracer, or none \
         for a list of instructions"
    )]
    Tracer {
        /// Its name.
        name: String,
    },
    /// The tracer does not understand its configuration.
    #[error("invalid tracerConfig: see the tracer's documentation in geth")]
    Config,
    /// More instructions than a trace may list.
    #[error(
        "the trace has more than {steps_max} steps: use callTracer, or set limit to see the first ones only"
    )]
    Steps {
        /// The limit.
        steps_max: u64,
    },
    /// More bytes than a trace may copy.
    #[error("the trace copies more than {bytes_max} bytes: do not enable memory, or use another tracer")]
    Bytes {
        /// The limit.
        bytes_max: usize,
    },
    /// There is no such transaction in the block.
    #[error("the block has {count} transactions, there is none with index {index}")]
    Index {
        /// The index that was asked for.
        index: usize,
        /// Number of transactions.
        count: usize,
    },
    /// The call cannot be executed at all.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Which transactions of a block to trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// All.
    Block,
    /// The one with this index.
    Transaction(usize),
}

/// Executes the block `at` with these `transactions` again, on the state of its parent, and traces those that are asked
/// for. `hash` is the block's.
///
/// # Errors
/// A [`TraceError`] that says what to ask for instead.
///
/// # Panics
/// If the block is invalid.
pub fn trace_block(
    parent: &State,
    at: &BlockContext,
    hash: B256,
    transactions: &[Recovered<TxEnvelope>],
    which: Traced,
    options: &GethDebugTracingOptions,
) -> Result<Vec<GethTrace>, TraceError> {
    let count = transactions.len();
    let end = match which {
        Traced::Block => count,
        Traced::Transaction(index) if index < count => index + 1,
        Traced::Transaction(index) => return Err(TraceError::Index { index, count }),
    };
    // An empty block does what is done before transactions.
    let before = Executor::new(parent, at).finish().state;
    let cache = Cache::builder().with_database_ref(before).build();
    let mut vm = machine(cache, environment(at), inspector(options)?);
    let mut traces = vec![];
    for (index, transaction) in transactions[..end].iter().enumerate() {
        let is_traced = which == Traced::Block || which == Traced::Transaction(index);
        vm.set_inspector_enabled(is_traced);
        let fields: TxEnv = transaction.to_tx_env();
        let context = TransactionContext {
            block_hash: Some(hash),
            tx_index: Some(index),
            tx_hash: Some(*transaction.tx_hash()),
        };
        let ran = vm.transact_raw(fields.clone()).map_err(failure)?;
        if is_traced {
            traces.push(result(&mut vm, Some(context), &fields, &ran, options)?);
        }
        vm.db_mut().commit(ran.state);
    }
    Ok(traces)
}

/// Executes `call` on the state after the block `at`, and traces it.
///
/// # Errors
/// A [`TraceError`] that says what to ask for instead.
pub fn trace_call(
    state: &State,
    at: &BlockContext,
    call: &Call,
    options: &GethDebugTracingOptions,
) -> Result<GethTrace, TraceError> {
    let prepared = Prepared::new(state, at, call)?;
    let mut vm = machine(prepared.cache, prepared.environment, inspector(options)?);
    let ran = vm.transact_raw(prepared.transaction.clone()).map_err(failure)?;
    result(&mut vm, None, &prepared.transaction, &ran, options)
}

type Vm = Machine<CallCache, DebugInspector>;
type Ran = revm::context_interface::result::ResultAndState;

/// The trace of what has just been run; the inspector is ready for the next transaction.
fn result(
    vm: &mut Vm,
    context: Option<TransactionContext>,
    transaction: &TxEnv,
    ran: &Ran,
    options: &GethDebugTracingOptions,
) -> Result<GethTrace, TraceError> {
    let block = vm.block().clone();
    let (db, inspector, _) = vm.components_mut();
    let trace =
        inspector.get_result(context, transaction, &block, ran, db).map_err(|_| TraceError::Config)?;
    inspector.fuse().map_err(|_| TraceError::Config)?;
    if let GethTrace::Default(frame) = &trace
        && options.config.limit.is_none_or(|limit| limit == 0 || limit > TRACE_STEPS_MAX)
        && u64::try_from(frame.struct_logs.len()).is_ok_and(|steps| steps > TRACE_STEPS_MAX)
    {
        return Err(TraceError::Steps { steps_max: TRACE_STEPS_MAX });
    }
    Ok(trace)
}

fn inspector(options: &GethDebugTracingOptions) -> Result<DebugInspector, TraceError> {
    check_tracer(options)?;
    let mut options = options.clone();
    // One more than may be listed, so that it is seen that there are more.
    let limit = options.config.limit.filter(|limit| *limit > 0);
    options.config.limit = Some(limit.unwrap_or(u64::MAX).min(TRACE_STEPS_MAX + 1));
    let inspector = DebugInspector::new(options).map_err(|_| TraceError::Config)?;
    let limits = TraceLimits::default()
        .set_max_recorded_bytes(Some(TRACE_BYTES_MAX))
        .set_behavior(TraceLimitBehavior::Halt);
    Ok(match inspector {
        DebugInspector::CallTracer(tracing, config) => {
            DebugInspector::CallTracer(tracing.with_limits(limits), config)
        }
        DebugInspector::PreStateTracer(tracing, config) => {
            DebugInspector::PreStateTracer(tracing.with_limits(limits), config)
        }
        DebugInspector::FlatCallTracer(tracing) => {
            DebugInspector::FlatCallTracer(tracing.with_limits(limits))
        }
        DebugInspector::Default(tracing, config) => {
            DebugInspector::Default(tracing.with_limits(limits), config)
        }
        small => small,
    })
}

/// Refuses tracers whose size cannot be limited, and programs.
fn check_tracer(options: &GethDebugTracingOptions) -> Result<(), TraceError> {
    let name = match &options.tracer {
        None => return Ok(()),
        Some(GethDebugTracerType::BuiltInTracer(
            Tracer::CallTracer
            | Tracer::PreStateTracer
            | Tracer::FlatCallTracer
            | Tracer::FourByteTracer
            | Tracer::NoopTracer,
        )) => return Ok(()),
        Some(tracer) => tracer.as_str(),
    };
    if name.is_empty() { Ok(()) } else { Err(TraceError::Tracer { name: name.chars().take(64).collect() }) }
}

fn failure(
    error: EVMError<revm::database_interface::bal::EvmDatabaseError<std::convert::Infallible>>,
) -> TraceError {
    match error {
        // What an inspector stops an execution with.
        EVMError::Custom(_) => TraceError::Bytes { bytes_max: TRACE_BYTES_MAX },
        error => TraceError::Call(refusal(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_is_not_in_the_block_is_refused() {
        let at = BlockContext::of(&alloy_consensus::Header::default(), 1);
        let which = Traced::Transaction(2);
        let options = GethDebugTracingOptions::default();
        let error = trace_block(&State::default(), &at, B256::ZERO, &[], which, &options).unwrap_err();
        assert_eq!(error.to_string(), "the block has 0 transactions, there is none with index 2");
    }
}
