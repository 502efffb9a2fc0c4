//! Compose the roles of a node.

mod folder;
mod follow;
mod found;
mod network;
mod node;
mod plan;
mod pool;
mod record;
mod upstream;

pub use folder::{Folder, FolderError, FollowerConfig, NodeConfig};
pub use found::{FoundError, FoundOptions, Founding};
pub use network::{
    Created, DEV_MNEMONIC, DEV_PROVIDERS, DevAccount, DevPlan, Founder, Network, NetworkError, dev_accounts,
    dev_operators, dev_provider, faucet_account,
};
pub use node::{FollowerOptions, Node, NodeError, NodeOptions};
pub use plan::{FounderError, FounderFile, Plan, PlanDraft, PlanError, faulty_max};
pub use veracity_ceremony::{Failed, Progress, Step};
pub use veracity_validator::{Contact, ContactError};
