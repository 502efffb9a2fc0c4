use std::time::Duration;

use veracity_engine::Options;
use veracity_store::ReceiptLimits;
use veracity_worker::Limits;

/// How to serve. [`Config::default`] suits one machine; [`Config::faults`] checks what was changed.
#[derive(Debug, Clone)]
pub struct Config {
    /// How models run.
    pub engine: Options,
    /// What one request may ask for.
    pub limits: Limits,
    /// Whether receipts commit to the checkpoints of the run.
    pub trace: bool,
    /// Whether the models of the store are run here. Where they are not, requests about models are forwarded, or refused.
    pub runs: bool,
    /// Whether models may be uploaded, renamed and removed over HTTP. There is no authentication: beyond loopback this
    /// should be false.
    pub writable: bool,
    /// Largest body of an inference request in bytes.
    pub body_bytes_max: u64,
    /// Largest model bundle that may be uploaded, in bytes.
    pub upload_bytes_max: u64,
    /// Most bytes of all inference bodies being read or run at once; at least `body_bytes_max`.
    pub bodies_bytes_max: u64,
    /// Most memory for loaded models in bytes, about; the one in use longest ago goes first. One model may exceed it.
    pub loaded_bytes_max: u64,
    /// Most runs at once.
    pub runs_max: usize,
    /// Most requests that wait for a run; more are refused with 503.
    pub queue_max: usize,
    /// Most uploads and downloads of models at once.
    pub transfers_max: usize,
    /// Most connections at once; more wait. While some wait, those that have sent no byte within a second are closed.
    pub connections_max: usize,
    /// Longest wait for the next bytes of a header or body, and for a client to read more of an answer. Beyond it, bodies
    /// and answers must move at 16 KiB/s.
    pub idle_timeout: Duration,
    /// Longest time for one run, waiting included.
    pub run_timeout: Duration,
    /// Longest time that a shutdown waits for requests in progress.
    pub drain_timeout: Duration,
    /// How many receipts are kept.
    pub receipts: ReceiptLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: Options::default(),
            limits: Limits::default(),
            trace: true,
            runs: true,
            writable: true,
            body_bytes_max: 256 << 20,
            upload_bytes_max: 1 << 30,
            bodies_bytes_max: 1 << 30,
            loaded_bytes_max: 4 << 30,
            runs_max: std::thread::available_parallelism().map_or(1, usize::from),
            queue_max: 256,
            transfers_max: 2,
            connections_max: 1024,
            idle_timeout: Duration::from_secs(30),
            run_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            receipts: ReceiptLimits::default(),
        }
    }
}

/// A field of a [`Config`] that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {rule}")]
pub struct ConfigFault {
    /// Name of the field.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

impl Config {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<ConfigFault> {
        let zeros = [
            ("runs_max", self.runs_max == 0),
            ("transfers_max", self.transfers_max == 0),
            ("connections_max", self.connections_max == 0),
            ("limits.samples_max", self.limits.samples_max == 0),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("run_timeout", self.run_timeout.is_zero()),
        ];
        let zeros = zeros.into_iter().filter(|(_, wrong)| *wrong);
        let mut faults: Vec<_> = zeros.map(|(field, _)| ConfigFault { field, rule: "more than 0" }).collect();
        if self.bodies_bytes_max < self.body_bytes_max {
            faults.push(ConfigFault { field: "bodies_bytes_max", rule: "at least body_bytes_max" });
        }
        if self.bodies_bytes_max > 1 << 40 {
            faults.push(ConfigFault { field: "bodies_bytes_max", rule: "at most 2^40" });
        }
        faults
    }
}
