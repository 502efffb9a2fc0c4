//! Checks that each crate depends on crates of lower layers only (ARCHITECTURE.md, "The map").

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// Crates from the bottom up; one may depend on those before it.
const ORDER: [&str; 24] = [
    "veracity-testkit",
    "veracity-ops",
    "veracity-graph",
    "veracity-kernels",
    "veracity-engine",
    "veracity-importer",
    "veracity-light",
    "veracity-client",
    "veracity-receipt",
    "veracity-store",
    "veracity-hosting",
    "veracity-chain",
    "veracity-rpc",
    "veracity-consensus",
    "veracity-ceremony",
    "veracity-validator",
    "veracity-node",
    "veracity-provider",
    "veracity-sim",
    "veracity-worker",
    "veracity-gateway",
    "veracity",
    "veracity-bench",
    "xtask",
];

/// Crates that decide what the world believes; they depend on nothing but each other and taken crates.
const CLOSURE: [&str; 4] = ["veracity-ops", "veracity-graph", "veracity-light", "veracity-receipt"];

pub(crate) fn check() -> Result<()> {
    let text = process::output("cargo", &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let rank: BTreeMap<&str, usize> = ORDER.iter().enumerate().map(|(i, name)| (*name, i)).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let own = *rank
            .get(name)
            .with_context(|| format!("crate {name} is in no layer; add it to xtask/src/layers.rs"))?;
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let dev = dependency["kind"].as_str() == Some("dev");
            let Some(&other) = rank.get(on) else { continue };
            if other >= own && !dev {
                bail!("{name} depends on {on}, which is not in a lower layer");
            }
            if CLOSURE.contains(&name) && !CLOSURE.contains(&on) && !dev {
                bail!("{name} belongs to the closure and depends on {on}, which does not");
            }
        }
    }
    println!("layers: {} crates in order", packages.len());
    Ok(())
}
