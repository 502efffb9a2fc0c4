mod accuracy;
mod hosts;
mod interface;
mod list;
mod network;
mod obtain;
mod publish;
mod remote;
mod show;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{args::Global, data, error::Failure, output::Output};

use interface::Tensor;
pub(crate) use obtain::fetch;

const EXAMPLES: &str = "\
Examples:
  veracity model ls
  veracity model show digits-cnn
  veracity model push digits-cnn --wait
  veracity model hosts digits-cnn
  veracity model pull digits-cnn --rpc http://node.example:8545
  veracity model push digits-cnn http://node.example:8080
  veracity model pull http://node.example:8080 digits-cnn
  veracity model rm digits-cnn

Without a server, push and pull work with the network: push publishes a model in the registry of the chain, hosts \
fetch it from this node and announce that they have it, and pull fetches it from several hosts at the same time. No \
host is trusted: every byte is checked against the model id before it is kept, and a pull that was cut goes on where \
it ended.";

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
    /// Publish a model on the network, where hosts fetch it; or send it to a server.
    Push(PushArgs),
    /// Fetch a model from the hosts of the network, or from a server, and check every byte.
    Pull(PullArgs),
    /// Show which nodes host a model, and whether they answer.
    Hosts(hosts::HostsArgs),
    /// Remove a name, and its model if that was the last name; by id: the model with all its names.
    Rm {
        /// Name, id, or first 8 or more digits of an id.
        model: String,
    },
}

#[derive(Debug, Args)]
struct PushArgs {
    /// Name, id, or first 8 or more digits of an id; for a server also a .vmodel file or folder.
    model: String,
    /// URL of a server that the model is sent to, such as `http://node.example:8080` [default: the network].
    server: Option<String>,
    /// Name in the registry or on the server [default: the name here].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    publish: publish::PublishArgs,
}

#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
struct PullArgs {
    /// URL of a server that the model is fetched from, such as `http://node.example:8080` [default: the network].
    server: Option<String>,
    /// Name or id, in the registry or on the server. An id makes sure which model comes.
    model: String,
    /// Version of a name in the registry [default: what was published last].
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// Name here [default: the name there, its last part if it has several].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    network: network::NetworkArgs,
}

/// Runs `veracity model ..`.
pub(crate) fn execute(args: &ModelArgs, global: &Global, out: Output) -> Result<(), Failure> {
    match &args.command {
        ModelCommand::Ls => out.result(&list::list(global)?),
        ModelCommand::Show { model } => out.result(&show::show(model, global)?),
        ModelCommand::Push(args) => push(args, global, out)?,
        ModelCommand::Pull(args) => pull(args, global, out)?,
        ModelCommand::Hosts(args) => out.result(&hosts::hosts(args)?),
        ModelCommand::Rm { model } => out.result(&remove(model, global)?),
    }
    Ok(())
}

fn push(args: &PushArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let PushArgs { model, server, name, publish } = args;
    match server {
        Some(server) => out.result(&remote::push(model, server, name.as_deref(), global, out)?),
        None => out.result(&publish::push(model, name.as_deref(), publish, global, out)?),
    }
    Ok(())
}

fn pull(args: &PullArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let PullArgs { server, model, version, name, network } = args;
    let (version, name) = (version.as_deref(), name.as_deref());
    match server {
        Some(server) => out.result(&remote::pull(server, model, name, global, out)?),
        None => out.result(&obtain::obtain(&obtain::Wanted { model, version, name }, network, global, out)?),
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
