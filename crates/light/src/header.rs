//! Headers of blocks and their chain up to the certified one (specification, section 4).

use crate::{BlockHash, FinalityError, Finalization, NetworkKey, RlpError, Round, rlp::Reader};

/// Largest header, in bytes. Ethereum's have about 650.
pub const HEADER_BYTES_MAX: usize = 2048;

/// A block that the validators finalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalBlock {
    /// Hash of its header.
    pub hash: BlockHash,
    /// Its number.
    pub height: u64,
    /// Its timestamp, Unix seconds.
    pub time: u64,
    /// Height of the block that the certificate is for: this one or a later one.
    pub certified_height: u64,
    /// Round of the certificate.
    pub round: Round,
}

/// What is used of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) parent_hash: BlockHash,
    pub(crate) receipts_root: [u8; 32],
    pub(crate) height: u64,
    pub(crate) time: u64,
}

impl Header {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RlpError> {
        let mut items = Reader::of_list(bytes)?;
        let parent_hash = BlockHash::from_bytes(items.array()?);
        (0..4).try_for_each(|_| items.skip())?;
        let receipts_root = items.array()?;
        (0..2).try_for_each(|_| items.skip())?;
        let height = items.number()?;
        (0..2).try_for_each(|_| items.skip())?;
        let time = items.number()?;
        while !items.is_empty() {
            items.skip()?;
        }
        Ok(Self { parent_hash, receipts_root, height, time })
    }
}

/// Checks that the first of `headers` is below or at the certified one, and the certificate.
pub(crate) fn verify(
    headers: &[Vec<u8>],
    certificate: &Finalization,
    key: &NetworkKey,
) -> Result<FinalBlock, FinalityError> {
    certificate.verify(key)?;
    let hash = BlockHash::of(headers.first().map_or(&[], Vec::as_slice));
    let first = decode(headers, 0)?;
    let (mut last, mut last_hash) = (first, hash);
    for (position, bytes) in headers.iter().enumerate().skip(1) {
        let next = decode(headers, position)?;
        if next.parent_hash != last_hash {
            return Err(FinalityError::BrokenLink { position, expected: last_hash, found: next.parent_hash });
        }
        if last.height.checked_add(1) != Some(next.height) {
            return Err(FinalityError::Height { position, below: last.height, found: next.height });
        }
        (last, last_hash) = (next, BlockHash::of(bytes));
    }
    let expected = certificate.proposal.payload;
    if last_hash != expected {
        return Err(FinalityError::NotCertified { expected, found: last_hash });
    }
    let Header { height, time, .. } = first;
    Ok(FinalBlock { hash, height, time, certified_height: last.height, round: certificate.proposal.round })
}

fn decode(headers: &[Vec<u8>], position: usize) -> Result<Header, FinalityError> {
    let bytes = headers.get(position).map_or(&[][..], Vec::as_slice);
    Header::decode(bytes).map_err(|source| FinalityError::Header { position, source })
}
