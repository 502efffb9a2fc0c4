//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    completions, demo, doctor, faucet, found, import, keys, localnet, model, network, node, run, status, up,
    verify,
};

const EXAMPLES: &str = "\
First steps:
  veracity demo                                     see everything once
  veracity import net.onnx --samples data.npz       convert an ONNX file
  veracity run net --input x.npz --receipt r.cose   run it, get a receipt
  veracity verify r.cose                            check it by running again
  veracity up                                       serve models, and a chain

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
    Localnet(localnet::LocalnetArgs),
    Found(found::FoundArgs),
    Node(node::NodeArgs),
    Status(status::StatusArgs),
    Network(network::NetworkArgs),
    Keys(keys::KeysArgs),
    Faucet(faucet::FaucetArgs),
    Doctor(doctor::DoctorArgs),
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use clap::{Command, CommandFactory};

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

    /// The program and all commands below it, each with its whole name.
    fn all_commands() -> Vec<Command> {
        fn add(command: &Command, all: &mut Vec<Command>) {
            all.push(command.clone());
            command.get_subcommands().filter(|c| c.get_name() != "help").for_each(|c| add(c, all));
        }
        let mut root = Cli::command();
        root.build();
        let mut all = Vec::new();
        add(&root, &mut all);
        all
    }

    /// Clap wraps text to the terminal. Examples must not be wrapped, and text that is wrapped here already would be
    /// wrapped twice.
    #[test]
    fn help_fits_every_terminal() {
        for command in all_commands() {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = text.lines().filter(|line| line.starts_with("  "));
            examples.for_each(|line| assert!(line.len() <= 80, "wider than a terminal: {line}"));
            let is_prose = |line: &&str| !line.starts_with("  ") && !line.is_empty() && !line.ends_with(':');
            let lines: Vec<&str> = text.lines().collect();
            let broken = lines.windows(2).find(|pair| pair.iter().all(is_prose));
            assert!(broken.is_none(), "{}: {broken:?}", command.get_name());
        }
    }

    /// What the guides tell users to type is understood.
    #[test]
    fn commands_of_the_guides_exist() {
        for guide in
            ["README.md", "docs/followers.md", "docs/hosting.md", "docs/nodes.md", "docs/validators.md"]
        {
            let path = format!("{}/../../{guide}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("$ veracity ")).collect();
            assert!(!commands.is_empty(), "{guide}");
            for command in commands {
                let words = command.trim_start_matches("$ ").split_whitespace();
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("{guide}: {command}: {error}");
                }
            }
        }
    }

    /// Set `UPDATE_DOCS=1` to write the page.
    #[test]
    fn the_reference_is_fresh() {
        let mut page =
            "# The command line\n\nWhat `veracity COMMAND --help` says, written by a test of `crates/cli`.\n"
                .to_owned();
        for command in all_commands() {
            let name = command.get_bin_name().unwrap_or("veracity");
            let asked =
                Cli::command().term_width(100).try_get_matches_from(name.split(' ').chain(["--help"]));
            let help = asked.unwrap_err().to_string();
            let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
            write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", lines.join("\n")).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "run: UPDATE_DOCS=1 cargo test -p veracity");
    }
}
