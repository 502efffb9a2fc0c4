//! How fast a connection is read.
//!
//! The library starts a task for each message of a WebSocket, and answers wait in memory until the client has read those
//! before. Someone who asks and never reads would pile up both without end, so no more is read from a connection while its
//! answers do not get out, nor while many of its calls are in progress; then TCP makes the client wait. One that reads
//! nothing for a minute loses its connection. HTTP/1.1 answers one request at a time and HTTP/2 limits its streams, so their
//! calls are not counted.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;
use jsonrpsee::{
    core::middleware::{Batch, Notification, RpcServiceT},
    server::Extensions,
    types::Request,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::hosts::OverWebSocket;

/// Calls of one connection that may be in progress before no more is read from it.
const CALLS_MAX: usize = 128;

/// What the halves of one connection know of each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Calls in progress.
    calls: AtomicUsize,
    /// Whether the client has yet to read what was written.
    is_blocked: AtomicBool,
    /// Who reads, while it waits.
    reader: AtomicWaker,
}

impl Pace {
    /// Counts a call until the result is dropped, if it came over a WebSocket.
    fn begin(&self, extensions: &Extensions) -> Option<Calling> {
        extensions.get::<OverWebSocket>()?;
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Some(Calling(self.clone()))
    }

    fn must_wait(&self) -> bool {
        let state = &self.0;
        state.is_blocked.load(Ordering::SeqCst) || state.calls.load(Ordering::SeqCst) >= CALLS_MAX
    }
}

struct Calling(Pace);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.0.calls.fetch_sub(1, Ordering::SeqCst);
        self.0.0.reader.wake();
    }
}

/// A connection that is read at its pace.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    connection: S,
    pace: Pace,
    /// Whether others go first before more is read: what was read last may have started tasks, which count their calls.
    gives_way: bool,
    /// How long a write may be blocked.
    patience: Duration,
    /// The end of that, while one is.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(connection: S, pace: Pace, patience: Duration) -> Self {
        Self { connection, pace, gives_way: false, patience, deadline: None }
    }

    /// Passes on how a write went, unless it has been blocked for too long.
    fn written(
        &mut self,
        result: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let was_blocked = self.pace.0.is_blocked.swap(result.is_pending(), Ordering::SeqCst);
        if result.is_ready() {
            self.deadline = None;
            if was_blocked {
                self.pace.0.reader.wake();
            }
            return result;
        }
        let patience = self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(patience)));
        deadline.as_mut().poll(context).map(|()| {
            self.pace.0.reader.wake();
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing"))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.gives_way) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.pace.must_wait() {
            self.pace.0.reader.register(context.waker());
            // What it waits for may have come before it was registered.
            if self.pace.must_wait() {
                return Poll::Pending;
            }
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.connection).poll_read(context, buffer);
        self.gives_way = buffer.filled().len() > before;
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.written(result, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.connection).poll_write_vectored(context, parts);
        self.written(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

/// Calls, counted while they are in progress.
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    pub(crate) calls: S,
    pub(crate) pace: Pace,
}

impl<S: RpcServiceT> RpcServiceT for Counted<S> {
    type MethodResponse = S::MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        let calling = self.pace.begin(request.extensions());
        until_done(calling, self.calls.call(request))
    }

    fn batch<'a>(&self, mut requests: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        let calling = self.pace.begin(requests.extensions());
        until_done(calling, self.calls.batch(requests))
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        let calling = self.pace.begin(notification.extensions());
        until_done(calling, self.calls.notification(notification))
    }
}

async fn until_done<F: Future>(calling: Option<Calling>, answer: F) -> F::Output {
    let answer = answer.await;
    drop(calling);
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn who_reads_nothing_loses_the_connection() {
        let (connection, mut client) = duplex(4);
        let mut paced = Paced::new(connection, Pace::default(), Duration::from_millis(20));
        paced.write_all(b"1234").await.unwrap();
        let error = paced.write_all(b"5").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Each time anew.
        let mut read = [0; 4];
        client.read_exact(&mut read).await.unwrap();
        paced.write_all(b"5678").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'5');
        paced.write_all(b"9").await.unwrap();
    }
}
