//! What can be wrong, one variant per check, in the order of the checks.

use thiserror::Error;

use crate::{BlockHash, CborError, NETWORK_KEY_BYTES, Round};

/// Why something is not a network key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text does not have the digits of a key.
    #[error("a network key has {} hex digits, this text has {found} bytes", 2 * NETWORK_KEY_BYTES)]
    Digits {
        /// Bytes of the text.
        found: usize,
    },
    /// A digit is not one of `0123456789abcdef`.
    #[error("the digits of byte {pair} of the network key are not lower-case hex")]
    Digit {
        /// Which pair of digits.
        pair: usize,
    },
    /// Not as many bytes as a key has.
    #[error("a network key has {NETWORK_KEY_BYTES} bytes, this has {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// The bytes encode no point that can be a key.
    #[error("the network key is not the canonical encoding of a point of G2 of prime order; get it again")]
    Point,
}

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes end early.
    #[error("the certificate needs {needed} bytes more, {left} are left")]
    Truncated {
        /// Bytes of the next field.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// A number is not in its shortest form or has more than 64 bits.
    #[error("a number of the certificate is not in its shortest form or too large")]
    Varint,
    /// Bytes follow the certificate.
    #[error("{n_bytes} bytes follow the certificate")]
    TrailingBytes {
        /// How many.
        n_bytes: usize,
    },
}

/// Why the signatures of a certificate or seed are not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The vote signature encodes no point that can be one.
    #[error("the vote signature of {round} is not the canonical encoding of a point of G1 of prime order")]
    VotePoint {
        /// Round of the certificate.
        round: Round,
    },
    /// The seed signature encodes no point that can be one.
    #[error("the seed signature of {round} is not the canonical encoding of a point of G1 of prime order")]
    SeedPoint {
        /// Round of the seed.
        round: Round,
    },
    /// The vote signature is not the validators' over this proposal.
    #[error("the vote signature of {round} is not that of this network over this block")]
    Vote {
        /// Round of the certificate.
        round: Round,
    },
    /// The seed signature is not the validators' over this round.
    #[error("the seed signature of {round} is not that of this network")]
    Seed {
        /// Round of the seed.
        round: Round,
    },
}

/// Why bytes are not the RLP that belongs there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RlpError {
    /// An item is longer than what is left.
    #[error("the bytes end inside an item")]
    Truncated,
    /// A length, number or path has a shorter encoding.
    #[error("a length, number or path is not in its canonical form")]
    NotCanonical,
    /// An item of the other type stands here.
    #[error("expected {expected}, found the other type")]
    WrongType {
        /// `a string` or `a list`.
        expected: &'static str,
    },
    /// A string of fixed length has another one.
    #[error("a string must have {expected} bytes, it has {found}")]
    WrongLength {
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// A number has more than 64 bits.
    #[error("a number has {n_bytes} bytes, at most 8 are possible")]
    TooLarge {
        /// Its bytes.
        n_bytes: usize,
    },
    /// A node of a trie has neither 2 nor 17 items.
    #[error("a node of a trie has 2 or 17 items, this one has {n_items}")]
    WrongItems {
        /// Items found; at most 255 are counted.
        n_items: u8,
    },
    /// Bytes follow the last item.
    #[error("{n_bytes} bytes follow the last item")]
    TrailingBytes {
        /// How many.
        n_bytes: usize,
    },
}

/// Why a block is not shown to be final.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FinalityError {
    /// The certificate does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A header is malformed.
    #[error("header {position} is malformed: {source}")]
    Header {
        /// Which header of the evidence.
        position: usize,
        /// What is wrong.
        source: RlpError,
    },
    /// A header's parent is not the header before it.
    #[error("header {position} follows {found}, but the one before it is {expected}")]
    BrokenLink {
        /// Which header of the evidence.
        position: usize,
        /// Hash of the one before.
        expected: BlockHash,
        /// Its parent.
        found: BlockHash,
    },
    /// A header's number does not follow that of the one before.
    #[error("header {position} has height {found}, the one before it has {below}")]
    Height {
        /// Which header of the evidence.
        position: usize,
        /// Height of the one before.
        below: u64,
        /// Its own.
        found: u64,
    },
    /// The certificate is for another block than that of the last header.
    #[error("the certificate is for block {expected}, the last header is of {found}")]
    NotCertified {
        /// By the certificate.
        expected: BlockHash,
        /// Of the last header.
        found: BlockHash,
    },
}

/// Why a value is not shown to be in a trie.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrieError {
    /// A node is not the one that its parent, or the root, commits to.
    #[error("node {depth} is not the one that is committed to")]
    Hash {
        /// Depth of the node.
        depth: usize,
    },
    /// A node is malformed.
    #[error("node {depth} is malformed: {source}")]
    Node {
        /// Depth of the node.
        depth: usize,
        /// What is wrong.
        source: RlpError,
    },
    /// The trie has nothing under the key.
    #[error("the path ends at node {depth}: there is no such transaction in the block")]
    Absent {
        /// Depth of the node.
        depth: usize,
    },
    /// The last node is no leaf.
    #[error("{found} nodes do not lead to a leaf")]
    Incomplete {
        /// Nodes of the proof.
        found: usize,
    },
    /// Nodes follow the leaf.
    #[error("the leaf is node {used}, but there are {found} nodes")]
    TrailingNodes {
        /// Nodes that were needed.
        used: usize,
        /// Nodes of the proof.
        found: usize,
    },
}

/// Why a receipt is not shown to be anchored in the block of the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The header of the block is malformed.
    #[error("the header is malformed: {0}")]
    Header(#[source] RlpError),
    /// The block does not commit to the Ethereum receipt.
    #[error("the Ethereum receipt is not in the block: {0}")]
    Trie(#[from] TrieError),
    /// The Ethereum receipt is malformed.
    #[error("the Ethereum receipt is malformed: {0}")]
    Receipt(#[source] RlpError),
    /// The transaction failed, so it anchored nothing.
    #[error("the anchoring transaction was reverted")]
    Reverted,
    /// There is no such log.
    #[error("there is no log {index}, the transaction has {found}")]
    NoLog {
        /// Position in the evidence.
        index: u64,
        /// Logs of the transaction.
        found: u64,
    },
    /// The log is of another contract.
    #[error("the log is not of the contract Receipts but of 0x{}", hex(found))]
    OtherContract {
        /// Address found.
        found: [u8; 20],
    },
    /// The log is another event.
    #[error("the log is not the event Anchored")]
    OtherEvent,
    /// Another executor anchored the batch.
    #[error("the receipt is of executor {}, the batch of {}", hex(expected), hex(found))]
    OtherExecutor {
        /// By the receipt.
        expected: [u8; 32],
        /// By the log.
        found: [u8; 32],
    },
    /// A field of the event is out of range, so the contract did not write it.
    #[error("the field {field} of the event is out of range")]
    Event {
        /// `batch`, `first`, `count` or `data`.
        field: &'static str,
    },
    /// The batch does not have the sequence of the receipt.
    #[error("the receipt has sequence {sequence}, the batch has {count} from {first}")]
    OtherBatch {
        /// By the receipt.
        sequence: u64,
        /// First of the batch.
        first: u64,
        /// Receipts of the batch.
        count: u32,
    },
    /// Another receipt stands at the place of this one.
    #[error(
        "batch {batch} does not have this receipt at place {index}, which is that of sequence {sequence}"
    )]
    NotIncluded {
        /// By the receipt.
        sequence: u64,
        /// Number of the batch.
        batch: u64,
        /// Place in the batch.
        index: u64,
    },
}

/// Why evidence does not show that a receipt is anchored in a final block.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The block is not shown to be final.
    #[error(transparent)]
    Finality(#[from] FinalityError),
    /// The receipt is not shown to be in it.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
}

/// Why bytes or parts are not evidence of version 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// More bytes than any evidence may have.
    #[error("evidence has at most {max} bytes, this has {found}")]
    TooLarge {
        /// [`EVIDENCE_BYTES_MAX`](crate::EVIDENCE_BYTES_MAX).
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// The CBOR is not that of evidence.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another format version.
    #[error("this decoder knows version {expected} of evidence, this has version {found}")]
    Version {
        /// 1.
        expected: u64,
        /// The version found.
        found: u64,
    },
    /// The certificate is malformed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A list has too few or too many entries.
    #[error("the {part} of evidence are {min} to {max}, these are {found}")]
    Count {
        /// `headers`, `nodes` or `path`.
        part: &'static str,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
        /// How many are claimed.
        found: u64,
    },
    /// A header has too many bytes.
    #[error("header {position} has {found} bytes, at most {max} are possible")]
    HeaderTooLarge {
        /// Which header.
        position: usize,
        /// [`HEADER_BYTES_MAX`](crate::HEADER_BYTES_MAX).
        max: usize,
        /// Bytes found.
        found: usize,
    },
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
