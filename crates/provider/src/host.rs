//! The thread on which a node hosts.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use veracity_graph::ModelId;
use veracity_hosting::{Maintainer, Observer, Registry, Tick, TickError};

/// A thread that ticks a [`Maintainer`] again and again. Dropping it asks the thread to end and does not wait.
#[derive(Debug)]
pub struct HostLoop {
    state: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is` or the time is over; says whether it is.
    fn wait(&self, time: Duration, is: impl Fn(&State) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |state| !is(state));
        is(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Ends a fetch when the thread is to end.
struct Stopping<'a>(&'a Shared);

impl Observer for Stopping<'_> {
    fn stopped(&self) -> bool {
        self.0.lock().stopped
    }
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.set(|state| state.ended = true);
    }
}

impl HostLoop {
    /// Ticks at once, and then with `interval` between the end of a tick and the next one. What a tick does is logged; what
    /// fails is logged once for as long as it fails in the same way.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        maintainer: Maintainer,
        registry: impl Registry + Send + 'static,
        interval: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ending = Ending(Arc::clone(&shared));
        let run = move || {
            let shared = Arc::clone(&ending.0);
            run(maintainer, &registry, interval, &shared);
            drop(ending);
        };
        thread::Builder::new().name("hosting".to_owned()).spawn(run)?;
        Ok(Self { state: shared })
    }

    /// Asks the thread to end, and waits for at most `patience`; says whether it ended. A fetch ends after the answers that
    /// are under way; cutting it off loses nothing that was verified.
    #[must_use]
    pub fn stop(&self, patience: Duration) -> bool {
        self.state.set(|state| state.stopped = true);
        self.state.wait(patience, |state| state.ended)
    }
}

impl Drop for HostLoop {
    fn drop(&mut self) {
        self.state.set(|state| state.stopped = true);
    }
}

fn run(mut maintainer: Maintainer, registry: &dyn Registry, interval: Duration, shared: &Shared) {
    let mut log = Log::default();
    loop {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
        let done = maintainer.tick(registry, now_s, &Stopping(shared));
        log.tick(&done);
        if shared.wait(interval, |state| state.stopped) {
            return;
        }
    }
}

/// What was logged, so that it is not said again and again.
#[derive(Debug, Default)]
struct Log {
    /// Of the last tick as a whole.
    error: Option<String>,
    failed: BTreeMap<ModelId, String>,
}

impl Log {
    fn tick(&mut self, done: &Result<Tick, TickError>) {
        let tick = match done {
            Ok(tick) => tick,
            Err(error) => {
                let error = error.to_string();
                if self.error.as_ref() != Some(&error) {
                    tracing::warn!(error, "hosting.tick");
                    self.error = Some(error);
                }
                return;
            }
        };
        if self.error.take().is_some() {
            tracing::info!("hosting.tick: the registry answers again");
        }
        let did = [
            ("offered", &tick.offered),
            ("fetched", &tick.fetched),
            ("announced", &tick.announced),
            ("retracted", &tick.retracted),
            ("evicted", &tick.evicted),
        ];
        for (what, models) in did {
            models.iter().for_each(|model| tracing::info!(%model, what, "hosting.tick"));
        }
        let failed: BTreeMap<_, _> = tick.failed.iter().map(|(id, error)| (*id, error.to_string())).collect();
        for (model, error) in failed.iter().filter(|(model, error)| self.failed.get(model) != Some(error)) {
            tracing::warn!(%model, error, "hosting.tick");
        }
        self.failed = failed;
    }
}
