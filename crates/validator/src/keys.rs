//! Keys of nodes, and the first shares of a network's key.

use std::{collections::BTreeMap, net::SocketAddr};

use alloy_primitives::Address;
use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_consensus::types::Epoch;
use commonware_cryptography::{
    Signer as _,
    bls12381::{
        dkg::feldman_desmedt,
        primitives::{
            group::Share,
            sharing::{Mode, ModeVersion},
            variant::MinSig,
        },
    },
    ed25519,
};
use commonware_glue::dkg::types::{EpochInfo as EpochInfoOf, EpochOutcome};
use commonware_p2p::Address as PeerAddress;
use commonware_utils::{
    N3f1,
    ordered::{Map, Set},
};
use veracity_chain::{BINDING_NAMESPACE, binding};
use veracity_consensus::{EpochInfo, NetworkKey, PublicKey, VALIDATORS_MAX};

/// Why bytes are no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// They are no Ed25519 public key.
    #[error("not the public key of a node: it must be an Ed25519 point, 32 bytes")]
    PublicKey,
    /// They are no share of a network's key.
    #[error("not a share of a network's key")]
    Share,
    /// They are no description of a first epoch.
    #[error("not the description of a network's first epoch")]
    Epoch,
    /// The share is for another validator or another network.
    #[error("the share belongs to another validator or another network")]
    ForeignShare,
    /// There is no validator.
    #[error("a network needs a validator")]
    NoValidators,
    /// There are more validators than an epoch may have.
    #[error("a network has at most {VALIDATORS_MAX} validators, not {count}")]
    TooManyValidators {
        /// How many were given.
        count: usize,
    },
    /// A validator is named twice.
    #[error("a validator is named twice")]
    Twice,
}

/// The key that names a node, an Ed25519 key pair.
#[derive(Clone)]
pub struct Identity(ed25519::PrivateKey);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.0.public_key()).finish()
    }
}

impl Identity {
    /// The key with this seed (RFC 8032, section 5.1.5).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519::PrivateKey::decode(Copying(&seed)).expect("every seed is a key"))
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        bytes_of(&self.0.public_key())
    }

    /// Signs a message in a namespace.
    #[must_use]
    pub fn sign(&self, namespace: &[u8], message: &[u8]) -> [u8; 64] {
        let signature = self.0.sign(namespace, message).encode();
        signature.as_ref().try_into().expect("a signature has 64 bytes")
    }

    /// The proof by which `operator` may register the node on this chain (`docs/spec/contracts.md`, section 3).
    #[must_use]
    pub fn bind_operator(&self, chain_id: u64, operator: Address) -> [u8; 64] {
        self.sign(BINDING_NAMESPACE, &binding(chain_id, operator))
    }

    /// The key, as the library has it.
    #[must_use]
    pub fn signer(&self) -> &ed25519::PrivateKey {
        &self.0
    }
}

pub(crate) fn bytes_of(key: &PublicKey) -> [u8; 32] {
    key.as_ref().try_into().expect("a key has 32 bytes")
}

pub(crate) fn public_key(bytes: &[u8; 32]) -> Result<PublicKey, KeyError> {
    PublicKey::decode(Copying(bytes)).map_err(|_| KeyError::PublicKey)
}

/// What a network begins with: its first validators, and the public part of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstEpoch(pub(crate) EpochInfo);

impl FirstEpoch {
    /// Reads [`FirstEpoch::encode`].
    ///
    /// # Errors
    /// [`KeyError::Epoch`].
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let info = EpochInfo::decode_cfg(Copying(bytes), &(VALIDATORS_MAX, ModeVersion::v0()));
        info.map(Self).map_err(|_| KeyError::Epoch)
    }

    /// The encoding that the genesis block commits to.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.0.encode().to_vec()
    }

    /// The key that certificates of the network verify against: a point of G2, compressed.
    #[must_use]
    pub fn network_key(&self) -> [u8; 96] {
        let key: &NetworkKey = self.0.output.public().public();
        key.encode().as_ref().try_into().expect("a point of G2 has 96 bytes")
    }

    /// The validators.
    #[must_use]
    pub fn validators(&self) -> Vec<[u8; 32]> {
        self.0.output.players().iter().map(bytes_of).collect()
    }

    /// The epoch, as consensus knows it.
    #[must_use]
    pub fn info(&self) -> &EpochInfo {
        &self.0
    }

    /// Checks that a share is this validator's.
    ///
    /// # Errors
    /// [`KeyError::Share`], [`KeyError::ForeignShare`].
    pub fn check_share(&self, validator: &Identity, bytes: &[u8]) -> Result<(), KeyError> {
        self.share(validator, bytes).map(drop)
    }

    /// Reads a share, and checks that it is this validator's.
    pub(crate) fn share(&self, validator: &Identity, bytes: &[u8]) -> Result<Share, KeyError> {
        let share = Share::decode(Copying(bytes)).map_err(|_| KeyError::Share)?;
        let public =
            self.0.output.public().partial_public(share.index).map_err(|_| KeyError::ForeignShare)?;
        let place = self.0.output.players().iter().position(|key| *key == validator.0.public_key());
        let is_ours = place == usize::try_from(share.index.get()).ok();
        if !is_ours || public != share.public::<MinSig>() {
            return Err(KeyError::ForeignShare);
        }
        Ok(share)
    }
}

/// The first shares of a network's key.
#[derive(Debug, Clone)]
pub struct Dealt {
    /// What the network begins with.
    pub epoch: FirstEpoch,
    /// The share of each validator, by its public key.
    pub shares: BTreeMap<[u8; 32], Vec<u8>>,
}

/// Deals the shares of a new network's key.
///
/// Whoever runs this knows the key for a moment: it is for networks whose validators are all run by one party, such as
/// those for development. Resharing keeps the key, so the trust stays.
///
/// # Errors
/// [`KeyError`] if the validators cannot form a network.
pub fn deal(validators: &[([u8; 32], SocketAddr)]) -> Result<Dealt, KeyError> {
    if validators.is_empty() {
        return Err(KeyError::NoValidators);
    }
    if validators.len() > usize::try_from(VALIDATORS_MAX.get()).unwrap_or(usize::MAX) {
        return Err(KeyError::TooManyValidators { count: validators.len() });
    }
    let addresses: Result<Vec<_>, KeyError> = validators
        .iter()
        .map(|(key, address)| Ok((public_key(key)?, PeerAddress::Symmetric(*address))))
        .collect();
    let addresses: Map<PublicKey, PeerAddress> = addresses?.try_into().map_err(|_| KeyError::Twice)?;
    let players: Set<PublicKey> = addresses.keys().clone();
    let dealt = feldman_desmedt::deal::<_, _, N3f1>(rand::rng(), Mode::NonZeroCounter, players.clone());
    let (output, shares) = dealt.expect("there are validators, and each is named once");
    let info = EpochInfoOf {
        outcome: EpochOutcome::Success,
        epoch: Epoch::zero(),
        output,
        players: players.clone(),
        next_players: players,
        directory: addresses.into(),
    };
    let shares = shares.iter_pairs().map(|(key, share)| (bytes_of(key), share.encode().to_vec())).collect();
    Ok(Dealt { epoch: FirstEpoch(info), shares })
}
