//! The system contracts, typed (`docs/spec/contracts.md`).

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::SolCall as _;

use crate::{Account, Chain, ClientError, Models, Outgoing, Parameters, Receipts, Sent, Stake};

/// Address of the contract Stake.
pub const STAKE: Address = address!("0000000000000000000000000000000000005e01");
/// Address of the contract Parameters.
pub const PARAMETERS: Address = address!("0000000000000000000000000000000000005e02");
/// Address of the contract Models.
pub const MODELS: Address = address!("0000000000000000000000000000000000005e03");
/// Address of the contract Receipts.
pub const RECEIPTS: Address = address!("0000000000000000000000000000000000005e04");

/// Roles of a node, as the contract writes them: a sum of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct RoleSet(pub u8);

impl RoleSet {
    /// Takes part in consensus.
    pub const VALIDATOR: Self = Self(1);
    /// Runs models and signs receipts.
    pub const WORKER: Self = Self(2);
    /// Keeps models for others.
    pub const HOST: Self = Self(4);
    /// Serves clients.
    pub const GATEWAY: Self = Self(8);

    /// The roles of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has all roles of `other`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Chain {
    /// Who takes part and with which money.
    #[must_use]
    pub fn stake(&self) -> StakeContract<'_> {
        StakeContract(self)
    }

    /// Which models exist.
    #[must_use]
    pub fn models(&self) -> ModelsContract<'_> {
        ModelsContract(self)
    }

    /// Which receipts are anchored.
    #[must_use]
    pub fn receipts(&self) -> ReceiptsContract<'_> {
        ReceiptsContract(self)
    }

    /// A parameter by its name, such as `hosts_per_model`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with `UnknownParameter`.
    pub fn parameter(&self, name: &str) -> Result<U256, ClientError> {
        let mut word = B256::ZERO;
        for (to, from) in word.0.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        self.read(PARAMETERS, &Parameters::getCall { name: word })
    }
}

/// The contract Stake. Functions that change something wait until the change is final; errors are those of
/// [`Chain::read`] and [`Chain::send`].
#[derive(Debug, Clone, Copy)]
pub struct StakeContract<'a>(&'a Chain);

#[expect(clippy::missing_errors_doc, reason = "said at the type")]
impl StakeContract<'_> {
    /// Registers a node whose key made `proof` over [`StakeContract::binding_message`]; the account becomes its operator
    /// for ever.
    pub fn register(
        &self,
        operator: &Account,
        node: B256,
        roles: RoleSet,
        endpoint: &str,
        proof: [u8; 64],
        bond: U256,
    ) -> Result<Sent, ClientError> {
        let (endpoint, proof) = (endpoint.to_owned(), Bytes::copy_from_slice(&proof));
        let call = Stake::registerCall { nodeId: node, roles: roles.0, endpoint, proof };
        self.0.send(operator, STAKE, &call, bond)
    }

    /// Adds to the bond of a node.
    pub fn bond(&self, operator: &Account, node: B256, amount: U256) -> Result<Sent, ClientError> {
        self.0.send(operator, STAKE, &Stake::bondCall { nodeId: node }, amount)
    }

    /// Makes a node that has the role of a validator a candidate again, after others took its place.
    pub fn stand(&self, operator: &Account, node: B256) -> Result<Sent, ClientError> {
        self.0.send(operator, STAKE, &Stake::standCall { nodeId: node }, U256::ZERO)
    }

    /// Takes from the bond of a node what its roles do not need; it can be withdrawn after a delay.
    pub fn unbond(&self, operator: &Account, node: B256, amount: U256) -> Result<Sent, ClientError> {
        self.0.send(operator, STAKE, &Stake::unbondCall { nodeId: node, amount }, U256::ZERO)
    }

    /// Pays what was taken from the bond of a node and has waited for long enough.
    pub fn withdraw(&self, operator: &Account, node: B256, to: Address) -> Result<Sent, ClientError> {
        self.0.send(operator, STAKE, &Stake::withdrawCall { nodeId: node, to }, U256::ZERO)
    }

    /// What was taken from the bond of a node, oldest first: how much in wei, and from when on it can be withdrawn.
    pub fn unbondings(&self, node: B256) -> Result<Vec<(u128, u64)>, ClientError> {
        let list = self.0.read(STAKE, &Stake::unbondingsOfCall { nodeId: node })?;
        Ok(list.into_iter().map(|one| (one.amount, one.readyAt)).collect())
    }

    /// Those who would be elected now, highest bond first, with their bonds in wei.
    pub fn validators(&self, count_max: u64) -> Result<Vec<(B256, U256)>, ClientError> {
        let elected = self.0.read(STAKE, &Stake::validatorsCall { max: U256::from(count_max) })?;
        Ok(elected.ids.into_iter().zip(elected.bonds).collect())
    }

    /// Changes the roles of a node; none leaves.
    pub fn set_roles(&self, operator: &Account, node: B256, roles: RoleSet) -> Result<Sent, ClientError> {
        self.0.send(operator, STAKE, &Stake::setRolesCall { nodeId: node, roles: roles.0 }, U256::ZERO)
    }

    /// Changes where a node is reached.
    pub fn set_endpoint(&self, operator: &Account, node: B256, endpoint: &str) -> Result<Sent, ClientError> {
        let call = Stake::setEndpointCall { nodeId: node, endpoint: endpoint.to_owned() };
        self.0.send(operator, STAKE, &call, U256::ZERO)
    }

    /// A node; nothing if it is not registered.
    pub fn node(&self, node: B256) -> Result<Option<Stake::NodeInfo>, ClientError> {
        match self.0.read(STAKE, &Stake::nodeCall { nodeId: node }) {
            Err(ClientError::Refused(refusal)) if refusal.decode::<Stake::UnknownNode>().is_some() => {
                Ok(None)
            }
            info => info.map(Some),
        }
    }

    /// Whether a node offers all these roles with enough bond.
    pub fn has_role(&self, node: B256, roles: RoleSet) -> Result<bool, ClientError> {
        self.0.read(STAKE, &Stake::hasRoleCall { nodeId: node, roles: roles.0 })
    }

    /// Whether a node offers or still answers for all these roles.
    pub fn is_bonded(&self, node: B256, roles: RoleSet) -> Result<bool, ClientError> {
        self.0.read(STAKE, &Stake::isBondedCall { nodeId: node, roles: roles.0 })
    }

    /// The bond that these roles need together, in wei.
    pub fn required_bond(&self, roles: RoleSet) -> Result<U256, ClientError> {
        self.0.read(STAKE, &Stake::requiredBondCall { roles: roles.0 })
    }

    /// What the key of a node signs so that this operator may register it.
    pub fn binding_message(&self, operator: Address) -> Result<Bytes, ClientError> {
        self.0.read(STAKE, &Stake::bindingMessageCall { operator })
    }

    /// Number of nodes ever registered.
    pub fn node_count(&self) -> Result<u64, ClientError> {
        Ok(saturating(self.0.read(STAKE, &Stake::nodeCountCall {})?))
    }

    /// Up to 256 nodes from `offset` on, in order of registration.
    pub fn nodes(&self, offset: u64, count: u64) -> Result<Vec<B256>, ClientError> {
        let (offset, count) = (U256::from(offset), U256::from(count));
        self.0.read(STAKE, &Stake::nodePageCall { offset, count })
    }
}

/// What is published about a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The model.
    pub model: B256,
    /// Name that it is published under.
    pub name: String,
    /// Version of that name.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// Bytes of graph and weights.
    pub size_bytes: u64,
    /// Root that the manifest is fetched by.
    pub manifest_root: B256,
    /// Wei for each request.
    pub price_per_request: u128,
    /// Wei for each million multiply-accumulates.
    pub price_per_mega_mac: u128,
}

/// The contract Models; errors as for [`StakeContract`].
#[derive(Debug, Clone, Copy)]
pub struct ModelsContract<'a>(&'a Chain);

#[expect(clippy::missing_errors_doc, reason = "said at the type")]
impl ModelsContract<'_> {
    /// Publishes a version of a name, which belongs to the account from then on if it was free.
    pub fn publish(&self, owner: &Account, publication: &Publication) -> Result<Sent, ClientError> {
        let call = Models::publishCall {
            modelId: publication.model,
            name: publication.name.clone(),
            version: publication.version.clone(),
            licence: publication.licence.clone(),
            sizeBytes: publication.size_bytes,
            manifestRoot: publication.manifest_root,
            pricePerRequest: publication.price_per_request,
            pricePerMegaMac: publication.price_per_mega_mac,
        };
        self.0.send(owner, MODELS, &call, U256::ZERO)
    }

    /// The model that was published last under a name, or as this version of it; nothing if there is none.
    pub fn resolve(&self, name: &str, version: Option<&str>) -> Result<Option<B256>, ClientError> {
        let name = name.to_owned();
        let found = match version {
            None => self.0.read(MODELS, &Models::resolve_0Call { name }),
            Some(version) => {
                self.0.read(MODELS, &Models::resolve_1Call { name, version: version.to_owned() })
            }
        };
        match found {
            Err(ClientError::Refused(refusal))
                if matches!(refusal.name(), Some("UnknownName" | "UnknownVersion")) =>
            {
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// What is known about a model; nothing if it is not published.
    pub fn model(&self, model: B256) -> Result<Option<Models::ModelInfo>, ClientError> {
        match self.0.read(MODELS, &Models::modelCall { modelId: model }) {
            Err(ClientError::Refused(refusal)) if refusal.decode::<Models::UnknownModel>().is_some() => {
                Ok(None)
            }
            info => info.map(Some),
        }
    }

    /// Number of models.
    pub fn model_count(&self) -> Result<u64, ClientError> {
        Ok(saturating(self.0.read(MODELS, &Models::modelCountCall {})?))
    }

    /// Up to 256 models from `offset` on, oldest first.
    pub fn models(&self, offset: u64, count: u64) -> Result<Vec<B256>, ClientError> {
        let (offset, count) = (U256::from(offset), U256::from(count));
        self.0.read(MODELS, &Models::modelPageCall { offset, count })
    }

    /// Up to 256 nodes that announce a model, from `offset` on, and whether each is still a bonded host.
    pub fn hosts(&self, model: B256, offset: u64, count: u64) -> Result<Vec<(B256, bool)>, ClientError> {
        let (offset, count) = (U256::from(offset), U256::from(count));
        let found = self.0.read(MODELS, &Models::hostsCall { modelId: model, offset, count })?;
        Ok(found.nodeIds.into_iter().zip(found.good).collect())
    }

    /// Says that a node hosts a model.
    pub fn announce(&self, operator: &Account, model: B256, node: B256) -> Result<Sent, ClientError> {
        self.0.send(operator, MODELS, &Models::announceCall { modelId: model, nodeId: node }, U256::ZERO)
    }

    /// Says that a node hosts a model no more.
    pub fn retract(&self, operator: &Account, model: B256, node: B256) -> Result<Sent, ClientError> {
        self.0.send(operator, MODELS, &Models::retractCall { modelId: model, nodeId: node }, U256::ZERO)
    }
}

/// The contract Receipts; errors as for [`StakeContract`].
#[derive(Debug, Clone, Copy)]
pub struct ReceiptsContract<'a>(&'a Chain);

#[expect(clippy::missing_errors_doc, reason = "said at the type")]
impl ReceiptsContract<'_> {
    /// The sequence that the next batch of an executor begins with.
    pub fn next_sequence(&self, executor: B256) -> Result<u64, ClientError> {
        self.0.read(RECEIPTS, &Receipts::nextSequenceCall { nodeId: executor })
    }

    /// Number of batches that an executor has anchored.
    pub fn batch_count(&self, executor: B256) -> Result<u64, ClientError> {
        Ok(saturating(self.0.read(RECEIPTS, &Receipts::batchCountCall { nodeId: executor })?))
    }

    /// A batch by its number.
    pub fn batch(&self, executor: B256, batch: u64) -> Result<Receipts::Batch, ClientError> {
        self.0.read(RECEIPTS, &Receipts::batchAtCall { nodeId: executor, batch: U256::from(batch) })
    }

    /// Anchors the receipts `first` to `first + count - 1` by the root over their ids.
    pub fn anchor(
        &self,
        operator: &Account,
        executor: B256,
        first: u64,
        count: u32,
        root: B256,
    ) -> Result<Sent, ClientError> {
        let mut outgoing = self.prepare_anchor(operator, executor, first, count, root)?;
        self.0.settle(operator, &mut outgoing)
    }

    /// Makes the transaction of [`ReceiptsContract::anchor`] and does not send it.
    pub fn prepare_anchor(
        &self,
        operator: &Account,
        executor: B256,
        first: u64,
        count: u32,
        root: B256,
    ) -> Result<Outgoing, ClientError> {
        let call = Receipts::anchorCall { nodeId: executor, first, count, root };
        self.0.prepare(operator, RECEIPTS, call.abi_encode().into(), U256::ZERO)
    }
}

/// Counts are far below the limit.
fn saturating(value: U256) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
