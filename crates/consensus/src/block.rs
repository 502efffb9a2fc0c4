//! Blocks as consensus sees them: an Ethereum block, and a section beside it that the header commits to.

use std::{fmt, hash::Hash, num::NonZeroU32, ops::Deref, sync::Arc};

use alloy_consensus::{BlockBody, Header, TxEnvelope, proofs::calculate_transaction_root};
use alloy_primitives::B256;
use alloy_rlp::{Decodable as _, Encodable as _};
use bytes::{Buf as _, BufMut};
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error as CodecError, FixedSize, MaxEncodeSize as _, RangeCfg, Read,
    ReadExt as _, Write,
};
use commonware_consensus::{
    Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable,
    simplex::{scheme::bls12381_threshold::vrf, types::Context as SimplexContext},
    types::{Epoch, Height, Round, View},
};
use commonware_cryptography::{
    Digest as DigestTrait, Digestible, Hasher as _, Sha256,
    bls12381::primitives::{
        sharing::ModeVersion,
        variant::{MinSig, Variant},
    },
    ed25519, sha256,
};
use commonware_glue::dkg::{
    ReshareBlock,
    network::Addresses,
    types::{EpochInfo as GlueEpochInfo, Payload as GluePayload},
};
use commonware_math::algebra::Random;
use commonware_storage::{mmr::Location, qmdb::sync::Target};
use commonware_utils::{
    range::NonEmptyRange,
    sequence::{Array, Span},
};
use rand_core::CryptoRng;

/// Identity of a node: an Ed25519 key.
pub type PublicKey = ed25519::PublicKey;
/// What consensus knows of a block besides its payload: its round, leader and parent.
pub type Context = SimplexContext<Digest, PublicKey>;
/// What an epoch begins with: committee, next committees, addresses, and the public part of the threshold key.
pub type EpochInfo = GlueEpochInfo<MinSig, PublicKey, Addresses<PublicKey>>;
/// Message of key resharing that a block carries.
pub type Payload = GluePayload<MinSig, PublicKey, Addresses<PublicKey>>;
/// Where the durable state is after a block: root and range of its log of operations.
pub type SyncTarget = Target<commonware_storage::mmr::Family, sha256::Digest>;
/// Key of a network: a point of G2, 96 bytes.
pub type NetworkKey = <MinSig as Variant>::Public;
type Signature = <MinSig as Variant>::Signature;

/// Most validators of an epoch.
pub const VALIDATORS_MAX: NonZeroU32 = NonZeroU32::new(128).expect("not zero");
/// Most bytes of an Ethereum block (RLP).
pub const BLOCK_BYTES_MAX: usize = 4 << 20;
/// How shares are assigned to validators.
pub const SHARING: ModeVersion = ModeVersion::v0();
const SECTION_DOMAIN: &str = "veracity consensus section v1";

/// Hash of a block: that of its Ethereum header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub B256);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Write for Digest {
    fn write(&self, out: &mut impl BufMut) {
        self.0.0.write(out);
    }
}

impl Read for Digest {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        Ok(Self(B256::new(<[u8; 32]>::read(from)?)))
    }
}

impl FixedSize for Digest {
    const SIZE: usize = 32;
}

impl Random for Digest {
    fn random(mut rng: impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(B256::new(bytes))
    }
}

impl Span for Digest {}
impl Array for Digest {}

impl DigestTrait for Digest {
    const EMPTY: Self = Self(B256::ZERO);
}

/// The threshold signature over a round, which gives its random value.
pub type Seed = vrf::Seed<MinSig>;

/// The random value of a round: SHA-256 of the network's signature over it.
#[must_use]
pub fn random_value(seed: &Seed) -> B256 {
    B256::from_slice(&Sha256::hash(&[&seed.signature.encode()]))
}

/// What consensus adds to an Ethereum block. The header's `extraData` is its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Section {
    /// Round, leader and parent.
    pub context: Context,
    /// The durable state after the block.
    pub target: SyncTarget,
    /// Random value of the parent's round; none if the parent is the genesis block.
    pub seed: Option<Seed>,
    /// A message of key resharing.
    pub payload: Option<Payload>,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, target, seed, payload } = self;
        f.debug_struct("Section")
            .field("context", context)
            .field("target", target)
            .field("seed", seed)
            .field("has_payload", &payload.is_some())
            .finish()
    }
}

impl Section {
    /// Hash of the section: BLAKE3 with the domain `veracity consensus section v1`.
    #[must_use]
    pub fn hash(&self) -> B256 {
        B256::new(blake3::derive_key(SECTION_DOMAIN, &self.encode()))
    }

    fn bytes_max() -> usize {
        let target = sha256::Digest::SIZE + NonEmptyRange::<Location>::MAX_ENCODE_SIZE;
        let seed = 1 + Round::MAX_ENCODE_SIZE + Signature::SIZE;
        Context::MAX_ENCODE_SIZE + target + seed + 1 + Payload::max_encode_size(VALIDATORS_MAX)
    }
}

impl Write for Section {
    fn write(&self, out: &mut impl BufMut) {
        self.context.write(out);
        self.target.root.write(out);
        self.target.range.write(out);
        self.seed.write(out);
        self.payload.write(out);
    }
}

impl EncodeSize for Section {
    fn encode_size(&self) -> usize {
        let target = self.target.root.encode_size() + self.target.range.encode_size();
        self.context.encode_size() + target + self.seed.encode_size() + self.payload.encode_size()
    }
}

impl Read for Section {
    type Cfg = ();

    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        Ok(Self {
            context: Context::read(from)?,
            target: Target::new(sha256::Digest::read(from)?, NonEmptyRange::read(from)?),
            seed: Option::<Seed>::read(from)?,
            payload: Option::<Payload>::read_cfg(from, &(VALIDATORS_MAX, SHARING))?,
        })
    }
}

/// A block: what is executed, and the section that consensus adds. Copies are cheap.
///
/// A decoded block is one whose hash covers all of it: the header commits to the transactions and to the section.
#[derive(Clone)]
pub struct Block(Arc<Inner>);

struct Inner {
    execution: Arc<veracity_chain::Block>,
    section: Section,
    digest: Digest,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("hash", &self.0.digest)
            .field("section", &self.0.section)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for Block {}

impl Block {
    /// A block whose header already commits to `section`.
    pub(crate) fn new(execution: veracity_chain::Block, section: Section) -> Self {
        debug_assert_eq!(execution.header.extra_data.as_ref(), section.hash().as_slice());
        let digest = Digest(execution.hash());
        Self(Arc::new(Inner { execution: Arc::new(execution), section, digest }))
    }

    /// The first block, with the epoch that the chain begins with. `execution` is the genesis block of the chain, whose
    /// `extraData` is replaced.
    #[must_use]
    pub fn genesis(mut execution: veracity_chain::Block, info: EpochInfo) -> Self {
        let leader = info.output.players().iter().next().expect("an epoch has validators").clone();
        let section = Section {
            context: Context {
                round: Round::new(Epoch::zero(), View::zero()),
                leader,
                parent: (View::zero(), Digest::EMPTY),
            },
            target: crate::database::empty_target(),
            seed: None,
            payload: Some(Payload::EpochInfo(info)),
        };
        execution.header.extra_data = section.hash().into();
        Self::new(execution, section)
    }

    /// The Ethereum block.
    #[must_use]
    pub fn execution(&self) -> &Arc<veracity_chain::Block> {
        &self.0.execution
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.0.execution.header
    }

    /// What consensus adds.
    #[must_use]
    pub fn section(&self) -> &Section {
        &self.0.section
    }

    /// The epoch that begins with, or after, this block, if the block says so.
    #[must_use]
    pub fn epoch_info(&self) -> Option<&EpochInfo> {
        match &self.0.section.payload {
            Some(Payload::EpochInfo(info)) => Some(info),
            _ => None,
        }
    }
}

fn rlp(block: &veracity_chain::Block) -> Vec<u8> {
    let body = BlockBody { transactions: block.transactions.clone(), ommers: vec![], withdrawals: None };
    let mut out = vec![];
    alloy_consensus::Block::new(block.header.clone(), body).encode(&mut out);
    out
}

impl Write for Block {
    fn write(&self, out: &mut impl BufMut) {
        rlp(&self.0.execution).as_slice().write(out);
        self.0.section.write(out);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        rlp(&self.0.execution).as_slice().encode_size() + self.0.section.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    /// Decodes a block and checks that its header commits to the rest: whoever asked for a block by hash gets that block
    /// or nothing.
    fn read_cfg(from: &mut impl Buf, (): &()) -> Result<Self, CodecError> {
        let bytes = bytes::Bytes::read_cfg(from, &RangeCfg::new(..=BLOCK_BYTES_MAX))?;
        let section = Section::read(from)?;
        let mut rest = bytes.as_ref();
        let block = alloy_consensus::Block::<TxEnvelope>::decode(&mut rest)
            .map_err(|_| CodecError::Invalid("Block", "RLP"))?;
        let alloy_consensus::Block { header, body } = block;
        let execution = veracity_chain::Block { header, transactions: body.transactions };
        if rest.has_remaining() || !body.ommers.is_empty() || body.withdrawals.is_some() {
            return Err(CodecError::Invalid("Block", "more than header and transactions"));
        }
        if execution.header.extra_data.as_ref() != section.hash().as_slice() {
            return Err(CodecError::Invalid("Block", "extraData is not the hash of the section"));
        }
        if execution.header.transactions_root != calculate_transaction_root(&execution.transactions) {
            return Err(CodecError::Invalid("Block", "transactionsRoot"));
        }
        // One block has one encoding.
        if rlp(&execution) != bytes {
            return Err(CodecError::Invalid("Block", "not the canonical RLP"));
        }
        Ok(Self::new(execution, section))
    }
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        self.0.digest
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.header().number)
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> Digest {
        Digest(self.header().parent_hash)
    }
}

impl CertifiableBlock for Block {
    type Context = Context;

    fn context(&self) -> Context {
        self.0.section.context.clone()
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        BLOCK_BYTES_MAX + 5 + Section::bytes_max()
    }
}

impl ReshareBlock for Block {
    type Variant = MinSig;
    type PublicKey = PublicKey;
    type Directory = Addresses<PublicKey>;

    fn payload(&self) -> Option<Payload> {
        self.0.section.payload.clone()
    }
}
