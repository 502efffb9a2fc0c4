//! Runs other programs from the root of the workspace.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Folder for what tasks install and make; removed by `cargo clean`.
pub(crate) fn work(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("xtask").join(name)
}

/// Runs `program`, shows what it prints, and fails if it does.
pub(crate) fn run(program: impl AsRef<OsStr>, args: &[&str]) -> Result<()> {
    let mut command = Command::new(program.as_ref());
    command.args(args).current_dir(root());
    finish(command)
}

/// Runs a prepared command, and fails if it does.
pub(crate) fn finish(mut command: Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

/// Runs cargo with the toolchain of the workspace.
pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    println!("$ cargo {}", args.join(" "));
    run("cargo", args)
}

/// What `program` prints on standard output.
pub(crate) fn output(program: impl AsRef<OsStr>, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program.as_ref());
    let output = command.args(args).current_dir(root()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A Python environment under the target folder with the pinned packages of `requirements`; `None` without Python.
pub(crate) fn python(name: &str, requirements: &Path) -> Result<Option<PathBuf>> {
    let Some(python) = ["python3", "python"].into_iter().find(|p| works(p)) else { return Ok(None) };
    let folder = work(name);
    let inside = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    let wanted = std::fs::read_to_string(requirements)?;
    if inside.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(Some(inside));
    }
    let requirements = requirements.to_string_lossy().into_owned();
    let place = folder.to_string_lossy().into_owned();
    println!("making the Python environment {place}");
    if works("uv") {
        run("uv", &["venv", "--quiet", "--clear", &place])?;
        let python = inside.to_string_lossy().into_owned();
        run("uv", &["pip", "install", "--quiet", "--python", &python, "-r", &requirements])?;
    } else {
        run(python, &["-m", "venv", "--clear", &place])?;
        run(
            &inside,
            &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements],
        )?;
    }
    std::fs::write(stamp, wanted)?;
    Ok(Some(inside))
}

/// Whether `program` is on this machine.
pub(crate) fn works(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// Installs the npm packages of the lock file in `folder`; those of an earlier run stay if the file has not changed.
pub(crate) fn npm_ci(folder: &str) -> Result<()> {
    let wanted = std::fs::read_to_string(root().join(folder).join("package-lock.json"))?;
    let stamp = work(&format!("{}-package-lock.json", folder.replace('/', "-")));
    let modules = root().join(folder).join("node_modules");
    if modules.exists() && std::fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    println!("$ npm ci ({folder})");
    run("npm", &["--prefix", folder, "ci", "--silent"])?;
    std::fs::create_dir_all(work(""))?;
    std::fs::write(stamp, wanted)?;
    Ok(())
}
