//! Finality certificates and seeds (specification, section 3).

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{
    BlockHash, CertificateError, NetworkKey, SignatureError,
    bls::{decode_signature, hash_to_curve},
};

/// Namespace of the application: everything that its validators sign begins with it.
pub const NAMESPACE: &str = "veracity";
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 48;

const FINALIZE: &[u8] = b"veracity_FINALIZE";
const SEED: &[u8] = b"veracity_SEED";

/// A step of consensus: views are counted anew in each epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round {
    /// Epoch.
    pub epoch: u64,
    /// View.
    pub view: u64,
}

/// For example `epoch 2, view 130`.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}, view {}", self.epoch, self.view)
    }
}

/// What validators vote on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Round of the vote.
    pub round: Round,
    /// View of the block below.
    pub parent_view: u64,
    /// The block.
    pub payload: BlockHash,
}

/// A certificate that a block is final, and the seed of its round. The block is believed only after
/// [`Finalization::verify`], the seed only after [`Seed::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finalization {
    /// What is final.
    pub proposal: Proposal,
    /// The validators' signature over the proposal.
    pub vote_signature: [u8; SIGNATURE_BYTES],
    /// Their signature over the round.
    pub seed_signature: [u8; SIGNATURE_BYTES],
}

/// The random value of a round, before it is hashed. Believed only after [`Seed::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The round.
    pub round: Round,
    /// The validators' signature over it, of which there is only one.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Finalization {
    /// Reads a certificate. No signature is looked at.
    ///
    /// # Errors
    /// [`CertificateError`] unless the bytes are the one encoding of a certificate.
    pub fn decode(bytes: &[u8]) -> Result<Self, CertificateError> {
        let mut reader = Reader { rest: bytes };
        let round = Round { epoch: reader.varint()?, view: reader.varint()? };
        let parent_view = reader.varint()?;
        let payload = BlockHash::from_bytes(reader.array()?);
        let proposal = Proposal { round, parent_view, payload };
        let decoded = Self { proposal, vote_signature: reader.array()?, seed_signature: reader.array()? };
        match reader.rest.len() {
            0 => Ok(decoded),
            n_bytes => Err(CertificateError::TrailingBytes { n_bytes }),
        }
    }

    /// The bytes: what Commonware's codec makes of a `Finalization`. At most 158.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&self.proposal.encode(), self.vote_signature.as_slice(), self.seed_signature.as_slice()].concat()
    }

    /// Checks the validators' votes, which make the block final. Two pairings, some milliseconds. The seed is not looked at:
    /// it says nothing about the block, and has a check of its own, [`Seed::verify`].
    ///
    /// # Errors
    /// [`SignatureError::VotePoint`] if the signature is no point, [`SignatureError::Vote`] if it is not the validators'.
    pub fn verify(&self, key: &NetworkKey) -> Result<(), SignatureError> {
        let round = self.proposal.round;
        let point = decode_signature(&self.vote_signature).ok_or(SignatureError::VotePoint { round })?;
        match hash_to_curve(FINALIZE, &self.proposal.encode()) {
            Some(hash) if key.verify(hash, point) => Ok(()),
            _ => Err(SignatureError::Vote { round }),
        }
    }

    /// The seed that the certificate carries. Believed only after [`Seed::verify`].
    #[must_use]
    pub fn seed(&self) -> Seed {
        Seed { round: self.proposal.round, signature: self.seed_signature }
    }
}

impl Seed {
    /// Checks the signature. Two pairings.
    ///
    /// # Errors
    /// [`SignatureError::SeedPoint`] if it is no point, [`SignatureError::Seed`] if it is not the validators'.
    pub fn verify(&self, key: &NetworkKey) -> Result<(), SignatureError> {
        let round = self.round;
        let point = decode_signature(&self.signature).ok_or(SignatureError::SeedPoint { round })?;
        match hash_to_curve(SEED, &round.encode()) {
            Some(hash) if key.verify(hash, point) => Ok(()),
            _ => Err(SignatureError::Seed { round }),
        }
    }

    /// The random value of the round, which contracts see (`docs/spec/contracts.md`, section 7).
    #[must_use]
    pub fn value(&self) -> [u8; 32] {
        Sha256::digest(self.signature).into()
    }
}

impl Round {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_varint(&mut bytes, self.epoch);
        write_varint(&mut bytes, self.view);
        bytes
    }
}

impl Proposal {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.round.encode();
        write_varint(&mut bytes, self.parent_view);
        bytes.extend(self.payload.as_bytes());
        bytes
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return bytes.push(low & 0x7f);
        }
        bytes.push(low | 0x80);
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CertificateError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(CertificateError::Truncated { needed: N, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*array)
    }

    /// Seven bits a byte, the lowest first; the last byte is not zero unless it is the only one.
    fn varint(&mut self) -> Result<u64, CertificateError> {
        let mut value = 0;
        for shift in (0..64_u32).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift).filter(|v| v.checked_shr(shift) == Some(bits));
            let Some(shifted) = shifted.filter(|_| byte != 0 || shift == 0) else {
                return Err(CertificateError::Varint);
            };
            value |= shifted;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(CertificateError::Varint)
    }
}
