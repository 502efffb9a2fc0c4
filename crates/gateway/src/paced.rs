//! A connection that ends when its client does not read.
//!
//! An answer is in memory until it is written, and counts against a budget that all clients share. So a client that reads
//! nothing, or a byte now and then, must not hold it for ever: it may be waited for as long as the idle timeout, and
//! longer only by what it reads.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use crate::body::BYTES_PER_SECOND_MIN;

#[derive(Debug)]
pub(crate) struct Paced {
    stream: TcpStream,
    patience: Patience,
    blocked: Option<Blocked>,
}

/// Since when nothing can be written, and when that is too long.
#[derive(Debug)]
struct Blocked {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

/// Time that a client may still be waited for.
#[derive(Debug)]
struct Patience {
    left: Duration,
    max: Duration,
}

impl Patience {
    fn written(&mut self, waited: Duration, n_bytes: usize) {
        let earned = Duration::from_micros(n_bytes as u64 * 1_000_000 / BYTES_PER_SECOND_MIN);
        self.left = (self.left.saturating_sub(waited) + earned).min(self.max);
    }
}

impl Paced {
    pub(crate) fn new(stream: TcpStream, idle_timeout: Duration) -> Self {
        Self { stream, patience: Patience { left: idle_timeout, max: idle_timeout }, blocked: None }
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            let waited = self.blocked.take().map_or(Duration::ZERO, |blocked| blocked.since.elapsed());
            self.patience.written(waited, *written.as_ref().unwrap_or(&0));
            return Poll::Ready(written);
        }
        let left = self.patience.left;
        let blocked = self.blocked.get_or_insert_with(|| Blocked {
            since: Instant::now(),
            end: Box::pin(tokio::time::sleep(left)),
        });
        ready!(blocked.end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_earned_by_reading_and_never_more_than_at_first() {
        let second = Duration::from_secs(1);
        let mut patience = Patience { left: 30 * second, max: 30 * second };
        patience.written(Duration::ZERO, 1 << 30);
        assert_eq!(patience.left, 30 * second);
        patience.written(20 * second, 16 << 10);
        assert_eq!(patience.left, 11 * second);
        // A byte every ten seconds.
        (0..2).for_each(|_| patience.written(10 * second, 1));
        assert!(patience.left < second, "{patience:?}");
    }
}
