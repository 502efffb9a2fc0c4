//! Compose the roles of a node.

mod folder;
mod follow;
mod network;
mod node;
mod pool;
mod record;
mod upstream;

pub use folder::{Folder, FolderError, FollowerConfig, NodeConfig};
pub use network::{
    Created, DEV_MNEMONIC, DEV_PROVIDERS, DevAccount, DevPlan, Founder, Network, NetworkError, dev_accounts,
    dev_operators, dev_provider, faucet_account,
};
pub use node::{FollowerOptions, Node, NodeError, NodeOptions};
