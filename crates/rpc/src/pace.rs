//! How fast a WebSocket connection is read.
//!
//! The library starts a task for each message, and answers wait in memory until the client has read those before. Someone
//! who asks and never reads would pile up both without end, so no more is read from a connection while its answers do not
//! get out, nor while many of its calls are in progress; then TCP makes the client wait. Connections without an upgrade are
//! left alone: HTTP/1.1 answers one request at a time, and HTTP/2 limits its streams.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use jsonrpsee::{
    core::middleware::{Batch, Notification, RpcServiceT},
    server::Extensions,
    types::Request,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    /// Whether a call came over a WebSocket; the connection then carries nothing else.
    is_websocket: AtomicBool,
    /// Whether the client has yet to read what was written.
    is_blocked: AtomicBool,
    /// Who reads, while it waits.
    reader: AtomicWaker,
}

impl Pace {
    /// Counts a call until the result is dropped, if it came over a WebSocket.
    fn begin(&self, extensions: &Extensions) -> Option<Calling> {
        extensions.get::<OverWebSocket>()?;
        self.0.is_websocket.store(true, Ordering::SeqCst);
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Some(Calling(self.clone()))
    }

    fn must_wait(&self) -> bool {
        let state = &self.0;
        state.is_websocket.load(Ordering::SeqCst)
            && (state.is_blocked.load(Ordering::SeqCst) || state.calls.load(Ordering::SeqCst) >= CALLS_MAX)
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
    pub(crate) connection: S,
    pub(crate) pace: Pace,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pace.must_wait() {
            self.pace.0.reader.register(context.waker());
            // What it waits for may have come before it was registered.
            if self.pace.must_wait() {
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<S> Paced<S> {
    /// Passes on how a write went.
    fn written<T>(&self, result: Poll<T>) -> Poll<T> {
        if self.pace.0.is_blocked.swap(result.is_pending(), Ordering::SeqCst) && result.is_ready() {
            self.pace.0.reader.wake();
        }
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
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.connection).poll_write_vectored(context, parts);
        self.written(result)
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
