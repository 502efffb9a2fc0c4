//! Blocks of the chain against its own rules and against independent computations.

mod anvil;
mod blocks;
mod pool;
mod support;
