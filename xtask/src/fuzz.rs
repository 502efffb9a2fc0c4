//! Runs every fuzz target for a while.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::process;

const CARGO_FUZZ: &str = "0.13.2";

pub(crate) fn run(seconds: u32) -> Result<()> {
    if !answers("cargo", &["+nightly", "--version"]) {
        println!("skipped: fuzzing needs the nightly toolchain (rustup toolchain install nightly)");
        return Ok(());
    }
    let tools = process::work("tools");
    let program = tools.join("bin/cargo-fuzz");
    if !program.exists() {
        let root = tools.to_string_lossy().into_owned();
        process::cargo(&[
            "install",
            "cargo-fuzz",
            "--locked",
            "--quiet",
            "--version",
            CARGO_FUZZ,
            "--root",
            &root,
        ])?;
    }
    let targets = process::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(targets)? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    if names.is_empty() {
        bail!("there are no fuzz targets");
    }
    for name in &names {
        println!("fuzzing {name} for {seconds} s");
        fuzz(&program, name, seconds)?;
    }
    println!("{} fuzz targets, nothing found", names.len());
    Ok(())
}

fn fuzz(program: &std::path::Path, name: &str, seconds: u32) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["fuzz", "run", "--sanitizer", "none", name, "--", "-rss_limit_mb=4096", "-timeout=20"]);
    command.arg(format!("-max_total_time={seconds}")).arg("-verbosity=0").arg("-print_final_stats=1");
    command.current_dir(process::root()).env("RUSTUP_TOOLCHAIN", "nightly");
    process::finish(command)
}

fn answers(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
