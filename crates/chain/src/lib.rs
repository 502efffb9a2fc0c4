//! Apply a block: Ethereum transactions, system contracts, state, fees.

mod artifacts;
mod block;
mod call;
mod error;
mod execute;
mod genesis;
mod inspect;
mod parameters;
mod pool;
mod precompiles;
mod state;
mod system;
mod trie;

pub use block::{
    Block, Builder, Choice, EXTRA_DATA_BYTES_MAX, check_block, cost_max, next_base_fee, next_gas_limit,
};
pub use call::{
    Call, CallEnd, CallError, CallOutcome, HaltReason, access_list, call, check_transaction, estimate_gas,
};
pub use error::{BlockError, GenesisError, NoContract, PoolError, RegisterError, TransactionError};
pub use execute::{BlockContext, Executed, Executor, SPEC};
pub use genesis::{Genesis, GenesisBlock, GenesisNode, genesis_block, genesis_changes};
pub use inspect::{TRACE_BYTES_MAX, TRACE_STEPS_MAX, TraceError, Traced, trace_block, trace_call};
pub use parameters::{PARAMETERS, Parameter};
pub use pool::{Accepted, Best, Pool, PoolLimits};
pub use precompiles::ED25519;
pub use state::{Account, AccountValues, Change, State, UnknownCode, slot_hash};
pub use system::{
    BINDING_NAMESPACE, MODELS, RANDOMNESS, RECEIPTS, Role, STAKE, SYSTEM, System, Validator, binding,
    binding_message,
};
pub use trie::{Leaf, Trie};
