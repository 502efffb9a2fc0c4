use std::fmt;

use crate::{
    DecodeError, DecodeLimits,
    codec::{Reader, Writer},
};

const MAGIC: &[u8; 4] = b"VMAN";
const VERSION: u8 = 1;
const ID_CONTEXT: &str = "veracity model manifest v1";

/// A BLAKE3 hash; displayed as 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest that these 64 lower-case hex digits name.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        lower.then(|| blake3::Hash::from_hex(text).ok()).flatten().map(|h| Self(*h.as_bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names a model: the hash of its manifest. Same id, same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub Digest);

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hash and length of one part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// BLAKE3 hash of the part's bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
}

impl Part {
    /// Describes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { digest: Digest::of(bytes), size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX) }
    }

    /// Checks that `bytes` are this part.
    ///
    /// # Errors
    /// [`DecodeError::PartMismatch`] naming `part`.
    pub fn check(&self, part: &'static str, bytes: &[u8]) -> Result<(), DecodeError> {
        let found = Self::of(bytes);
        if found == *self {
            return Ok(());
        }
        let (expected, found) = (self.digest.to_string(), found.digest.to_string());
        Err(DecodeError::PartMismatch { part, expected, found })
    }
}

/// Where a model comes from: with these and the converter anyone derives the same model id again. Texts have at most
/// 512 bytes; a manifest with longer ones has no canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Converter and its version, such as `veracity-importer/1`.
    pub converter: String,
    /// Format of the source, such as `onnx`.
    pub format: String,
    /// Hash of the source file.
    pub source: Digest,
    /// Conversion options in canonical text.
    pub options: String,
    /// Hash of the calibration samples, if there were any.
    pub samples: Option<Digest>,
}

/// Names the parts of a model by hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The canonical graph bytes.
    pub graph: Part,
    /// The constants' bytes.
    pub weights: Part,
    /// Where the model comes from.
    pub provenance: Provenance,
}

impl Manifest {
    /// Canonical bytes (`docs/spec/model.md`, section 5).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.bytes.extend_from_slice(MAGIC);
        w.u8(VERSION);
        for part in [&self.graph, &self.weights] {
            w.bytes.extend_from_slice(&part.digest.0);
            w.u64(part.size_bytes);
        }
        w.text(&self.provenance.converter);
        w.text(&self.provenance.format);
        w.bytes.extend_from_slice(&self.provenance.source.0);
        w.text(&self.provenance.options);
        w.u8(u8::from(self.provenance.samples.is_some()));
        if let Some(samples) = self.provenance.samples {
            w.bytes.extend_from_slice(&samples.0);
        }
        w.bytes
    }

    /// The manifest whose canonical bytes these are.
    ///
    /// # Errors
    /// A [`DecodeError`] that says where and why the bytes are not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes, DecodeLimits::default());
        r.header("manifest", MAGIC, VERSION)?;
        let mut part = |what| -> Result<Part, DecodeError> {
            Ok(Part { digest: Digest(r.digest(what)?), size_bytes: r.u64(what)? })
        };
        let (graph, weights) = (part("graph part")?, part("weights part")?);
        let converter = r.text("converter")?;
        let format = r.text("source format")?;
        let source = Digest(r.digest("source hash")?);
        let options = r.text("options")?;
        let samples = if r.flag("samples")? { Some(Digest(r.digest("samples hash")?)) } else { None };
        r.end()?;
        Ok(Self { graph, weights, provenance: Provenance { converter, format, source, options, samples } })
    }

    /// The model's name: BLAKE3 in key-derivation mode over the canonical bytes.
    #[must_use]
    pub fn model_id(&self) -> ModelId {
        ModelId(Digest(blake3::derive_key(ID_CONTEXT, &self.encode())))
    }
}
