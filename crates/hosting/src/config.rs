use std::time::Duration;

use crate::{ConfigError, ConfigFault};

/// How models are fetched.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Connections at the same time, over all hosts.
    pub connections: usize,
    /// Connections at the same time to one host.
    pub connections_per_host: usize,
    /// Hosts that one fetch asks, the first ones of those that it is given.
    pub hosts_max: usize,
    /// Troubles of a host in a row, on one connection, after which it is dropped.
    pub attempts_max: u32,
    /// Pause after the first trouble; it doubles with each in a row.
    pub pause_min: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Most time for a connection.
    pub connect_timeout: Duration,
    /// Most time of an answer beside that for its bytes.
    pub answer_timeout: Duration,
    /// Least bytes per second; an answer of `n` bytes may take `answer_timeout + n / rate_min_bytes_per_s`.
    pub rate_min_bytes_per_s: u64,
    /// Most time for one fetch, if there is a limit; what was verified stays. A host sets one, so that a model whose hosts
    /// are slow does not keep it from all others.
    pub fetch_timeout: Option<Duration>,
    /// Whether hosts may have addresses that are not public, as on a development network.
    pub private_addresses: bool,
}

impl FetchConfig {
    /// For a network of strangers, where somebody waits for the model.
    #[must_use]
    pub fn public() -> Self {
        Self {
            connections: 4,
            connections_per_host: 2,
            hosts_max: 16,
            attempts_max: 4,
            pause_min: Duration::from_millis(200),
            pause_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(20),
            rate_min_bytes_per_s: 64 << 10,
            fetch_timeout: None,
            private_addresses: false,
        }
    }

    /// For a host that fetches one model after the other by itself.
    #[must_use]
    pub fn host() -> Self {
        Self { fetch_timeout: Some(Duration::from_secs(600)), ..Self::public() }
    }

    /// For hosts on this machine or in its network.
    #[must_use]
    pub fn local() -> Self {
        Self { private_addresses: true, ..Self::public() }
    }

    /// Checks that it can work.
    ///
    /// # Errors
    /// All faults.
    pub fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("connections", self.connections as u64),
            ("connections_per_host", self.connections_per_host as u64),
            ("hosts_max", self.hosts_max as u64),
            ("attempts_max", self.attempts_max.into()),
            ("connect_timeout", nanos(self.connect_timeout)),
            ("answer_timeout", nanos(self.answer_timeout)),
            ("rate_min_bytes_per_s", self.rate_min_bytes_per_s),
            ("fetch_timeout", self.fetch_timeout.map_or(1, nanos)),
        ];
        let mut faults = zeros(&counts);
        if self.pause_min > self.pause_max {
            faults.push(ConfigFault::Order { lower: "pause_min", upper: "pause_max" });
        }
        result(faults)
    }
}

/// How models are hosted.
#[derive(Debug, Clone)]
pub struct HostingConfig {
    /// Most bytes of models that are fetched to be hosted.
    pub quota_bytes: u64,
    /// Largest model that is fetched to be hosted.
    pub model_bytes_max: u64,
    /// Most answers in memory at the same time, each of about 4 MiB.
    pub answers_max: usize,
    /// Time after which an answer that was not taken is dropped.
    pub answer_timeout: Duration,
}

impl HostingConfig {
    /// With a quota, models up to that size, and 256 MiB for answers.
    #[must_use]
    pub fn with_quota(quota_bytes: u64) -> Self {
        Self {
            quota_bytes,
            model_bytes_max: quota_bytes,
            answers_max: 64,
            answer_timeout: Duration::from_secs(120),
        }
    }

    /// Checks that it can work. A quota of 0 can: nothing is fetched, own models are offered.
    ///
    /// # Errors
    /// All faults.
    pub fn check(&self) -> Result<(), ConfigError> {
        let counts =
            [("answers_max", self.answers_max as u64), ("answer_timeout", nanos(self.answer_timeout))];
        let mut faults = zeros(&counts);
        if self.model_bytes_max > self.quota_bytes {
            faults.push(ConfigFault::Order { lower: "model_bytes_max", upper: "quota_bytes" });
        }
        result(faults)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn zeros(counts: &[(&'static str, u64)]) -> Vec<ConfigFault> {
    let zero = counts.iter().filter(|(_, count)| *count == 0);
    zero.map(|(field, _)| ConfigFault::Zero { field }).collect()
}

fn result(faults: Vec<ConfigFault>) -> Result<(), ConfigError> {
    if faults.is_empty() { Ok(()) } else { Err(ConfigError(faults)) }
}
