//! Host, run and verify AI models: the one program.

mod apart;
mod args;
mod chain;
mod commands;
mod data;
mod directory;
mod error;
mod files;
mod hosting;
mod http;
mod images;
mod member;
mod models;
mod net;
mod npz;
mod oip;
mod outcome;
mod output;
mod progress;
mod provider;
mod runner;
mod server;
mod statement;
mod tensors;
mod words;

use std::{io::stderr, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Command},
    error::Failure,
    output::{Colors, Output},
};

/// `verify` did not verify, or `doctor` found something that fails.
const NEGATIVE: u8 = 1;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error),
    };
    log_to_stderr(&cli.command);
    let out = Output::new(cli.global.json);
    match dispatch(&cli, out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NEGATIVE),
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.status())
        }
    }
}

/// Runs the command; `false` where the answer is no.
fn dispatch(cli: &Cli, out: Output) -> Result<bool, Failure> {
    let global = &cli.global;
    if let Some(folder) = &global.data {
        data::check_folder(folder)?;
    }
    match &cli.command {
        Command::Demo(args) => return commands::demo::execute(args, out),
        Command::Up(args) => commands::up::execute(args, global, out)?,
        Command::Import(args) => commands::import::execute(args, global, out)?,
        Command::Model(args) => commands::model::execute(args, global, out)?,
        Command::Run(args) => commands::run::execute(args, global, out)?,
        Command::Verify(args) => return commands::verify::execute(args, global, out),
        Command::Localnet(args) => commands::localnet::execute(args, global, out)?,
        Command::Found(args) => commands::found::execute(args, out)?,
        Command::Node(args) => commands::node::execute(args, out)?,
        Command::Status(args) => commands::status::execute(args, out)?,
        Command::Network(args) => commands::network::execute(args, out)?,
        Command::Keys(args) => commands::keys::execute(args, global, out)?,
        Command::Faucet(args) => commands::faucet::execute(args, out)?,
        Command::Doctor(args) => return commands::doctor::execute(args, global, out),
        Command::Completions(args) => commands::completions::execute(args, out),
    }
    Ok(true)
}

/// What libraries report: warnings, for a server also its milestones, and whatever `RUST_LOG` asks for.
fn log_to_stderr(command: &Command) {
    let level = match command {
        Command::Up(_) => "info,commonware=warn",
        Command::Node(_) | Command::Found(_) => "info,commonware=warn,commonware_glue=info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let ansi = Colors::of(&stderr()) != Colors::None;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(ansi).init();
}

/// Help and version go to stdout; a wrong usage is a failure like others, in JSON if that was asked for.
fn refuse_usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && json {
        let text = error.to_string();
        let about: Vec<&str> =
            text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim).collect();
        let message = about.join(" ");
        let message = message.trim().trim_start_matches("error: ");
        let failure = Failure::input("usage", message, "see `veracity --help` or `veracity COMMAND --help`");
        Output::new(true).failure(&failure);
        return ExitCode::from(failure.status());
    }
    // A reader that has gone away is no reason to fail.
    let _gone = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
