use std::time::Duration;

use crate::ConfigFault;

/// How a gateway forwards to workers. [`ForwardConfig::default`] suits the public network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Whether workers may have addresses that are not public, as on networks for development.
    pub private_addresses: bool,
    /// Most requests at once that are forwarded; more are refused with 503.
    pub forwards_max: usize,
    /// Most questions at once that workers are asked about models and receipts. Requests do not wait for them.
    pub questions_max: usize,
    /// Most workers that are considered.
    pub workers_max: usize,
    /// Most workers that one request is sent to, one after the other. Those that say at once that they are busy do not count.
    pub attempts_max: usize,
    /// Longest time to connect to a worker.
    pub connect_timeout: Duration,
    /// Longest time for a question about a model or a receipt.
    pub question_timeout: Duration,
    /// Longest time from sending a request to a worker to the end of its answer. After it, the next one is tried.
    pub attempt_timeout: Duration,
    /// Longest time that all attempts take together, with that of the last one beyond it.
    pub total_timeout: Duration,
    /// Largest answer in bytes.
    pub answer_bytes_max: u64,
    /// Most bytes of all answers being received or passed on at once; at least `answer_bytes_max`.
    pub answers_bytes_max: u64,
    /// How long what the registry and the workers said is remembered.
    pub memory: Duration,
    /// How long what the registry said stands in while it does not answer.
    pub stale_max: Duration,
    /// How long a worker is put aside that answered wrongly.
    pub lie_pause: Duration,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            private_addresses: false,
            forwards_max: 128,
            questions_max: 64,
            workers_max: 1024,
            attempts_max: 4,
            connect_timeout: Duration::from_secs(5),
            question_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(120),
            answer_bytes_max: 256 << 20,
            answers_bytes_max: 1 << 30,
            memory: Duration::from_secs(5),
            stale_max: Duration::from_secs(600),
            lie_pause: Duration::from_secs(600),
        }
    }
}

impl ForwardConfig {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn faults(&self) -> Vec<ConfigFault> {
        let zeros = [
            ("forwards_max", self.forwards_max == 0),
            ("questions_max", self.questions_max == 0),
            ("workers_max", self.workers_max == 0),
            ("attempts_max", self.attempts_max == 0),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("question_timeout", self.question_timeout.is_zero()),
            ("attempt_timeout", self.attempt_timeout.is_zero()),
            ("total_timeout", self.total_timeout.is_zero()),
        ];
        let zeros = zeros.into_iter().filter(|(_, wrong)| *wrong);
        let mut faults: Vec<_> = zeros.map(|(field, _)| ConfigFault { field, rule: "more than 0" }).collect();
        if self.answers_bytes_max < self.answer_bytes_max {
            faults.push(ConfigFault { field: "answers_bytes_max", rule: "at least answer_bytes_max" });
        }
        if self.answers_bytes_max > 1 << 40 {
            faults.push(ConfigFault { field: "answers_bytes_max", rule: "at most 2^40" });
        }
        faults
    }
}
