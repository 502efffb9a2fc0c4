//! A folder with its own data folder, in which the binary runs.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

/// Pixels of one digit of the MLP model.
pub(crate) const PIXELS: usize = 64;

pub(crate) struct Home {
    dir: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        // No status means death by a signal, which nothing here expects.
        let status = output.status.code().expect("no signal ended it");
        Self { status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The line that begins with `label` and this check.
    #[track_caller]
    pub(crate) fn line(&self, label: &str, check: &str) -> &str {
        let is = |line: &&str| line.starts_with(label) && line.split_whitespace().nth(1) == Some(check);
        self.stdout.lines().find(is).unwrap_or_else(|| panic!("no line {label} {check} in {self:?}"))
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_veracity"));
        command.args(args).current_dir(self.dir.path()).env("VERACITY_HOME", self.path("data"));
        command.env_remove("RUST_LOG").env("NO_COLOR", "1");
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        Done::new(&self.command(args).output().unwrap())
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Imports the MLP under the name `mlp`.
    pub(crate) fn with_mlp() -> Self {
        let home = Self::new();
        let (onnx, samples) = (model_file("digits-mlp.onnx"), model_file("digits-calibration.npz"));
        home.run(&["import", text(&onnx), "--samples", text(&samples), "--name", "mlp"]).ok();
        home
    }

    /// [`Home::with_mlp`], run on two rows: `x.npz`, `r.cose` and the bytes beside it.
    pub(crate) fn with_receipt() -> Self {
        let home = Self::with_mlp();
        home.write("x.npz", &npz(&[("image", npy("<f4", &[2, PIXELS], &ramp(2)))]));
        home.run(&["run", "mlp", "--input", "x.npz", "--receipt", "r.cose"]).ok();
        home
    }

    /// The weights file of the only model in the store.
    pub(crate) fn weights(&self) -> PathBuf {
        let model = fs::read_dir(self.path("data/models")).unwrap().next().unwrap().unwrap();
        model.path().join("weights")
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of the repository's `models/`.
pub(crate) fn model_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

/// Values between 0 and 1 for `rows` digits.
pub(crate) fn ramp(rows: u16) -> Vec<u8> {
    let n = rows * u16::try_from(PIXELS).unwrap();
    (0..n).flat_map(|i| (f32::from(i * 37 % 101) / 100.0).to_le_bytes()).collect()
}

/// An `.npy` file.
pub(crate) fn npy(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|d| format!("{d},")).collect();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape})}}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(values);
    bytes
}

/// An `.npz` file.
pub(crate) fn npz(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in tensors {
        archive.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}
