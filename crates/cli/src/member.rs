//! A node that runs models, keeps them for others or forwards requests, as `up` and `node start` have it.

use std::{net::SocketAddr, sync::Arc};

use veracity_gateway::Config;
use veracity_hosting::NodeId;
use veracity_store::Store;

use crate::{
    error::Failure,
    hosting::{Host, HostArgs, Hosted},
    provider::{self, Joining, Provider, Role},
    server::Node,
};

/// What to run.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Models, receipts and the executor's key.
    pub(crate) store: &'a Arc<Store>,
    /// What this node does; nothing else of it runs.
    pub(crate) roles: &'a [Role],
    /// Where it listens; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// How it serves.
    pub(crate) config: Config,
    /// How it hosts.
    pub(crate) host: HostArgs,
}

/// A node that serves, on a network or not.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its server.
    pub(crate) node: Node,
    /// What it offers to other nodes, if it is a host.
    pub(crate) host: Option<Host>,
}

/// Its part in a network; goes on until [`Part::stop`].
#[derive(Debug)]
pub(crate) struct Part {
    /// What there is to say about it.
    pub(crate) provider: Provider,
    hosted: Option<Hosted>,
}

impl Member {
    /// Starts to serve.
    ///
    /// # Errors
    /// `port_taken`, `data_in_use`, and trouble with key, configuration and disk.
    pub(crate) fn start(plan: Plan<'_>) -> Result<Self, Failure> {
        let Plan { store, roles, listen, config, host } = plan;
        let host = roles.contains(&Role::Host).then(|| Host::open(store, host)).transpose()?;
        let config = Config { runs: roles.contains(&Role::Worker), ..config };
        let node = Node::start_with(store, config, listen, |gateway| match &host {
            Some(host) => host.beside(gateway),
            None => gateway,
        })?;
        Ok(Self { node, host })
    }

    /// Registers, and does on the network what its roles ask for.
    ///
    /// # Errors
    /// Those of [`provider::join`].
    pub(crate) fn take_part(&self, joining: Joining) -> Result<Part, Failure> {
        let (chain, operator) = (joining.chain.clone(), joining.operator.clone());
        let provider = provider::join(&self.node, joining)?;
        let id = NodeId(*self.node.executor.as_bytes());
        let start = |host: &Host| host.start(chain, operator, id);
        Ok(Part { provider, hosted: self.host.as_ref().map(start).transpose()? })
    }
}

impl Part {
    /// Ends it; the server goes on.
    pub(crate) fn stop(self) {
        drop(self.provider);
        self.hosted.into_iter().for_each(Hosted::stop);
    }
}
