//! A progress bar that appears when work takes longer than a second.

use std::{
    io::{self, IsTerminal, Read},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes less than this shows nothing.
const PATIENCE: Duration = Duration::from_millis(800);
const TICK: Duration = Duration::from_millis(100);
const WAITING: &str = "  {spinner} {msg} {elapsed}";
const COUNTING: &str = "  {spinner} {msg:<20} [{bar:30}] {pos}/{len} {elapsed}";
const BYTES: &str = "  {spinner} {msg:<20} [{bar:30}] {bytes}/{total_bytes} {eta}";

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    Steps,
    /// Bytes.
    Bytes,
}

/// A bar on stderr, on terminals only, gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    unit: Unit,
    /// Shows the bar when patience ends; ends when the sender is gone.
    timer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// A bar that is not yet shown, and never when `quiet`.
    pub(crate) fn new(quiet: bool, phase: &str, unit: Unit) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style(WAITING));
        bar.set_message(phase.to_owned());
        let seen = !quiet && io::stderr().is_terminal();
        let timer = seen.then(|| show_later(bar.clone()));
        Self { bar, unit, timer }
    }

    /// `done` of `total` in `phase`.
    pub(crate) fn update(&self, phase: &str, done: u64, total: u64) {
        if self.timer.is_none() {
            return;
        }
        if self.bar.length().is_none() {
            self.bar.set_style(style(if self.unit == Unit::Bytes { BYTES } else { COUNTING }));
        }
        self.bar.set_message(phase.to_owned());
        self.bar.set_length(total);
        self.bar.set_position(done);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants").progress_chars("=> ")
}

fn show_later(bar: ProgressBar) -> (Sender<()>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        if receiver.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
        }
    };
    (sender, thread::spawn(wait))
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, timer)) = self.timer.take() {
            drop(sender);
            // It draws or ends, and cannot do so after the bar is cleared.
            let _ended = timer.join();
        }
        self.bar.finish_and_clear();
    }
}

/// Shows how much of it was read.
#[derive(Debug)]
pub(crate) struct Watched<'a, R> {
    reader: R,
    progress: &'a Progress,
    phase: &'static str,
    done: u64,
    total: u64,
}

impl<'a, R> Watched<'a, R> {
    /// `reader`, of which `total` bytes are expected.
    pub(crate) fn new(reader: R, progress: &'a Progress, phase: &'static str, total: u64) -> Self {
        Self { reader, progress, phase, done: 0, total }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.done = self.done.saturating_add(n as u64);
        self.progress.update(self.phase, self.done, self.total.max(self.done));
        Ok(n)
    }
}
