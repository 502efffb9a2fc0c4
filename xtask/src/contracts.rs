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
    install()?;
    for script in ["check", "test"] {
        println!("$ npm run {script} (contracts)");
        process::run("npm", &["--prefix", "contracts", "run", "--silent", script])?;
    }
    Ok(())
}

/// Packages of the lock file; those of an earlier run stay if the lock file has not changed.
fn install() -> Result<()> {
    let folder = process::root().join("contracts");
    let wanted = std::fs::read_to_string(folder.join("package-lock.json"))?;
    let (modules, stamp) = (folder.join("node_modules"), process::work("contracts-package-lock.json"));
    if modules.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    println!("$ npm ci (contracts)");
    process::run("npm", &["--prefix", "contracts", "ci", "--silent"])?;
    std::fs::create_dir_all(process::work(""))?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}
