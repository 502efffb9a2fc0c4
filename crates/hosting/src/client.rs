//! One request to one host (`docs/spec/hosting.md`, section 2).

use std::{
    fmt,
    io::{self, BufReader, Read},
    ops::Range,
    str::FromStr,
    time::Duration,
};

use ureq::{
    Agent, Body,
    config::Config,
    http::{Response, Uri},
    unversioned::{resolver::DefaultResolver, transport::DefaultConnector},
};
use veracity_graph::{DecodeError, Manifest, ModelId};
use veracity_store::{PartName, Partial, ReceiveError, StoreError, encoded_bytes};

use crate::{
    ConfigError, EndpointError, Fault, FetchConfig, Host,
    address::{NotPublic, PublicOnly},
};

/// Longest manifest in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Where a host is reached: an `http` or `https` URL without user, query and fragment.
///
/// ```
/// use veracity_hosting::Endpoint;
/// assert_eq!("https://node.example:8443/".parse::<Endpoint>().unwrap().to_string(), "https://node.example:8443");
/// assert!("ftp://node.example".parse::<Endpoint>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(String);

impl Endpoint {
    /// Longest endpoint in bytes, as in the registry.
    pub const BYTES_MAX: usize = 256;
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() || text.len() > Self::BYTES_MAX {
            return Err(EndpointError::Length { max: Self::BYTES_MAX, found: text.len() });
        }
        let fault = |reason| Err(EndpointError::Url { text: text.to_owned(), reason });
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return fault("it has other characters than graphic ASCII");
        }
        let Ok(uri) = text.parse::<Uri>() else { return fault("it is no URL") };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return fault("its scheme is neither http nor https");
        }
        if uri.host().is_none_or(str::is_empty) {
            return fault("it has no host");
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return fault("it has a user");
        }
        if text.contains(['?', '#']) {
            return fault("it has a query or a fragment");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client for addresses that strangers named: unless `private_addresses`, those that are not public are refused after the
/// name is resolved ([`is_private_address`]), so nobody makes a node send requests into its own network.
#[must_use]
pub fn stranger_agent(settings: Config, private_addresses: bool) -> Agent {
    match private_addresses {
        true => Agent::with_parts(settings, DefaultConnector::default(), DefaultResolver::default()),
        false => Agent::with_parts(settings, DefaultConnector::default(), PublicOnly::default()),
    }
}

/// Whether a [`stranger_agent`] refused to connect because the address is not public.
#[must_use]
pub fn is_private_address(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Other(error) if error.is::<NotPublic>())
}

/// Asks hosts. Connections are kept and used again. It follows no redirect, uses no proxy and believes nothing.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    pub(crate) config: FetchConfig,
}

/// Why groups did not come.
#[derive(Debug)]
pub(crate) enum GroupsFault {
    /// The host's fault.
    Host(Fault),
    /// Our own disk.
    Store(StoreError),
}

impl Client {
    /// A client.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(config: FetchConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            // What is verified are the bytes as they are stored.
            .accept_encoding("identity")
            .timeout_connect(Some(config.connect_timeout))
            .timeout_resolve(Some(config.connect_timeout))
            .max_idle_connections_per_host(config.connections_per_host)
            .build();
        let agent = stranger_agent(settings, config.private_addresses);
        Ok(Self { agent, config })
    }

    /// The manifest of a model, checked against the id.
    ///
    /// # Errors
    /// What is wrong with the host.
    pub fn manifest(&self, endpoint: &Endpoint, id: &ModelId) -> Result<Manifest, Fault> {
        let url = format!("{endpoint}/hosting/v1/models/{id}/manifest");
        let response = self.get(&url, MANIFEST_BYTES_MAX)?;
        if let Some(found) = response.body().content_length().filter(|n| *n > MANIFEST_BYTES_MAX) {
            return Err(Fault::WrongLength { expected: MANIFEST_BYTES_MAX, found });
        }
        let mut bytes = Vec::new();
        reader(response).take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(read_fault)?;
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let manifest = Manifest::decode(&bytes).map_err(|error| match error {
            DecodeError::Truncated { .. } => Fault::Truncated,
            error => Fault::BadManifest(error),
        })?;
        match manifest.model_id() {
            found if found == *id => Ok(manifest),
            found => Err(Fault::WrongManifest { found }),
        }
    }

    /// Whether a host gives the manifest of a model now.
    #[must_use]
    pub fn answers(&self, host: &Host, id: &ModelId) -> bool {
        host.endpoint.parse().is_ok_and(|endpoint| self.manifest(&endpoint, id).is_ok())
    }

    /// Receives groups of a part, as [`PartialPart::receive`](veracity_store::PartialPart::receive) does.
    pub(crate) fn groups(
        &self,
        endpoint: &Endpoint,
        partial: &Partial<'_>,
        name: PartName,
        groups: &Range<u64>,
    ) -> (u64, Result<(), GroupsFault>) {
        let part = partial.part(name);
        let expected = encoded_bytes(part.size_bytes(), groups);
        let (first, count) = (groups.start, groups.end - groups.start);
        let url = format!("{endpoint}/hosting/v1/models/{}/{name}/{first}/{count}", partial.id());
        let response = match self.get(&url, expected) {
            Ok(response) => response,
            Err(fault) => return (0, Err(GroupsFault::Host(fault))),
        };
        if let Some(found) = response.body().content_length().filter(|found| *found != expected) {
            return (0, Err(GroupsFault::Host(Fault::WrongLength { expected, found })));
        }
        let (written, result) = part.receive(groups, BufReader::with_capacity(64 << 10, reader(response)));
        (written, result.map_err(|error| groups_fault(error, name)))
    }

    /// The answer to a request, if it is one of `size_bytes` at most.
    fn get(&self, url: &str, size_bytes: u64) -> Result<Response<Body>, Fault> {
        let nanos = u128::from(size_bytes) * 1_000_000_000 / u128::from(self.config.rate_min_bytes_per_s);
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let timeout = self.config.answer_timeout.saturating_add(time);
        let call = self.agent.get(url).config().timeout_global(Some(timeout)).build();
        let response = call.call().map_err(call_fault)?;
        match response.status().as_u16() {
            200 => Ok(response),
            status @ 300..400 => Err(Fault::Redirect { status }),
            status => Err(Fault::Refused { status }),
        }
    }
}

/// The body, however long it is: whoever reads knows how much to read.
fn reader(response: Response<Body>) -> impl Read {
    response.into_body().into_with_config().limit(u64::MAX).reader()
}

fn call_fault(error: ureq::Error) -> Fault {
    match error {
        ureq::Error::Timeout(_) => Fault::TooSlow,
        error if is_private_address(&error) => Fault::PrivateAddress,
        error => Fault::Unreachable { reason: error.to_string() },
    }
}

fn read_fault(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Truncated,
        _ => call_fault(error.into()),
    }
}

fn groups_fault(error: ReceiveError, part: PartName) -> GroupsFault {
    GroupsFault::Host(match error {
        ReceiveError::WrongBytes { offset } => Fault::WrongBytes { part, offset },
        ReceiveError::TooLong => Fault::TooLong,
        ReceiveError::Truncated { .. } => Fault::Truncated,
        ReceiveError::Source(error) => read_fault(error),
        ReceiveError::Store(error) => return GroupsFault::Store(error),
        error => Fault::Unreachable { reason: error.to_string() },
    })
}
