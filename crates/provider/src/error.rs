use alloy_primitives::{Address, B256, U256};
use veracity_client::{ClientError, ver};
use veracity_light::{CertificateError, EvidenceError, VerifyError};
use veracity_store::{ReceiptLogError, SequenceError, StoreError};

/// Why receipts were not anchored, or evidence was not kept. Whatever it is, nothing is lost: the next tick goes on where
/// this one stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The executor is no node of the network.
    #[error("executor {executor} is not registered on this network: register it with the role WORKER")]
    NotRegistered {
        /// The executor.
        executor: B256,
    },
    /// The executor belongs to another account.
    #[error(
        "executor {executor} belongs to operator {operator}, not to {account}: use the operator's key, or remove the \
         executor key to become a new executor"
    )]
    OtherOperator {
        /// The executor.
        executor: B256,
        /// Its operator.
        operator: Address,
        /// The account that was given.
        account: Address,
    },
    /// The executor is no worker with enough bond.
    #[error("executor {executor} is no bonded worker: take the role WORKER, and bond what its roles need")]
    NotBonded {
        /// The executor.
        executor: B256,
    },
    /// More is anchored than this node has signed.
    #[error(
        "{anchored} receipts of this executor are anchored, but this folder has issued {issued}: another copy of the \
         executor key is in use, or the folder was restored from a backup. Stop, and remove the executor key to become a \
         new executor"
    )]
    Behind {
        /// Sequences below are anchored.
        anchored: u64,
        /// Sequences below are issued here.
        issued: u64,
    },
    /// Other receipts are anchored than those that this node has signed.
    #[error(
        "batch {batch} of this executor holds other receipts than this folder: another copy of the executor key is in \
         use. Stop, and remove the executor key to become a new executor"
    )]
    OtherReceipts {
        /// The batch.
        batch: u64,
    },
    /// What was sent is in no block yet.
    #[error(
        "transaction {hash} waits for a block: check with `veracity status` that the network makes blocks"
    )]
    Waiting {
        /// The transaction.
        hash: B256,
    },
    /// A batch was anchored meanwhile, again and again.
    #[error(
        "another process anchors receipts of this executor at the same time: run one for each executor key"
    )]
    Contended,
    /// The node does not show the transaction that anchored a batch.
    #[error(
        "the node does not show what anchored batch {batch} in block {height}: ask one that has all blocks"
    )]
    NotShown {
        /// The batch.
        batch: u64,
        /// Height of its block.
        height: u64,
    },
    /// What the node gave is no certificate.
    #[error("the node gave no certificate for batch {batch}: {source}; ask another node")]
    Certificate {
        /// The batch.
        batch: u64,
        /// What is wrong.
        source: CertificateError,
    },
    /// What the node gave is too large, or none.
    #[error("the node gave no evidence for batch {batch}: {source}; ask another node")]
    Evidence {
        /// The batch.
        batch: u64,
        /// What is wrong.
        source: EvidenceError,
    },
    /// The network key refutes what the node gave.
    #[error(
        "the node's evidence for batch {batch} does not hold: {source}; check the network key, or ask another node"
    )]
    Refuted {
        /// The batch.
        batch: u64,
        /// The first check that fails.
        source: VerifyError,
    },
    /// The node or a contract did not do what it was asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The sequences cannot be read.
    #[error(transparent)]
    Sequences(#[from] SequenceError),
    /// The evidence cannot be kept.
    #[error(transparent)]
    Keep(#[from] ReceiptLogError),
}

impl From<StoreError> for AnchorError {
    fn from(error: StoreError) -> Self {
        Self::Keep(error.into())
    }
}

/// Why a provider could not be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The executor belongs to another account.
    #[error(
        "executor {executor} belongs to operator {operator}, not to {account}: use the operator's key, or remove the \
         executor key to become a new executor"
    )]
    OtherOperator {
        /// The executor.
        executor: B256,
        /// Its operator.
        operator: Address,
        /// The account that was given.
        account: Address,
    },
    /// The account cannot pay the bond.
    #[error(
        "account {account} has {} VER, the bond for these roles takes {} VER and gas: send it money",
        ver(*balance), ver(*bond)
    )]
    TooPoor {
        /// The account.
        account: Address,
        /// Its money, in wei.
        balance: U256,
        /// What has to be bonded, in wei.
        bond: U256,
    },
    /// The node or the contract did not do what it was asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}
