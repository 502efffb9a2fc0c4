use std::{net::SocketAddr, time::Duration};

/// What the server accepts, and how much it does for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names that a `Host` header may have beside `localhost` and addresses. While `listen` is a loopback address, others
    /// are refused (DNS rebinding); elsewhere they are refused if names are given.
    pub hosts: Vec<String>,
    /// Connections at once, HTTP and WebSocket together.
    pub connections_max: u32,
    /// Subscriptions of one connection.
    pub subscriptions_max: u32,
    /// Requests in a batch.
    pub batch_max: u32,
    /// Size of a request body or message, in bytes.
    pub request_bytes_max: u32,
    /// Size of an answer, in bytes.
    pub response_bytes_max: u32,
    /// Executions, traces and searches at once; others wait.
    pub executions_max: usize,
    /// Answers at once to those who follow this node; others wait.
    pub followers_max: usize,
    /// Gas of a call, an estimate or a traced call.
    pub call_gas_max: u64,
    /// Blocks that one search for logs covers.
    pub log_blocks_max: u64,
    /// Logs in one answer.
    pub logs_max: usize,
    /// Filters at once.
    pub filters_max: usize,
    /// How long a filter may be unused.
    pub filter_idle: Duration,
    /// Blocks of one `eth_feeHistory`.
    pub fee_blocks_max: u64,
    /// Storage slots of one `eth_getProof`.
    pub proof_slots_max: usize,
    /// Longest wait of `eth_sendRawTransactionSync`, which is also the default, in milliseconds.
    pub sync_wait_ms_max: u64,
    /// Tip that is suggested while no transaction has paid one, in wei per gas.
    pub tip_default_wei: u64,
}

impl Config {
    /// The usual limits, on this address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            hosts: vec![],
            connections_max: 512,
            subscriptions_max: 64,
            batch_max: 1000,
            request_bytes_max: 5 << 20,
            response_bytes_max: 32 << 20,
            executions_max: std::thread::available_parallelism().map_or(1, usize::from),
            followers_max: 16,
            call_gas_max: 50_000_000,
            log_blocks_max: 100_000,
            logs_max: 10_000,
            filters_max: 1024,
            filter_idle: Duration::from_secs(300),
            fee_blocks_max: 1024,
            proof_slots_max: 1024,
            sync_wait_ms_max: 30_000,
            tip_default_wei: 1_000_000,
        }
    }

    /// Checks that every limit leaves something to do.
    ///
    /// # Errors
    /// A [`ConfigError`] naming all that do not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let limits = [
            ("connections_max", u64::from(self.connections_max)),
            ("batch_max", self.batch_max.into()),
            ("request_bytes_max", self.request_bytes_max.into()),
            ("response_bytes_max", self.response_bytes_max.into()),
            ("executions_max", u64::try_from(self.executions_max).unwrap_or(u64::MAX)),
            ("followers_max", u64::try_from(self.followers_max).unwrap_or(u64::MAX)),
            ("call_gas_max", self.call_gas_max),
            ("log_blocks_max", self.log_blocks_max),
            ("logs_max", u64::try_from(self.logs_max).unwrap_or(u64::MAX)),
            ("fee_blocks_max", self.fee_blocks_max),
        ];
        let zero: Vec<_> =
            limits.into_iter().filter(|(_, limit)| *limit == 0).map(|(name, _)| name).collect();
        if zero.is_empty() { Ok(()) } else { Err(ConfigError { zero }) }
    }
}

/// Limits that leave nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} must be at least 1", zero.join(", "))]
pub struct ConfigError {
    /// Their names.
    pub zero: Vec<&'static str>,
}
