//! Ethereum's tests of its virtual machine, through the chain's execution (`acceptance/specs/`).

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::process;

/// Parts of the npm package `ethereum-tests` that have accounts, a block and a transaction or call.
const PARTS: [&str; 2] = ["StateTests", "VMTests"];
/// Tests of each of its files that are run: all but of three files with thousands of nearly equal ones.
const EACH: usize = 400;

/// Ethereum's tests as a registry has them, judged by its executable specification.
pub(crate) fn run() -> Result<()> {
    if !process::works("node") || !process::works("npm") {
        println!("skipped: Ethereum's tests come from npm, which is not on this machine");
        return Ok(());
    }
    process::npm_ci("acceptance/specs")?;
    let package = process::root().join("acceptance/specs/node_modules/ethereum-tests");
    let parts = PARTS.map(|part| package.join(part));
    fill(&parts.each_ref().map(PathBuf::as_path), EACH)
}

/// Takes what the tests under `folders` put in, of each file some, lets the specification say what comes out, and compares.
pub(crate) fn fill(folders: &[&Path], each: usize) -> Result<()> {
    let specs = process::root().join("acceptance/specs");
    let Some(python) = process::python("specs", &specs.join("requirements.txt"))? else {
        println!("skipped: Ethereum's executable specification needs Python 3, which is not on this machine");
        return Ok(());
    };
    let filled = process::work("specs-filled");
    if filled.exists() {
        std::fs::remove_dir_all(&filled)?;
    }
    let mut command = Command::new(python);
    command.arg(specs.join("fill.py")).args(["--each", &each.to_string()]);
    command.arg(&filled).args(folders).current_dir(process::root());
    process::finish(command)?;
    state_tests(&filled)
}

/// Runs the state tests under `folder`.
pub(crate) fn state_tests(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        bail!("{} is no folder: name one with state tests", folder.display());
    }
    let arguments = ["run", "--quiet", "--package", "veracity-chain", "--example", "state_tests", "--"];
    let mut command = Command::new("cargo");
    command.args(arguments.map(OsStr::new)).arg(std::path::absolute(folder)?).current_dir(process::root());
    process::finish(command)
}
