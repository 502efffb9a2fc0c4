use std::{
    fmt::Write as _,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Numbers about the gateway. Labels are bounded: route names, statuses and outcomes.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
    pub(crate) in_flight: Gauge,
    pub(crate) samples: Counter,
    pub(crate) request_bytes: Counter,
    pub(crate) response_bytes: Counter,
    pub(crate) run_seconds: Counter<f64, AtomicU64>,
    attempts: Family<OutcomeLabels, Counter>,
    pub(crate) forward_seconds: Histogram,
    gauges: [Gauge<u64, AtomicU64>; 8],
}

/// Values that are looked up when somebody asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sampled {
    pub(crate) models: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) loaded_models: u64,
    pub(crate) loaded_bytes: u64,
    pub(crate) receipts: u64,
    pub(crate) bodies_bytes: u64,
    pub(crate) workers: u64,
    pub(crate) workers_aside: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// From 0.1 ms to 25 s.
const BUCKETS: [f64; 12] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0, 5.0, 25.0];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("veracity");
        let requests = Family::default();
        registry.register("requests", "Requests by route and status", requests.clone());
        let seconds = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register(
            "request_seconds",
            "Time from the first byte of the request to the answer",
            seconds.clone(),
        );
        let in_flight = Gauge::default();
        registry.register("requests_in_flight", "Requests being served", in_flight.clone());
        let mut counter = |name, help| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let samples = counter("samples", "Samples answered");
        let request_bytes = counter("request_body_bytes", "Bytes of inference requests answered");
        let response_bytes = counter("response_body_bytes", "Bytes of inference responses");
        let run_seconds: Counter<f64, AtomicU64> = Counter::default();
        registry.register("run_seconds", "Time spent in inference jobs", run_seconds.clone());
        let attempts = Family::default();
        registry.register("forward_attempts", "Requests sent to workers, by outcome", attempts.clone());
        let forward_seconds = Histogram::new(BUCKETS);
        registry.register(
            "forward_seconds",
            "Time of a worker's answer, checks included",
            forward_seconds.clone(),
        );
        let gauges = [
            ("models", "Models in the store"),
            ("stored_bytes", "Bytes of the models in the store"),
            ("loaded_models", "Models in memory"),
            ("loaded_bytes", "Memory that these models take, about"),
            ("receipts", "Receipts kept"),
            ("bodies_bytes", "Memory of request bodies being read or run"),
            ("workers", "Workers that requests may be forwarded to"),
            ("workers_aside", "Of them, those that answered wrongly or are in trouble"),
        ]
        .map(|(name, help)| {
            let gauge = Gauge::<u64, AtomicU64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        });
        Self {
            registry,
            requests,
            seconds,
            in_flight,
            samples,
            request_bytes,
            response_bytes,
            run_seconds,
            attempts,
            forward_seconds,
            gauges,
        }
    }

    pub(crate) fn observe(&self, route: &'static str, status: u16, elapsed: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
        self.seconds.get_or_create(&RouteLabels { route }).observe(elapsed.as_secs_f64());
    }

    /// Counts a request that was sent to a worker.
    pub(crate) fn attempt(&self, outcome: &'static str) {
        self.attempts.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn text(&self, sampled: Sampled) -> String {
        let Sampled { models, stored_bytes, loaded_models, loaded_bytes, receipts, .. } = sampled;
        let Sampled { bodies_bytes, workers, workers_aside, .. } = sampled;
        let values = [
            models,
            stored_bytes,
            loaded_models,
            loaded_bytes,
            receipts,
            bodies_bytes,
            workers,
            workers_aside,
        ];
        for (gauge, value) in self.gauges.iter().zip(values) {
            gauge.set(value);
        }
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# the encoder failed");
        }
        text
    }
}

/// Counts a request as in flight until dropped, also if the client goes away.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Metrics, pub(crate) Instant);

impl<'a> InFlight<'a> {
    pub(crate) fn new(metrics: &'a Metrics) -> Self {
        metrics.in_flight.inc();
        Self(metrics, Instant::now())
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
