//! One question to one worker. Nothing that it says is believed here.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::Semaphore;
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response},
};
use veracity_graph::ModelId;
use veracity_hosting::{Endpoint, is_private_address, stranger_agent};
use veracity_receipt::{RECEIPT_BYTES_MAX, ReceiptId};
use veracity_worker::Refusal;

use super::{ForwardConfig, fault::WorkerFault, refusal_of};
use crate::{
    base64,
    body::{BUDGET_UNIT_BYTES, Buffered},
    error::ApiError,
};

/// Says that whoever asks is a gateway, so that a worker that is one itself does not forward.
pub(crate) const HOP: &str = "x-veracity-hop";
const JSON_LENGTH: &str = "inference-header-content-length";
/// Longest description, list or refusal that is read.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Longest text of a refusal that is passed on.
const REFUSAL_CHARS_MAX: usize = 1000;
/// Most models that are taken from one worker's list.
const LISTED_MAX: usize = 256;

/// What a client asked, without HTTP around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) model: ModelId,
    pub(crate) json_length: Option<u64>,
    pub(crate) body: &'a [u8],
}

/// What a worker says to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Bytes, and what it calls a receipt.
    Answer { json_length: Option<u64>, body: Buffered, receipt: Vec<u8> },
    /// That the request is wrong, which nobody signs.
    Refusal { refusal: Refusal, text: String },
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum NoReply {
    /// The worker's fault.
    Worker(WorkerFault),
    /// Ours.
    Own(ApiError),
}

impl From<WorkerFault> for NoReply {
    fn from(fault: WorkerFault) -> Self {
        Self::Worker(fault)
    }
}

/// Asks workers. Connections are kept and used again. It follows no redirect and uses no proxy.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    config: ForwardConfig,
    /// Units of [`BUDGET_UNIT_BYTES`] left for answers in memory.
    answers: Arc<Semaphore>,
}

impl Client {
    pub(crate) fn new(config: ForwardConfig) -> Self {
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            // What is hashed are the bytes as they are sent.
            .accept_encoding("identity")
            .timeout_connect(Some(config.connect_timeout))
            .timeout_resolve(Some(config.connect_timeout))
            .max_idle_connections_per_host(config.forwards_max)
            .build();
        let units = usize::try_from(config.answers_bytes_max / BUDGET_UNIT_BYTES + 1).unwrap_or(usize::MAX);
        Self {
            agent: stranger_agent(settings, config.private_addresses),
            config,
            answers: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Sends a request on, byte for byte.
    pub(crate) fn infer(&self, endpoint: &Endpoint, asked: &Asked<'_>) -> Result<Reply, NoReply> {
        let Asked { name, model, json_length, body } = *asked;
        // By name and id: the name is what the receipt says, the id is what must run.
        let url = format!("{endpoint}/v2/models/{}/versions/{model}/infer", escape(name));
        let mut call = self.agent.post(url).header(HOP, "1").header("x-receipt", "inline");
        call = call.header("content-type", "application/octet-stream");
        if let Some(length) = json_length {
            call = call.header(JSON_LENGTH, length.to_string());
        }
        let call = call.config().timeout_global(Some(self.config.attempt_timeout)).build();
        let response = call.send(body).map_err(call_fault)?;
        if response.status().as_u16() != 200 {
            return Ok(refused(response)?);
        }
        let headers = response.headers();
        let json_length = number(headers, JSON_LENGTH)?;
        let receipt = headers.get("x-receipt").map(|text| base64::decode(text.as_bytes()));
        let receipt = receipt.ok_or(WorkerFault::NoReceipt)?.ok_or(WorkerFault::NoReceipt)?;
        let body = self.read_answer(response)?;
        Ok(Reply::Answer { json_length, body, receipt })
    }

    fn read_answer(&self, response: Response<Body>) -> Result<Buffered, NoReply> {
        let max = self.config.answer_bytes_max;
        let too_long = || NoReply::Worker(WorkerFault::TooLong { max });
        if response.body().content_length().is_some_and(|found| found > max) {
            return Err(too_long());
        }
        let mut reader = reader(response);
        let (mut buffered, mut piece) = (Buffered::default(), vec![0; 64 << 10]);
        loop {
            let n_bytes = reader.read(&mut piece).map_err(read_fault)?;
            if n_bytes == 0 {
                return Ok(buffered.finish());
            }
            if buffered.bytes.len().saturating_add(n_bytes) as u64 > max {
                return Err(too_long());
            }
            buffered.push(&piece[..n_bytes], &self.answers, "large answers").map_err(NoReply::Own)?;
        }
    }

    /// Asks whether a worker serves a model.
    pub(crate) fn serves(&self, endpoint: &Endpoint, model: &ModelId) -> Result<(), WorkerFault> {
        let response = self.get(&format!("{endpoint}/v2/models/{model}/ready"))?;
        match response.status().as_u16() {
            // Read, so that the connection can be used again.
            200 => read_text(response).map(drop),
            404 => read_text(response).and(Err(WorkerFault::NotServed)),
            status => Err(status_fault(status)),
        }
    }

    /// Inputs and outputs of a model, as a worker describes it.
    pub(crate) fn describe(
        &self,
        endpoint: &Endpoint,
        name: &str,
        model: &ModelId,
    ) -> Result<Value, WorkerFault> {
        let found = self.json(&format!("{endpoint}/v2/models/{}/versions/{model}", escape(name)))?;
        let fits = found["versions"] == serde_json::json!([model.to_string()]) && found["name"] == name;
        match fits && found["inputs"].is_array() && found["outputs"].is_array() {
            true => Ok(found),
            false => Err(WorkerFault::BadDescription),
        }
    }

    /// The models that a worker says it serves.
    pub(crate) fn models(&self, endpoint: &Endpoint) -> Result<Vec<ModelId>, WorkerFault> {
        let found = self.json(&format!("{endpoint}/v2/models"))?;
        let rows = found["models"].as_array().ok_or(WorkerFault::BadDescription)?;
        let ready = rows.iter().filter(|row| row["state"] == "READY").take(LISTED_MAX);
        let ids = ready.filter_map(|row| super::model_id(row["version"].as_str()?));
        Ok(ids.collect())
    }

    /// The bytes of what a worker calls a receipt.
    pub(crate) fn receipt(&self, endpoint: &Endpoint, id: &ReceiptId) -> Result<Vec<u8>, WorkerFault> {
        let response = self.get(&format!("{endpoint}/v1/receipts/{id}"))?;
        match response.status().as_u16() {
            200 => read_up_to(response, RECEIPT_BYTES_MAX as u64),
            status => Err(status_fault(status)),
        }
    }

    fn json(&self, url: &str) -> Result<Value, WorkerFault> {
        let response = self.get(url)?;
        match response.status().as_u16() {
            200 => serde_json::from_slice(&read_text(response)?).map_err(|_| WorkerFault::BadDescription),
            404 => Err(WorkerFault::NotServed),
            status => Err(status_fault(status)),
        }
    }

    fn get(&self, url: &str) -> Result<Response<Body>, WorkerFault> {
        let call = self.agent.get(url).header(HOP, "1");
        let call = call.config().timeout_global(Some(self.config.question_timeout)).build();
        call.call().map_err(call_fault)
    }
}

/// What an answer with another status than 200 says about the request.
fn refused(response: Response<Body>) -> Result<Reply, WorkerFault> {
    let status = response.status().as_u16();
    let text = read_text(response)?;
    let json: Value = serde_json::from_slice(&text).unwrap_or_default();
    let (code, text) = (json["code"].as_str().unwrap_or_default(), json["error"].as_str());
    if let Some(refusal) = refusal_of(code).filter(|refusal| refusal.status == status) {
        let text = text.unwrap_or(refusal.meaning).chars().take(REFUSAL_CHARS_MAX).collect();
        return Ok(Reply::Refusal { refusal, text });
    }
    Err(match status {
        // Only those are sent requests that said that they serve the model.
        404 => WorkerFault::Withdrawn,
        status => status_fault(status),
    })
}

fn status_fault(status: u16) -> WorkerFault {
    match status {
        503 => WorkerFault::Busy,
        status => WorkerFault::Status { status },
    }
}

fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, WorkerFault> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(Some).ok_or(WorkerFault::BadHeader { name })
}

/// The body, however long it is: whoever reads knows how much to read.
fn reader(response: Response<Body>) -> impl Read {
    response.into_body().into_with_config().limit(u64::MAX).reader()
}

fn read_text(response: Response<Body>) -> Result<Vec<u8>, WorkerFault> {
    read_up_to(response, TEXT_BYTES_MAX)
}

fn read_up_to(response: Response<Body>, max: u64) -> Result<Vec<u8>, WorkerFault> {
    let mut bytes = Vec::new();
    reader(response).take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(read_fault)?;
    match bytes.len() as u64 > max {
        true => Err(WorkerFault::TooLong { max }),
        false => Ok(bytes),
    }
}

fn call_fault(error: ureq::Error) -> WorkerFault {
    match error {
        ureq::Error::Timeout(_) => WorkerFault::TimedOut,
        error if is_private_address(&error) => WorkerFault::PrivateAddress,
        error => WorkerFault::Unreachable { reason: error.to_string() },
    }
}

fn read_fault(error: io::Error) -> WorkerFault {
    call_fault(error.into())
}

/// A name as one segment of a path (RFC 3986, section 2.3).
fn escape(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let part = |byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(part).collect()
}

/// What is left until `deadline`.
pub(crate) fn is_over(deadline: Instant) -> bool {
    deadline.saturating_duration_since(Instant::now()) == Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(escape("digits-cnn_1.0~x"), "digits-cnn_1.0~x");
        assert_eq!(escape("me/digits"), "me%2Fdigits");
        assert_eq!(escape("../a?b#c%d"), "..%2Fa%3Fb%23c%25d");
    }
}
