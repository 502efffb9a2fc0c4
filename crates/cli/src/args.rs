//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{completions, demo, doctor, import, model, run, up, verify};

const EXAMPLES: &str = "\
First steps:
  veracity demo                                     see everything once, in seconds
  veracity import net.onnx --samples data.npz       turn an ONNX file into a model
  veracity run net --input x.npz --receipt r.cose   run it, get a receipt
  veracity verify r.cose                            run it again, compare every bit
  veracity up                                       serve models over HTTP

Exit status: 0 success, 1 not verified (or a doctor's FAIL), 2 bad input or usage, \
3 trouble outside (disk, network, port): try again.";

/// Host, run and verify AI models.
///
/// A model runs on exact integers, so anyone can run it again and must get the same bits. Every answer comes with a
/// signed receipt; `verify` believes nobody and runs the model again.
#[derive(Debug, Parser)]
#[command(name = "veracity", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text; errors too.
    #[arg(long, global = true, display_order = 900)]
    pub(crate) json: bool,
    /// Folder of models, keys and receipts [default: $VERACITY_HOME, else ~/.veracity].
    #[arg(long, global = true, value_name = "DIR", display_order = 901)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::DemoArgs),
    Up(up::UpArgs),
    Import(import::ImportArgs),
    Model(model::ModelArgs),
    Run(run::RunArgs),
    Verify(verify::VerifyArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Help teaches: each command has a sentence and at least one example.
    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{} has no example:\n{help}", command.get_name());
        }
    }
}
