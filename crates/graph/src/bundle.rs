use crate::{
    BundleError, DecodeError, DecodeLimits, Graph, Manifest, Model, ModelId,
    codec::{Reader, Writer},
};

const MAGIC: &[u8; 4] = b"VMDL";
const VERSION: u8 = 1;
/// Magic, version and manifest length.
const HEADER_BYTES: usize = 9;
/// Longest manifest in bytes.
const MANIFEST_BYTES_MAX: usize = 64 << 10;

/// A whole model as one file: header, manifest, graph, weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Names and hashes of the parts.
    pub manifest: Manifest,
    /// Canonical graph bytes.
    pub graph: Vec<u8>,
    /// Bytes of the constants.
    pub weights: Vec<u8>,
}

/// What the first bytes of a bundle announce; see [`Bundle::read_header`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleHeader {
    /// Names and hashes of the parts.
    pub manifest: Manifest,
    /// Bytes before the graph.
    pub size_bytes: usize,
}

impl Bundle {
    /// Bundles a model with its provenance.
    #[must_use]
    pub fn new(model: &Model, provenance: crate::Provenance) -> Self {
        let (graph, weights) = (model.graph().encode(), model.weights().to_vec());
        let manifest =
            Manifest { graph: crate::Part::of(&graph), weights: crate::Part::of(&weights), provenance };
        Self { manifest, graph, weights }
    }

    /// The model's name.
    #[must_use]
    pub fn model_id(&self) -> ModelId {
        self.manifest.model_id()
    }

    /// File bytes: `VMDL`, version, manifest length (`u32`), manifest, graph, weights.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let manifest = self.manifest.encode();
        let mut w = Writer::default();
        w.bytes.extend_from_slice(MAGIC);
        w.u8(VERSION);
        w.size(manifest.len());
        w.bytes.extend_from_slice(&manifest);
        w.bytes.extend_from_slice(&self.graph);
        w.bytes.extend_from_slice(&self.weights);
        w.bytes
    }

    /// Reads magic, version and manifest from the first bytes of a bundle, so that a receiver knows the sizes before it
    /// accepts the rest.
    ///
    /// # Errors
    /// A [`DecodeError`]; [`DecodeError::Truncated`] means that more bytes are needed, at most 64 KiB and 9 in all.
    pub fn read_header(bytes: &[u8]) -> Result<BundleHeader, DecodeError> {
        let mut r = Reader::new(bytes, DecodeLimits::default());
        r.header("model bundle", MAGIC, VERSION)?;
        let len = r.size("manifest length")?;
        if len > MANIFEST_BYTES_MAX {
            return Err(r.invalid("manifest length", "longer than 64 KiB"));
        }
        let bytes = r.take("manifest", len)?;
        let manifest = Manifest::decode(bytes).map_err(|error| match error {
            // An end inside the manifest's own bytes is not an end of the file: more bytes would not help.
            DecodeError::Truncated { .. } => r.invalid("manifest", "it ends early"),
            DecodeError::Trailing { .. } => r.invalid("manifest", "bytes follow its end"),
            DecodeError::Invalid { what, offset, reason } => {
                DecodeError::Invalid { what, offset: offset.saturating_add(HEADER_BYTES), reason }
            }
            DecodeError::Magic { .. } | DecodeError::Version { .. } | DecodeError::PartMismatch { .. } => {
                error
            }
        })?;
        Ok(BundleHeader { manifest, size_bytes: r.offset() })
    }

    /// The bundle whose file bytes these are; every part is checked against the manifest.
    ///
    /// # Errors
    /// A [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let header = Self::read_header(bytes)?;
        let mut r = Reader::new(bytes, DecodeLimits::default());
        r.take("header", header.size_bytes)?;
        let mut part = |what, size: u64| r.take(what, usize::try_from(size).unwrap_or(usize::MAX));
        let graph = part("graph", header.manifest.graph.size_bytes)?;
        let weights = part("weights", header.manifest.weights.size_bytes)?;
        r.end()?;
        let bundle = Self { manifest: header.manifest, graph: graph.to_vec(), weights: weights.to_vec() };
        bundle.check()?;
        Ok(bundle)
    }

    /// Checks both parts against the manifest.
    ///
    /// # Errors
    /// [`DecodeError::PartMismatch`].
    pub fn check(&self) -> Result<(), DecodeError> {
        self.manifest.graph.check("graph", &self.graph)?;
        self.manifest.weights.check("weights", &self.weights)
    }

    /// The checked model.
    ///
    /// # Errors
    /// A [`BundleError`] if the graph bytes are not canonical, or if graph and weights are not a valid model.
    pub fn load(&self) -> Result<Model, BundleError> {
        let graph = Graph::decode(&self.graph, DecodeLimits::default())?;
        Ok(Model::new(graph, self.weights.clone())?)
    }
}
