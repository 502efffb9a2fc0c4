use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{args::Cli, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity completions bash >> ~/.bash_completion
  veracity completions zsh  > ~/.zfunc/_veracity
  veracity completions fish > ~/.config/fish/completions/veracity.fish";

/// Print the script that lets a shell complete commands and options.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script; the same with `--json`, since a shell is what reads it.
pub(crate) fn execute(args: &CompletionsArgs, out: Output) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "veracity", &mut script);
    out.raw(&script);
}
