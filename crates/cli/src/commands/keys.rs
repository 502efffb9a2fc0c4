use std::{
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
};

use alloy_primitives::{B256, hex};
use clap::{Args, Subcommand};
use serde::Serialize;
use veracity_client::Account;

use crate::{args::Global, chain, data, error::Failure, output::Output};

const EXAMPLES: &str = "\
Examples:
  veracity keys new operator.key
  veracity keys show operator.key
  veracity keys show

An account holds money and speaks for nodes; keep the file of its key where the node's machine cannot read it if you \
can. The executor's key signs receipts and lies in the data folder.";

/// Make the key of an account, or show whose keys there are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make the key of a new account and write it to a file that only you can read.
    #[command(after_help = "Example:\n  veracity keys new operator.key")]
    New {
        /// Where the key goes; the file must not be there yet.
        file: PathBuf,
    },
    /// Show the address of the key in a file, or without one who signs receipts here.
    #[command(after_help = "Examples:\n  veracity keys show operator.key\n  veracity keys show --json")]
    Show {
        /// File with a private key in hexadecimal digits.
        file: Option<PathBuf>,
    },
}

/// A key, without its secret.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Account { address: String, file: String },
    Executor { executor: String, data: String },
}

/// Runs `veracity keys`.
pub(crate) fn execute(args: &KeysArgs, global: &Global, out: Output) -> Result<(), Failure> {
    let shown = match &args.command {
        KeysCommand::New { file } => shown(&make(file)?, file),
        KeysCommand::Show { file: Some(file) } => shown(&chain::read_account(file)?, file),
        KeysCommand::Show { file: None } => {
            let store = data::open_store(global)?;
            let executor = data::executor_key(&store)?.executor().to_string();
            Shown::Executor { executor, data: store.root().display().to_string() }
        }
    };
    out.result(&shown);
    Ok(())
}

fn shown(account: &Account, file: &Path) -> Shown {
    Shown::Account { address: account.address().to_string(), file: file.display().to_string() }
}

/// Makes a key and writes it.
fn make(file: &Path) -> Result<Account, Failure> {
    let (key, account) = loop {
        let mut bytes = [0; 32];
        let random = getrandom::fill(&mut bytes);
        random.map_err(|e| Failure::outside("no_random", e, "try again"))?;
        // One in 2^128 is no key.
        if let Ok(account) = Account::from_key(B256::new(bytes)) {
            break (bytes, account);
        }
    };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(file).and_then(|mut file| {
        writeln!(file, "0x{}", hex::encode(key))?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(account),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::input(
            "key_exists",
            format!("{} is there already", file.display()),
            "choose another name: a key that is overwritten is lost, and its money with it",
        )),
        Err(e) => Err(Failure::write(file, &e)),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { address, file } => write!(f, "{address}  account, key in {file}"),
            Self::Executor { executor, data } => write!(f, "{executor}  executor, key in {data}"),
        }
    }
}
