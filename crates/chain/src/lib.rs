//! Apply a block: Ethereum transactions, system contracts, state, fees.

mod block;
mod error;
mod execute;
mod genesis;
mod pool;
mod state;
mod trie;

pub use block::{Block, Builder, Choice, EXTRA_DATA_BYTES_MAX, check_block, cost_max, next_base_fee};
pub use error::{BlockError, PoolError, TransactionError};
pub use execute::{BlockContext, Executed, Executor, SPEC};
pub use genesis::{genesis_block, genesis_changes};
pub use pool::{Accepted, Best, Pool, PoolLimits};
pub use state::{Account, AccountValues, Change, State, UnknownCode, slot_hash};
pub use trie::{Leaf, Trie};
