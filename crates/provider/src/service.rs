//! Work that is done again and again.

use std::{
    fmt, io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

/// Something that is done at an interval on a thread of its own, until this is dropped.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    /// Closed to stop.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
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
        mut tick: impl FnMut() -> Result<(), E> + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel::<()>(0);
        let run = move || {
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
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { name, stop: Some(stop), thread: Some(thread) })
    }
}

/// Waits until a tick that is under way has ended.
impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(service = self.name, "service.stop: it had panicked");
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

    #[test]
    fn it_goes_on_after_failures_and_ends_when_dropped() {
        let (sender, receiver) = channel();
        let count = Arc::new(AtomicU32::new(0));
        let shared = Arc::clone(&count);
        let tick = move || {
            let n = shared.fetch_add(1, Ordering::Relaxed);
            let _gone_at_the_end = sender.send(n);
            if n % 2 == 0 { Err("no") } else { Ok(()) }
        };
        let service = Service::start("test", Duration::from_millis(1), tick).unwrap();
        assert_eq!(receiver.iter().take(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        drop(service);
        let ended = count.load(Ordering::Relaxed);
        assert_eq!(receiver.iter().count() as u32 + 4, ended, "the thread is gone, and with it the sender");
    }
}
