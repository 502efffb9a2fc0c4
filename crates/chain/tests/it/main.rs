//! Blocks of the chain against its own rules and against independent computations.

mod anvil;
mod blocks;
mod ed25519;
mod genesis;
mod hostile;
mod pool;
mod support;
mod system;
