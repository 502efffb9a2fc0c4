//! Work that is done again and again.

use std::{
    fmt, io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

/// How long a tick that is under way is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that is done at an interval on a thread of its own, until this is dropped.
///
/// The tick that is under way then is waited for, but not for ever: it must be one that may be cut off at any point, as the
/// end of the process would.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    /// Closed to stop.
    stop: Option<SyncSender<()>>,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

impl Service {
    /// Calls `tick` now and then again `interval` after it returned. What it does not succeed in is logged, once until it
    /// is something else.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<E: fmt::Display>(
        name: &'static str,
        interval: Duration,
        tick: impl FnMut() -> Result<(), E> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel::<()>(0);
        let (ending, ended) = sync_channel::<()>(0);
        let run = move || {
            // The thread has ended when nothing of `tick` is left.
            let (_ending, mut tick) = (ending, tick);
            let mut last = None;
            loop {
                let failed = tick().err().map(|error| error.to_string());
                match &failed {
                    Some(error) if failed != last => {
                        tracing::warn!(service = name, %error, "service.tick: failed, will be tried again");
                    }
                    None if last.is_some() => tracing::info!(service = name, "service.tick: succeeds again"),
                    _ => {}
                }
                last = failed;
                if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { name, stop: Some(stop), ended })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::info!(service = self.name, "service.stop: what is under way is cut off");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::channel,
    };

    use super::*;

    /// A tick that hangs does not keep the process from ending.
    #[test]
    fn a_tick_that_hangs_is_left_behind() {
        let (sender, receiver) = channel::<()>();
        let tick = move || -> Result<(), &str> {
            let _never = receiver.recv();
            Ok(())
        };
        drop(Service::start("hanging", Duration::ZERO, tick).unwrap());
        drop(sender);
    }

    #[test]
    fn it_goes_on_after_failures_and_ends_when_dropped() {
        let (sender, receiver) = channel();
        let count = Arc::new(AtomicU32::new(0));
        let shared = Arc::clone(&count);
        let tick = move || {
            let n = shared.fetch_add(1, Ordering::Relaxed);
            let _gone_at_the_end = sender.send(n);
            if n.is_multiple_of(2) { Err("no") } else { Ok(()) }
        };
        let service = Service::start("test", Duration::from_millis(1), tick).unwrap();
        assert_eq!(receiver.iter().take(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        drop(service);
        let ended = count.load(Ordering::Relaxed);
        assert_eq!(
            receiver.iter().count() + 4,
            usize::try_from(ended).unwrap(),
            "the thread is gone, and with it the sender"
        );
    }
}
