//! Bodies of requests, read within limits of size, memory and time.

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

use crate::error::ApiError;

/// Unit of the budget for bodies in memory.
pub(crate) const BUDGET_UNIT_BYTES: u64 = 1024;

/// Slowest average rate of a body, beyond one idle timeout: a client that sends a byte now and then is not idle, and
/// would otherwise hold its place for days.
pub(crate) const BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// From this size on a buffer grows by an eighth, so that it is not copied for each piece.
const GROWTH_BYTES_MIN: usize = 256 << 10;

/// Refuses compressed bodies, and those that announce too much, before anything is read.
pub(crate) fn check_headers(headers: &HeaderMap, bytes_max: u64) -> Result<(), ApiError> {
    if let Some(found) = headers.get(header::CONTENT_ENCODING).filter(|v| v.as_bytes() != b"identity") {
        let found = String::from_utf8_lossy(found.as_bytes()).chars().take(40).collect();
        return Err(ApiError::UnsupportedEncoding { found });
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > bytes_max => Err(ApiError::BodyTooLarge { max: bytes_max }),
        Some(_) | None => Ok(()),
    }
}

/// The pieces of a body, counted.
struct Pieces {
    body: Body,
    found: u64,
    bytes_max: u64,
    idle_timeout: Duration,
    started: Instant,
}

impl Pieces {
    fn new(body: Body, bytes_max: u64, idle_timeout: Duration) -> Self {
        Self { body, found: 0, bytes_max, idle_timeout, started: Instant::now() }
    }

    /// When the next piece must be there: not idle for too long, and not too slow on the whole.
    fn deadline(&self) -> Instant {
        let allowed = self.idle_timeout + Duration::from_secs(self.found / BYTES_PER_SECOND_MIN);
        (self.started + allowed).min(Instant::now() + self.idle_timeout)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = tokio::time::timeout_at(self.deadline(), self.body.frame()).await;
            let Ok(frame) = frame else {
                return Err(ApiError::RequestTimeout { timeout: self.idle_timeout });
            };
            let frame = match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(ApiError::IncompleteBody { found: self.found }),
                Some(Ok(frame)) => frame,
            };
            // Trailers mean nothing here.
            let Ok(bytes) = frame.into_data() else { continue };
            self.found = self.found.saturating_add(bytes.len() as u64);
            if self.found > self.bytes_max {
                return Err(ApiError::BodyTooLarge { max: self.bytes_max });
            }
            return Ok(Some(bytes));
        }
    }
}

/// A body in memory with its share of the budget.
#[derive(Debug, Default)]
pub(crate) struct Buffered {
    pub(crate) bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
}

impl Buffered {
    /// Takes another piece, unless that exceeds the budget of `what`. What counts is the memory that is reserved.
    pub(crate) fn push(
        &mut self,
        piece: &[u8],
        budget: &Arc<Semaphore>,
        what: &'static str,
    ) -> Result<(), ApiError> {
        let needed = self.bytes.len().saturating_add(piece.len());
        if needed > self.bytes.capacity() {
            let slack = if needed < GROWTH_BYTES_MIN { 0 } else { needed / 8 };
            let roomy = needed.saturating_add(slack);
            let capacity = match self.take(roomy, budget) {
                true => roomy,
                false if self.take(needed, budget) => needed,
                false => return Err(ApiError::Overloaded { what }),
            };
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Takes the share of so many bytes in all, if there is one.
    fn take(&mut self, size: usize, budget: &Arc<Semaphore>) -> bool {
        let more = u32::try_from(units(size).saturating_sub(self.held())).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(budget).try_acquire_many_owned(more) else { return false };
        match &mut self.share {
            Some(share) => share.merge(permit),
            none => *none = Some(permit),
        }
        true
    }

    fn held(&self) -> usize {
        self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Gives back what is not needed. No more pieces come.
    pub(crate) fn finish(mut self) -> Self {
        self.bytes.shrink_to_fit();
        let unused = self.held().saturating_sub(units(self.bytes.capacity()));
        drop(self.share.as_mut().and_then(|share| share.split(unused)));
        self
    }
}

/// Units of the budget that so many bytes take.
fn units(size: usize) -> usize {
    usize::try_from((size as u64).div_ceil(BUDGET_UNIT_BYTES)).unwrap_or(usize::MAX)
}

impl AsRef<[u8]> for Buffered {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How bodies are read.
#[derive(Debug, Clone)]
pub(crate) struct BodyLimits {
    pub(crate) bytes_max: u64,
    pub(crate) idle_timeout: Duration,
    /// Units of [`BUDGET_UNIT_BYTES`] left for bodies in memory.
    pub(crate) budget: Arc<Semaphore>,
}

/// Reads a whole body into memory.
pub(crate) async fn buffer(
    headers: &HeaderMap,
    body: Body,
    limits: &BodyLimits,
) -> Result<Buffered, ApiError> {
    check_headers(headers, limits.bytes_max)?;
    let (bytes_max, idle_timeout) = (limits.bytes_max, limits.idle_timeout);
    let mut pieces = Pieces::new(body, bytes_max, idle_timeout);
    let mut buffered = Buffered::default();
    while let Some(piece) = pieces.next().await? {
        buffered.push(&piece, &limits.budget, "large requests")?;
    }
    Ok(buffered.finish())
}

/// Reads from a body on a blocking thread; see [`pump`].
#[derive(Debug)]
pub(crate) struct BodyReader {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
    /// Whether the body ended where it should, as opposed to the connection.
    complete: Arc<std::sync::atomic::AtomicBool>,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None if self.complete.load(std::sync::atomic::Ordering::Acquire) => return Ok(0),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let n = buffer.len().min(self.current.len());
        buffer[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

/// Feeds a body to `job`, which reads it on a blocking thread, a few pieces ahead. Stops reading when the job ends.
pub(crate) async fn pump<T: Send + 'static>(
    headers: &HeaderMap,
    body: Body,
    (bytes_max, idle_timeout): (u64, Duration),
    job: impl FnOnce(BodyReader) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    check_headers(headers, bytes_max)?;
    let (sender, receiver) = mpsc::channel(4);
    let complete = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = BodyReader { pieces: receiver, current: Bytes::new(), complete: Arc::clone(&complete) };
    let job = tokio::task::spawn_blocking(move || job(reader));
    let mut pieces = Pieces::new(body, bytes_max, idle_timeout);
    let failure = loop {
        match pieces.next().await {
            Ok(Some(piece)) => {
                if sender.send(piece).await.is_err() {
                    break None;
                }
            }
            Ok(None) => {
                complete.store(true, std::sync::atomic::Ordering::Release);
                break None;
            }
            Err(error) => break Some(error),
        }
    };
    drop(sender);
    let result = job.await.map_err(|_| ApiError::Internal)?;
    // The reason why the body ended explains more than what the job made of it.
    failure.map_or(result, Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body takes of the budget is what it takes of the memory.
    #[test]
    fn the_budget_counts_what_is_reserved() {
        let n_units = 4096;
        let budget = Arc::new(Semaphore::new(n_units));
        let (mut buffered, piece) = (Buffered::default(), vec![1; 10_000]);
        while buffered.push(&piece, &budget, "test").is_ok() {
            let taken = n_units - budget.available_permits();
            let reserved = buffered.bytes.capacity();
            assert!(units(reserved) <= taken, "{reserved} bytes, {taken} units");
        }
        assert!(buffered.bytes.len() + piece.len() > n_units << 10, "it is used up to the end");
        drop(buffered);
        let mut buffered = Buffered::default();
        (0..100).for_each(|_| buffered.push(&piece, &budget, "test").unwrap());
        let buffered = buffered.finish();
        assert_eq!(n_units - budget.available_permits(), units(buffered.bytes.capacity()));
        assert_eq!(buffered.bytes.len(), 1_000_000);
    }
}
