//! Evidence: all that takes a receipt to the network key, in one encoding (specification, section 8).

use crate::{
    Anchor, AnchorError, EvidenceError, FinalBlock, FinalityError, Finalization, HEADER_BYTES_MAX,
    NetworkKey, Subject, VerifyError,
    anchor::{self, Inclusion},
    cbor::{MapWriter, Reader, Writer, to_u64},
    header,
    merkle::PATH_HASHES_MAX,
};

/// Largest evidence, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 98_304;
/// Most headers in an evidence.
pub const HEADERS_MAX: usize = 64;
/// Most nodes of the trie of Ethereum receipts in an evidence.
pub const NODES_MAX: usize = 16;

const VERSION: u64 = 1;

mod key {
    pub(super) const VERSION: u64 = 1;
    pub(super) const CERTIFICATE: u64 = 2;
    pub(super) const HEADERS: u64 = 3;
    pub(super) const TRANSACTION_INDEX: u64 = 4;
    pub(super) const NODES: u64 = 5;
    pub(super) const LOG_INDEX: u64 = 6;
    pub(super) const PATH: u64 = 7;
}

/// What evidence is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Certificate of the last header's block.
    pub certificate: Finalization,
    /// RLP headers, from the block with the anchoring transaction up to the certified one; 1 to [`HEADERS_MAX`] of at
    /// most [`HEADER_BYTES_MAX`] bytes.
    pub headers: Vec<Vec<u8>>,
    /// Index of the anchoring transaction in its block.
    pub transaction_index: u64,
    /// RLP nodes of the trie of Ethereum receipts, from the root to the leaf; 1 to [`NODES_MAX`].
    pub nodes: Vec<Vec<u8>>,
    /// Position of the event among the logs of the transaction, not of the block.
    pub log_index: u64,
    /// Path from the receipt id to the root of the batch, as [`merkle::path`](crate::merkle::path) gives it; at most
    /// [`PATH_HASHES_MAX`](crate::merkle::PATH_HASHES_MAX).
    pub path: Vec<[u8; 32]>,
}

/// Well-formed evidence within the limits. [`verify`] decides what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence(Parts);

impl Evidence {
    /// Evidence from its parts.
    ///
    /// # Errors
    /// [`EvidenceError::Count`], [`EvidenceError::HeaderTooLarge`] or [`EvidenceError::TooLarge`] if the parts exceed
    /// the limits. Whether they fit together, [`verify`] says.
    pub fn new(parts: Parts) -> Result<Self, EvidenceError> {
        check_count("headers", 1, HEADERS_MAX, parts.headers.len())?;
        check_count("nodes", 1, NODES_MAX, parts.nodes.len())?;
        check_count("path", 0, PATH_HASHES_MAX, parts.path.len())?;
        parts.headers.iter().enumerate().try_for_each(|(position, header)| check_header(position, header))?;
        let evidence = Self(parts);
        check_size(evidence.encode().len())?;
        Ok(evidence)
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// Reads evidence. Nothing is computed.
    ///
    /// # Errors
    /// [`EvidenceError`] unless the bytes are the one encoding of an evidence of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        check_size(bytes.len())?;
        let mut reader = Reader::new(bytes, 0);
        let mut map = reader.map("evidence")?;
        map.required(key::VERSION, |r| match r.unsigned()? {
            VERSION => Ok(()),
            found => Err(EvidenceError::Version { expected: VERSION, found }),
        })?;
        let parts = Parts {
            certificate: map.required(key::CERTIFICATE, |r| -> Result<_, EvidenceError> {
                Ok(Finalization::decode(r.bytes()?)?)
            })?,
            headers: map.required(key::HEADERS, |r| {
                list(r, "headers", 1, HEADERS_MAX, |position, r| {
                    let header = r.bytes()?;
                    check_header(position, header)?;
                    Ok(header.to_vec())
                })
            })?,
            transaction_index: map.required(key::TRANSACTION_INDEX, Reader::unsigned)?,
            nodes: map
                .required(key::NODES, |r| list(r, "nodes", 1, NODES_MAX, |_, r| Ok(r.bytes()?.to_vec())))?,
            log_index: map.required(key::LOG_INDEX, Reader::unsigned)?,
            path: map
                .required(key::PATH, |r| list(r, "path", 0, PATH_HASHES_MAX, |_, r| Ok(r.bytes_exact()?)))?,
        };
        map.finish()?;
        reader.finish("evidence")?;
        Ok(Self(parts))
    }

    /// The bytes. What [`decode`](Self::decode) accepted comes back byte for byte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Parts { certificate, headers, transaction_index, nodes, log_index, path } = &self.0;
        let mut map = MapWriter::default();
        map.entry(key::VERSION, |w| w.unsigned(VERSION));
        map.entry(key::CERTIFICATE, |w| w.bytes(&certificate.encode()));
        map.entry(key::HEADERS, |w| write_list(w, headers));
        map.entry(key::TRANSACTION_INDEX, |w| w.unsigned(*transaction_index));
        map.entry(key::NODES, |w| write_list(w, nodes));
        map.entry(key::LOG_INDEX, |w| w.unsigned(*log_index));
        map.entry(key::PATH, |w| write_list(w, path));
        let mut writer = Writer::default();
        writer.map(map);
        writer.finish()
    }

    /// Checks that the block of the evidence is final: certificate and headers. Some milliseconds.
    ///
    /// # Errors
    /// [`FinalityError`], the first check that fails.
    pub fn verify_finality(&self, key: &NetworkKey) -> Result<FinalBlock, FinalityError> {
        header::verify(&self.0.headers, &self.0.certificate, key)
    }

    /// Checks that the block of the evidence anchors the subject, **if there is such a block**, which only
    /// [`verify_finality`](Self::verify_finality) shows.
    ///
    /// # Errors
    /// [`AnchorError`], the first check that fails.
    pub fn verify_anchor(&self, subject: &Subject) -> Result<Anchor, AnchorError> {
        let inclusion = Inclusion {
            header: self.0.headers.first().map_or(&[], Vec::as_slice),
            transaction_index: self.0.transaction_index,
            nodes: &self.0.nodes,
            log_index: self.0.log_index,
            path: &self.0.path,
        };
        anchor::verify(&inclusion, subject)
    }
}

/// Checks all: the block is final, and it anchors the subject. Some milliseconds.
///
/// # Errors
/// [`VerifyError`], the first check that fails.
pub fn verify(
    evidence: &Evidence,
    subject: &Subject,
    key: &NetworkKey,
) -> Result<(FinalBlock, Anchor), VerifyError> {
    let block = evidence.verify_finality(key)?;
    Ok((block, evidence.verify_anchor(subject)?))
}

fn check_size(found: usize) -> Result<(), EvidenceError> {
    match found {
        0..=EVIDENCE_BYTES_MAX => Ok(()),
        _ => Err(EvidenceError::TooLarge { max: EVIDENCE_BYTES_MAX, found }),
    }
}

fn check_header(position: usize, header: &[u8]) -> Result<(), EvidenceError> {
    match header.len() {
        0..=HEADER_BYTES_MAX => Ok(()),
        found => Err(EvidenceError::HeaderTooLarge { position, max: HEADER_BYTES_MAX, found }),
    }
}

fn check_count(part: &'static str, min: usize, max: usize, found: usize) -> Result<(), EvidenceError> {
    match (min..=max).contains(&found) {
        true => Ok(()),
        false => Err(EvidenceError::Count { part, min, max, found: to_u64(found) }),
    }
}

/// An array of bounded length. Room is made for items that were read, not for those that are claimed.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    part: &'static str,
    min: usize,
    max: usize,
    read: impl Fn(usize, &mut Reader<'a>) -> Result<T, EvidenceError>,
) -> Result<Vec<T>, EvidenceError> {
    let claimed = reader.array_length()?;
    let n_items = usize::try_from(claimed).ok().filter(|n| (min..=max).contains(n));
    let n_items = n_items.ok_or(EvidenceError::Count { part, min, max, found: claimed })?;
    (0..n_items).map(|position| read(position, reader)).collect()
}

fn write_list(writer: &mut Writer, items: &[impl AsRef<[u8]>]) {
    writer.array(to_u64(items.len()));
    items.iter().for_each(|item| writer.bytes(item.as_ref()));
}
