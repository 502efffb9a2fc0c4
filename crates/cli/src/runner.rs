//! The engine, as the command line asks for it.

use std::str::FromStr;

use clap::Args;
use veracity_engine::Options;
use veracity_graph::Bundle;
use veracity_kernels::Isa;
use veracity_worker::{LoadError, LoadedModel};

use crate::{error::Failure, models};

/// How to run models. Never changes a result.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct EngineArgs {
    /// Instruction set: scalar, avx2 or avx512 [default: the fastest of this processor]. Never changes a result.
    #[arg(long, value_name = "ISA", value_parser = Isa::from_str)]
    isa: Option<Isa>,
    /// Number of threads; 0 for one per core. Never changes a result.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: u16,
}

impl EngineArgs {
    /// The engine's options.
    pub(crate) fn options(self) -> Options {
        Options { isa: self.isa, threads: usize::from(self.threads), ..Options::default() }
    }

    /// Checks a model and makes it ready.
    ///
    /// # Errors
    /// `model_damaged` if it is not a valid model, `threads` if the system gives none.
    pub(crate) fn load(self, bundle: Bundle) -> Result<LoadedModel, Failure> {
        LoadedModel::load(bundle, &self.options()).map_err(|error| match error {
            LoadError::Engine(veracity_engine::LoadError::Threads { .. }) => {
                Failure::outside("threads", error, "try again with fewer --threads")
            }
            _ => models::damaged(&error),
        })
    }
}
