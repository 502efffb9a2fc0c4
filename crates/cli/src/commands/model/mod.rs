mod accuracy;
mod interface;
mod list;
mod remote;
mod show;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{args::Global, data, error::Failure, output::Output};

use interface::Tensor;

const EXAMPLES: &str = "\
Examples:
  veracity model ls
  veracity model show digits-cnn
  veracity model push digits-cnn http://node.example:8080
  veracity model pull http://node.example:8080 digits-cnn
  veracity model rm digits-cnn";

/// List, inspect, send, fetch and remove models.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// List the models of the store.
    Ls,
    /// Show where a model comes from, what it takes and gives, and how accurate it was measured.
    Show {
        /// Name, id, first 8 or more digits of an id, .vmodel file or folder.
        model: String,
    },
    /// Send a model to a server, which checks every hash.
    Push(remote::PushArgs),
    /// Fetch a model from a server and check every hash.
    Pull(remote::PullArgs),
    /// Remove a name, and its model if that was the last name; by id: the model with all its names.
    Rm {
        /// Name, id, or first 8 or more digits of an id.
        model: String,
    },
}

/// Runs `veracity model ..`.
pub(crate) fn execute(args: &ModelArgs, global: &Global, out: Output) -> Result<(), Failure> {
    match &args.command {
        ModelCommand::Ls => out.result(&list::list(global)?),
        ModelCommand::Show { model } => out.result(&show::show(model, global)?),
        ModelCommand::Push(args) => out.result(&remote::push(args, global, out)?),
        ModelCommand::Pull(args) => out.result(&remote::pull(args, global, out)?),
        ModelCommand::Rm { model } => out.result(&remove(model, global)?),
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Removed {
    /// None for a damaged name, which pointed at no model.
    model_id: Option<String>,
    names: Vec<String>,
    model_removed: bool,
}

impl std::fmt::Display for Removed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
        match (&self.model_id, self.model_removed) {
            (Some(id), true) => write!(f, "removed model {id} ({names})"),
            (Some(id), false) => write!(f, "removed name {names}; model {id} has other names and stays"),
            (None, _) => write!(f, "removed name {names}, which was damaged and pointed at no model"),
        }
    }
}

fn remove(reference: &str, global: &Global) -> Result<Removed, Failure> {
    let Some(store) = data::open_existing_store(global)? else {
        return Err(data::no_model(reference, global)?);
    };
    let removed = store.remove(reference).map_err(|e| data::store_failure(&e))?;
    Ok(Removed {
        model_id: removed.id.map(|id| id.to_string()),
        names: removed.names.iter().map(ToString::to_string).collect(),
        model_removed: removed.model,
    })
}
