//! What validators hear from each other.

use std::{
    fmt,
    num::NonZeroUsize,
    ops::AddAssign,
    sync::{Arc, Mutex, PoisonError},
};

use commonware_p2p::{Message, Receiver};
use veracity_consensus::Channels;

/// Messages on one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// How many.
    pub messages: u64,
    /// Their bytes, without what encryption and framing add.
    pub bytes: u64,
}

impl AddAssign for Heard {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

const CHANNELS: usize = 9;
const _: () = assert!(Channels::<(), ()>::COUNT == 9, "traffic is counted on every channel");

/// What all validators of a simulation heard, by channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic([Heard; CHANNELS]);

impl Traffic {
    /// What was heard on these channels ([`Channels`] in their order).
    #[must_use]
    pub fn on(&self, channels: impl IntoIterator<Item = usize>) -> Heard {
        let mut sum = Heard::default();
        channels.into_iter().filter_map(|channel| self.0.get(channel)).for_each(|heard| sum += *heard);
        sum
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> Heard {
        self.on(0..CHANNELS)
    }
}

/// Counts for all validators of a simulation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<Mutex<Traffic>>);

impl Counter {
    pub(crate) fn get(&self) -> Traffic {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, channel: usize, bytes: usize) {
        let mut traffic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = traffic.0.get_mut(channel) {
            *heard += Heard { messages: 1, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) };
        }
    }
}

/// A receiver whose messages are counted.
pub(crate) struct Counted<R> {
    inner: R,
    channel: usize,
    counter: Counter,
}

impl<R> Counted<R> {
    pub(crate) fn new(inner: R, channel: usize, counter: Counter) -> Self {
        Self { inner, channel, counter }
    }
}

impl<R: fmt::Debug> fmt::Debug for Counted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<R: Receiver> Receiver for Counted<R> {
    type Error = R::Error;
    type PublicKey = R::PublicKey;

    async fn recv(&mut self) -> Result<Message<Self::PublicKey>, Self::Error> {
        let message = self.inner.recv().await?;
        self.counter.add(self.channel, message.1.len());
        Ok(message)
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}
