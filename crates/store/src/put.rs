//! Taking models in (specification, section 3).

use std::{
    io::{self, Read},
    path::Path,
};

use veracity_graph::{
    Bundle, BundleHeader, DecodeError, DecodeLimits, Digest, Graph, Manifest, Model, ModelId, Part,
};

use crate::{
    PutError, Store, StoreError,
    lock::{Exclusive, Scratch},
    store::report_bytes,
};

const BUFFER_BYTES: usize = 64 << 10;

impl Store {
    /// Stores a model, with the accuracy report in JSON that its import made. Durable when it returns; a model that is
    /// already there is left alone, but gets the report.
    ///
    /// # Errors
    /// [`PutError::Bundle`] or [`PutError::Model`] if it is not a valid model, [`PutError::Store`] if the disk fails.
    pub fn put(&self, bundle: &Bundle, report: Option<&[u8]>) -> Result<ModelId, PutError> {
        bundle.check()?;
        Model::new(Graph::decode(&bundle.graph, DecodeLimits::default())?, bundle.weights.clone())?;
        let scratch = self.scratch()?;
        let dir = scratch.path.join("model");
        self.disk.create_dir(&dir)?;
        self.disk.write_file(dir.join("graph"), &bundle.graph)?;
        self.disk.write_file(dir.join("weights"), &bundle.weights)?;
        Ok(self.publish(&scratch, &bundle.manifest, report)?)
    }

    /// Stores a model from the bytes of its bundle, read in pieces of 64 KiB. Durable when it returns. After an error
    /// nothing is stored.
    ///
    /// # Errors
    /// [`PutError`]; [`PutError::TooLarge`] is decided from the header, before the rest is read.
    pub fn put_reader(&self, mut reader: impl Read, size_bytes_max: u64) -> Result<ModelId, PutError> {
        let (header, rest) = read_header(&mut reader)?;
        let Manifest { graph, weights, .. } = &header.manifest;
        let expected = [header.size_bytes as u64, graph.size_bytes, weights.size_bytes];
        let expected = expected.into_iter().try_fold(0u64, u64::checked_add).unwrap_or(u64::MAX);
        if expected > size_bytes_max {
            return Err(PutError::TooLarge { size_bytes: expected, size_bytes_max });
        }
        let scratch = self.scratch()?;
        let dir = scratch.path.join("model");
        self.disk.create_dir(&dir)?;
        let mut source =
            Source { reader: rest.as_slice().chain(reader), found: header.size_bytes as u64, expected };
        self.receive(&mut source, &dir, "graph", graph)?;
        self.receive(&mut source, &dir, "weights", weights)?;
        source.end()?;
        check_model(&dir)?;
        Ok(self.publish(&scratch, &header.manifest, None)?)
    }

    /// Writes one part to disk while hashing it.
    fn receive(
        &self,
        source: &mut Source<impl Read>,
        dir: &Path,
        name: &'static str,
        part: &Part,
    ) -> Result<(), PutError> {
        let mut file = self.disk.create_file(dir.join(name), false)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = part.size_bytes;
        while left > 0 {
            let want = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
            let bytes = source.next(&mut buffer[..want])?;
            hasher.update(bytes);
            file.append(bytes)?;
            left -= bytes.len() as u64;
        }
        let found = Digest(*hasher.finalize().as_bytes());
        if found != part.digest {
            let (expected, found) = (part.digest.to_string(), found.to_string());
            return Err(DecodeError::PartMismatch { part: name, expected, found }.into());
        }
        Ok(file.sync()?)
    }

    /// Makes the model in `scratch` visible. Graph and weights are there and synced.
    fn publish(
        &self,
        scratch: &Scratch<'_>,
        manifest: &Manifest,
        report: Option<&[u8]>,
    ) -> Result<ModelId, StoreError> {
        let id = manifest.model_id();
        let dir = scratch.path.join("model");
        self.disk.write_file(dir.join("manifest"), &manifest.encode())?;
        if let Some(report) = report {
            self.disk.write_file(dir.join("report"), &report_bytes(report))?;
        }
        self.disk.sync_dir(&dir)?;
        let lock = self.exclusive()?;
        let placed = self.place(&lock, &id, &dir, &scratch.path.join("corrupt"))?;
        match report {
            Some(report) if !placed => self.replace_report(&lock, scratch, &id, report).map(|()| id),
            _ => Ok(id),
        }
    }

    /// Renames a complete, synced folder to the model's place, unless a sound copy is there. A corrupt copy goes to
    /// `aside`. Tells whether the folder was renamed.
    pub(crate) fn place(
        &self,
        _: &Exclusive,
        id: &ModelId,
        dir: &Path,
        aside: &Path,
    ) -> Result<bool, StoreError> {
        let target = self.model_dir(id);
        if self.contains(id) {
            if self.get(id).is_ok() {
                return Ok(false);
            }
            tracing::warn!(model = %id, "store.put: a corrupt copy is replaced");
            self.disk.rename(&target, aside)?;
        }
        self.disk.rename(dir, &target)?;
        self.disk.sync_dir(&self.root().join("models"))?;
        Ok(true)
    }
}

/// Reads until the header is complete; gives what was read beyond it too.
fn read_header(reader: &mut impl Read) -> Result<(BundleHeader, Vec<u8>), PutError> {
    let mut bytes = Vec::new();
    loop {
        let n = reader.by_ref().take(4096).read_to_end(&mut bytes).map_err(PutError::Source)?;
        match Bundle::read_header(&bytes) {
            Ok(header) => {
                let rest = bytes.split_off(header.size_bytes);
                return Ok((header, rest));
            }
            Err(DecodeError::Truncated { .. }) if n > 0 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The bytes after the header, counted.
struct Source<R> {
    reader: R,
    found: u64,
    expected: u64,
}

impl<R: Read> Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PutError> {
        loop {
            match self.reader.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(PutError::Source),
            }
        }
    }

    /// The next bytes, at least one.
    fn next<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], PutError> {
        let n = self.read(buffer)?;
        if n == 0 {
            return Err(PutError::Truncated { expected: self.expected, found: self.found });
        }
        self.found += n as u64;
        Ok(&buffer[..n])
    }

    fn end(&mut self) -> Result<(), PutError> {
        if self.read(&mut [0])? == 0 { Ok(()) } else { Err(PutError::Trailing { expected: self.expected }) }
    }
}

/// Checks that graph and weights, whose hashes are right, are a valid model.
fn check_model(dir: &Path) -> Result<(), PutError> {
    let read = |file: &str| {
        let path = dir.join(file);
        std::fs::read(&path).map_err(StoreError::io("read", &path))
    };
    let graph = Graph::decode(&read("graph")?, DecodeLimits::default())?;
    Model::new(graph, read("weights")?)?;
    Ok(())
}
