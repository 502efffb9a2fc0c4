//! The chain's registry, as the gateway asks for it.

use veracity_client::Chain;
use veracity_gateway::{Directory, DirectoryError, WorkerEntry};
use veracity_graph::ModelId;
use veracity_hosting::{Registry as _, RegistryError};
use veracity_provider::ChainRegistry;
use veracity_receipt::ExecutorId;

/// The registry behind the JSON-RPC of a node, which is believed.
#[derive(Debug)]
pub(crate) struct ChainDirectory(ChainRegistry);

impl ChainDirectory {
    pub(crate) fn new(chain: Chain) -> Self {
        Self(ChainRegistry::of_reader(chain))
    }
}

impl Directory for ChainDirectory {
    fn resolve(&self, name: &str) -> Result<Option<ModelId>, DirectoryError> {
        match self.0.resolve(name, None) {
            Err(RegistryError::UnknownName { .. }) => Ok(None),
            found => found.map(Some).map_err(unavailable),
        }
    }

    fn published_names(&self, ids: &[ModelId]) -> Result<Vec<Option<String>>, DirectoryError> {
        self.0.published_names(ids).map_err(unavailable)
    }

    fn workers(&self, count_max: usize) -> Result<Vec<WorkerEntry>, DirectoryError> {
        let found = self.0.workers(count_max).map_err(unavailable)?;
        let entry = |host: veracity_hosting::Host| WorkerEntry {
            executor: ExecutorId::from_bytes(host.node.0),
            endpoint: host.endpoint,
        };
        Ok(found.into_iter().map(entry).collect())
    }
}

fn unavailable(error: RegistryError) -> DirectoryError {
    DirectoryError(Box::new(error))
}
