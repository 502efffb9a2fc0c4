//! Read a network's contracts and send them transactions, through the JSON-RPC of a node.
//!
//! [`Rpc`] is the transport: one blocking call over HTTP. [`Chain`] knows the chain it talks to: it reads contracts
//! ([`Chain::read`]), sends transactions of an [`Account`] and waits until they are final ([`Chain::send`]; an
//! [`Outgoing`] one outlasts a node that is away), and offers the system contracts typed: [`Chain::stake`], [`Chain::models`], [`Chain::receipts`], [`Chain::parameter`].
//!
//! Nothing that a node answers is proven here; what must not be believed is checked by `veracity-light`.

#![forbid(unsafe_code)]

mod abi;
mod account;
mod chain;
mod contracts;
mod error;
mod proofs;
mod refusal;
mod refusals;
mod rpc;
mod send;

pub use abi::{Models, Parameters, Receipts, Stake};
pub use account::{Account, KeyError};
pub use chain::{Chain, ver};
pub use contracts::{
    MODELS, ModelsContract, PARAMETERS, Publication, RECEIPTS, ReceiptsContract, RoleSet, STAKE,
    StakeContract,
};
pub use error::ClientError;
pub use proofs::{BlockFinalization, TransactionInclusion};
pub use refusal::Refusal;
pub use rpc::{Rpc, quantity};
pub use send::{Log, Outgoing, Sent};
