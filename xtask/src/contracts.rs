//! Tests of the system contracts under `contracts/`, which run on Node.

use anyhow::Result;

use crate::process;

/// Compiles the contracts again, compares them with the committed artifacts, and tests them on anvil.
pub(crate) fn run() -> Result<()> {
    if !process::works("node") || !process::works("npm") {
        println!(
            "skipped: the tests of the system contracts need Node 20 and npm, which are not on this machine"
        );
        return Ok(());
    }
    process::npm_ci("contracts")?;
    for script in ["check", "test"] {
        println!("$ npm run {script} (contracts)");
        process::run("npm", &["--prefix", "contracts", "run", "--silent", script])?;
    }
    Ok(())
}
