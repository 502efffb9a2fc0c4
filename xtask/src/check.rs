//! Everything that is checked without running the product.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{layers, process};

pub(crate) fn run() -> Result<()> {
    process::cargo(&["fmt", "--all", "--check"])?;
    layers::check()?;
    links()?;
    process::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    println!("$ cargo doc --workspace --no-deps");
    let mut doc = Command::new("cargo");
    doc.args(["doc", "--workspace", "--no-deps", "--quiet"]);
    doc.current_dir(process::root()).env("RUSTDOCFLAGS", "-D warnings");
    process::finish(doc)
}

/// Checks that relative links in Markdown files name files that exist.
fn links() -> Result<()> {
    let root = process::root();
    let files = process::output("git", &["ls-files", "*.md"])?;
    let mut broken = Vec::new();
    for file in files.lines() {
        let text = fs::read_to_string(root.join(file))?;
        let folder = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        broken.extend(targets(&text).filter(|t| !exists(&root, &folder, t)).map(|t| format!("{file}: {t}")));
    }
    if !broken.is_empty() {
        bail!("broken links:\n{}", broken.join("\n"));
    }
    println!("links: {} Markdown files", files.lines().count());
    Ok(())
}

/// Targets of `[text](target)` links that lie in the repository.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("](").skip(1);
    let target = after.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    target.filter(|t| !t.contains("://") && !t.starts_with('#') && !t.contains(' '))
}

fn exists(root: &Path, folder: &PathBuf, target: &str) -> bool {
    let file = target.split('#').next().unwrap_or(target);
    root.join(folder).join(file).exists()
}
