//! Compose the roles of a node.

mod folder;
mod network;
mod node;
mod pool;
mod record;

pub use folder::{Folder, FolderError, NodeConfig};
pub use network::{
    Created, DEV_MNEMONIC, DEV_PROVIDERS, DevAccount, DevPlan, Founder, Network, NetworkError, dev_accounts,
    dev_operators, dev_provider, faucet_account,
};
pub use node::{Node, NodeError, NodeOptions};
pub use veracity_validator::{Contact, ContactError};
