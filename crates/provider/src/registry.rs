//! The registry of models as the chain has it (`docs/spec/contracts.md`, sections 3 to 5), for hosting.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::{Address, B256};
use veracity_client::{Account, Chain, ClientError, MODELS, Models, RoleSet, STAKE, Stake};
use veracity_graph::{Digest, Manifest, ModelId};
use veracity_hosting::{Host, NodeId, Published, Registry, RegistryError, ranking};

use crate::many::read_many;

/// Entries of a page, the most that the contracts give.
const PAGE: u64 = 256;

/// The registry on a chain, as one node sees it. It reads the latest final state. The one thing that it remembers is what
/// never changes: sizes and names of published models.
#[derive(Debug)]
pub struct ChainRegistry {
    chain: Chain,
    /// Who announces for which node; none where nothing is announced.
    host: Option<(Account, NodeId)>,
    known: Mutex<HashMap<ModelId, Known>>,
}

/// What never changes about a published model.
#[derive(Debug, Clone)]
struct Known {
    size_bytes: u64,
    name: String,
}

/// Where a model should be and is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// How many hosts it should have.
    pub hosts_per_model: usize,
    /// All nodes that announce it, and those that should, the nearest to the model first.
    pub nodes: Vec<PlacedHost>,
}

/// A node of a [`Placement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedHost {
    /// The node, and where it says that it is reached.
    pub host: Host,
    /// Candidates that are nearer to the model. Below `hosts_per_model` it is the node's duty to hold it.
    pub rank: usize,
    /// Whether it announces the model.
    pub announced: bool,
}

impl Placement {
    /// Bonded hosts that announce the model.
    #[must_use]
    pub fn n_announced(&self) -> usize {
        self.nodes.iter().filter(|node| node.announced).count()
    }
}

impl ChainRegistry {
    /// The registry for a host: `operator` pays for what `node` announces.
    #[must_use]
    pub fn of_host(chain: Chain, operator: Account, node: NodeId) -> Self {
        Self { chain, host: Some((operator, node)), known: Mutex::default() }
    }

    /// The registry for somebody who announces nothing.
    #[must_use]
    pub fn of_reader(chain: Chain) -> Self {
        Self { chain, host: None, known: Mutex::default() }
    }

    /// Where a model should be and is.
    ///
    /// # Errors
    /// [`RegistryError::UnknownModel`], [`RegistryError::Unavailable`].
    pub fn placement(&self, id: &ModelId) -> Result<Placement, RegistryError> {
        self.model(id)?;
        let hosts_per_model = self.hosts_per_model()?;
        let ranked = ranking(id, &self.candidates()?);
        let announced: BTreeSet<NodeId> = self.announced(id)?.into_iter().collect();
        let listed = ranked.iter().enumerate();
        let listed: Vec<(usize, NodeId)> = listed
            .filter(|(rank, node)| *rank < hosts_per_model || announced.contains(node))
            .map(|(rank, node)| (rank, *node))
            .collect();
        let hosts = self.reached(listed.iter().map(|(_, node)| *node))?;
        let nodes = listed.iter().zip(hosts).map(|((rank, node), host)| PlacedHost {
            host,
            rank: *rank,
            announced: announced.contains(node),
        });
        Ok(Placement { hosts_per_model, nodes: nodes.collect() })
    }

    /// Bonded nodes that offer these roles, in order of registration, at most so many.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub fn bonded(&self, roles: RoleSet, count_max: usize) -> Result<Vec<NodeId>, RegistryError> {
        let (mut bonded, mut offset) = (Vec::new(), 0);
        while bonded.len() < count_max {
            let page = self.chain.stake().nodes(offset, PAGE).map_err(unavailable)?;
            let roles = roles.0;
            let calls: Vec<_> = page.iter().map(|node| Stake::hasRoleCall { nodeId: *node, roles }).collect();
            let good = read_many(&self.chain, STAKE, &calls).map_err(unavailable)?;
            let good = page.iter().zip(good).filter(|(_, good)| *good == Some(true));
            bonded.extend(good.map(|(node, _)| NodeId(node.0)));
            offset += PAGE;
            if (page.len() as u64) < PAGE {
                break;
            }
        }
        bonded.truncate(count_max);
        Ok(bonded)
    }

    /// Bonded workers with their endpoints, at most so many.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub fn workers(&self, count_max: usize) -> Result<Vec<Host>, RegistryError> {
        self.reached(self.bonded(RoleSet::WORKER, count_max)?)
    }

    /// The names under which models were published; none for those that were not.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub fn published_names(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, RegistryError> {
        self.look_up(ids)?;
        let known = self.known();
        Ok(ids.iter().map(|id| known.get(id).map(|known| known.name.clone())).collect())
    }

    /// Bonded hosts that announce a model, each once.
    fn announced(&self, id: &ModelId) -> Result<Vec<NodeId>, RegistryError> {
        let (mut nodes, mut offset) = (BTreeSet::new(), 0);
        loop {
            let page = self.chain.models().hosts(model_word(id), offset, PAGE).map_err(unavailable)?;
            nodes.extend(page.iter().filter(|(_, good)| *good).map(|(node, _)| NodeId(node.0)));
            offset += PAGE;
            if (page.len() as u64) < PAGE {
                return Ok(nodes.into_iter().collect());
            }
        }
    }

    /// Nodes with their endpoints.
    fn reached(&self, nodes: impl IntoIterator<Item = NodeId>) -> Result<Vec<Host>, RegistryError> {
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        let calls: Vec<_> =
            nodes.iter().map(|node| Stake::endpointOfCall { nodeId: node.0.into() }).collect();
        let endpoints = read_many(&self.chain, STAKE, &calls).map_err(unavailable)?;
        let hosts = nodes.into_iter().zip(endpoints);
        Ok(hosts.map(|(node, endpoint)| Host { node, endpoint: endpoint.unwrap_or_default() }).collect())
    }

    /// What is published about these models; what is known already is not asked for. Models that are not published are left
    /// out.
    fn published(&self, ids: &[ModelId]) -> Result<Vec<Published>, RegistryError> {
        self.look_up(ids)?;
        let owned = self.owned_names(ids)?;
        let known = self.known();
        let published = ids.iter().filter_map(|id| {
            let Known { size_bytes, name } = known.get(id)?;
            Some(Published { id: *id, size_bytes: *size_bytes, own: owned.contains(name) })
        });
        Ok(published.collect())
    }

    /// Learns what never changes about these models.
    fn look_up(&self, ids: &[ModelId]) -> Result<(), RegistryError> {
        let unknown: Vec<ModelId> = {
            let known = self.known();
            ids.iter().filter(|id| !known.contains_key(id)).copied().collect()
        };
        let calls: Vec<_> = unknown.iter().map(|id| Models::modelCall { modelId: model_word(id) }).collect();
        let found = read_many(&self.chain, MODELS, &calls).map_err(unavailable)?;
        let found = unknown.into_iter().zip(found);
        let found = found.filter_map(|(id, info)| {
            let Models::ModelInfo { sizeBytes: size_bytes, name, .. } = info?;
            Some((id, Known { size_bytes, name }))
        });
        self.known().extend(found);
        Ok(())
    }

    /// Those of the names of these models that belong to the operator now; a name may change hands.
    fn owned_names(&self, ids: &[ModelId]) -> Result<BTreeSet<String>, RegistryError> {
        let Some((operator, _)) = &self.host else { return Ok(BTreeSet::new()) };
        let names: BTreeSet<String> = {
            let known = self.known();
            ids.iter().filter_map(|id| Some(known.get(id)?.name.clone())).collect()
        };
        let calls: Vec<_> = names.iter().map(|name| Models::ownerOfCall { name: name.clone() }).collect();
        let owners: Vec<Option<Address>> = read_many(&self.chain, MODELS, &calls).map_err(unavailable)?;
        let owned = names.into_iter().zip(owners).filter(|(_, owner)| *owner == Some(operator.address()));
        Ok(owned.map(|(name, _)| name).collect())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ModelId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for ChainRegistry {
    fn resolve(&self, name: &str, version: Option<&str>) -> Result<ModelId, RegistryError> {
        let found = self.chain.models().resolve(name, version).map_err(unavailable)?;
        let full = || version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"));
        found.map(model_id).ok_or_else(|| RegistryError::UnknownName { name: full() })
    }

    fn model(&self, id: &ModelId) -> Result<Published, RegistryError> {
        let found = self.published(std::slice::from_ref(id))?;
        found.first().copied().ok_or(RegistryError::UnknownModel { id: *id })
    }

    fn models(&self, offset: u64, count: usize) -> Result<Vec<Published>, RegistryError> {
        let count = u64::try_from(count).unwrap_or(u64::MAX).min(PAGE);
        let ids = self.chain.models().models(offset, count).map_err(unavailable)?;
        self.published(&ids.into_iter().map(model_id).collect::<Vec<_>>())
    }

    fn hosts(&self, id: &ModelId) -> Result<Vec<Host>, RegistryError> {
        let announced = self.announced(id)?;
        self.reached(announced)
    }

    fn candidates(&self) -> Result<Vec<NodeId>, RegistryError> {
        self.bonded(RoleSet::HOST, usize::MAX)
    }

    fn hosts_per_model(&self) -> Result<usize, RegistryError> {
        let k = self.chain.parameter("hosts_per_model").map_err(unavailable)?;
        Ok(usize::try_from(k).unwrap_or(usize::MAX))
    }

    fn announce(&self, id: &ModelId) -> Result<(), RegistryError> {
        let Some((operator, node)) = &self.host else { return Err(RegistryError::ReadOnly) };
        let sent = self.chain.models().announce(operator, model_word(id), node.0.into());
        match sent {
            Err(ClientError::Refused(refusal)) if refusal.decode::<Models::UnknownModel>().is_some() => {
                Err(RegistryError::UnknownModel { id: *id })
            }
            sent => said_before(sent, "AlreadyAnnounced"),
        }
    }

    fn retract(&self, id: &ModelId) -> Result<(), RegistryError> {
        let Some((operator, node)) = &self.host else { return Err(RegistryError::ReadOnly) };
        let sent = self.chain.models().retract(operator, model_word(id), node.0.into());
        said_before(sent, "NotAnnounced")
    }
}

/// What was said before need not be said again.
fn said_before<T>(sent: Result<T, ClientError>, refusal_name: &str) -> Result<(), RegistryError> {
    match sent {
        Err(ClientError::Refused(refusal)) if refusal.name() == Some(refusal_name) => Ok(()),
        sent => sent.map(drop).map_err(unavailable),
    }
}

fn unavailable(error: ClientError) -> RegistryError {
    RegistryError::Unavailable(Box::new(error))
}

/// A model id as the contracts write it.
#[must_use]
pub fn model_word(id: &ModelId) -> B256 {
    id.0.0.into()
}

fn model_id(word: B256) -> ModelId {
    ModelId(Digest(word.0))
}

/// What the contract Models calls `manifestRoot`: the BLAKE3 hash of the manifest's bytes (`docs/spec/model.md`, section 5).
#[must_use]
pub fn manifest_root(manifest: &Manifest) -> B256 {
    Digest::of(&manifest.encode()).0.into()
}
