//! A client of a Veracity server.

use std::{io::Read, time::Duration};

use ureq::{Agent, Body, http::Response};

use crate::{error::Failure, oip::Message};

const JSON_LENGTH: &str = "Inference-Header-Content-Length";
/// Most bytes of an answer or error that are read.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A server by its URL.
#[derive(Debug)]
pub(crate) struct Server {
    base: String,
    agent: Agent,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The response.
    pub(crate) response: Message,
    /// Id of the receipt.
    pub(crate) receipt_id: String,
}

impl Server {
    /// The server at a URL such as `http://node.example:8080`.
    ///
    /// # Errors
    /// `bad_url`.
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            let message = format!("'{url}' is not the URL of a server");
            return Err(Failure::input("bad_url", message, "begin with http:// or https://"));
        }
        let builder = Agent::config_builder();
        // What runs on this machine is not behind a proxy.
        let builder = if is_loopback(url) { builder.proxy(None) } else { builder };
        let agent = builder
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .timeout_per_write(Some(Duration::from_secs(60)))
            .build()
            .into();
        Ok(Self { base: url.trim_end_matches('/').to_owned(), agent })
    }

    /// The URL.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// Runs a model on the server.
    ///
    /// # Errors
    /// The server's refusal, or trouble on the way.
    pub(crate) fn infer(&self, model: &str, request: &Message) -> Result<Answer, Failure> {
        let mut call = self.agent.post(format!("{}/v2/models/{model}/infer", self.base));
        if let Some(length) = request.json_length {
            call = call.header(JSON_LENGTH, length.to_string());
        }
        let call = call.header("Content-Type", "application/octet-stream");
        let mut response = self.accept(call.send(&request.body[..]))?;
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let json_length = header(JSON_LENGTH).and_then(|n| n.parse().ok());
        let receipt_id = header("x-receipt-id");
        let body = read(&mut response)?;
        let receipt_id = receipt_id.ok_or_else(|| self.strange("an answer without a receipt"))?;
        Ok(Answer { response: Message { json_length, body }, receipt_id })
    }

    /// Bytes of a resource.
    ///
    /// # Errors
    /// As [`Server::infer`].
    pub(crate) fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        read(&mut self.accept(self.agent.get(format!("{}{path}", self.base)).call())?)
    }

    /// A resource as a stream, with its size if the server gives it.
    ///
    /// # Errors
    /// As [`Server::infer`].
    pub(crate) fn open(&self, path: &str) -> Result<(impl Read + use<>, Option<u64>), Failure> {
        let body = self.accept(self.agent.get(format!("{}{path}", self.base)).call())?.into_body();
        let size = body.content_length();
        Ok((body.into_with_config().limit(u64::MAX).reader(), size))
    }

    /// Sends bytes as a new resource; gives the server's answer.
    ///
    /// # Errors
    /// As [`Server::infer`].
    pub(crate) fn post(&self, path: &str, mut bytes: impl Read, size: u64) -> Result<Vec<u8>, Failure> {
        let call = self.agent.post(format!("{}{path}", self.base));
        let call = call
            .header("Content-Type", "application/octet-stream")
            .header("Content-Length", size.to_string());
        read(&mut self.accept(call.send(ureq::SendBody::from_reader(&mut bytes)))?)
    }

    /// Replaces a resource in JSON.
    ///
    /// # Errors
    /// As [`Server::infer`].
    pub(crate) fn put_json(&self, path: &str, json: &str) -> Result<(), Failure> {
        let call = self.agent.put(format!("{}{path}", self.base)).header("Content-Type", "application/json");
        self.accept(call.send(json)).map(|_| ())
    }

    /// An answer that is none of the server's refusals.
    fn accept(&self, result: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let mut response = result.map_err(|error| {
            let message = format!("{} cannot be reached: {error}", self.base);
            Failure::outside(
                "server_unreachable",
                message,
                "check the URL and that the server runs: veracity up",
            )
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = read(&mut response)?;
        let error: ServerError = serde_json::from_slice(&body).unwrap_or_default();
        let code = if error.code.is_empty() { "server_error".to_owned() } else { error.code };
        let message = format!("{} refuses ({status}): {}", self.base, crate::words::printable(&error.error));
        Err(match status.is_client_error() {
            true => Failure::input(code, message, "mend the request"),
            false => Failure::outside(code, message, "try again later"),
        })
    }

    /// A server that does not speak our protocol.
    pub(crate) fn strange(&self, what: &str) -> Failure {
        let message = format!("{} gave {what}", self.base);
        Failure::outside("server_strange", message, "check that it is a Veracity server of this version")
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or("", |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].into_iter().any(|prefix| host.starts_with(prefix))
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ServerError {
    error: String,
    code: String,
}

fn read(response: &mut Response<Body>) -> Result<Vec<u8>, Failure> {
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    body.map_err(|e| {
        Failure::outside("server_unreachable", format!("the answer broke off: {e}"), "try again")
    })
}
