//! The data folder: where it is, and how its errors read to users.

use std::path::{Path, PathBuf};

use veracity_receipt::ExecutorKey;
use veracity_store::{KeyError, PutError, ReceiptLogError, SequenceError, Store, StoreError};

use crate::{args::Global, error::Failure};

/// The data folder: `--data`, else `$VERACITY_HOME`, else `~/.veracity`.
///
/// # Errors
/// `no_data_folder` where none of them is known, and that of [`check_folder`].
pub(crate) fn folder(global: &Global) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let chosen = global.data.clone().or_else(|| variable("VERACITY_HOME"));
    let folder = chosen.or_else(|| variable("HOME").map(|home| home.join(".veracity"))).ok_or_else(|| {
        Failure::input(
            "no_data_folder",
            "there is no HOME to keep data in",
            "give --data DIR or set VERACITY_HOME",
        )
    })?;
    check_folder(&folder)?;
    Ok(folder)
}

/// Checks that there is a folder, or nothing that keeps one from being made.
///
/// # Errors
/// `data_not_folder` where a file has its place, or that of a folder above it.
pub(crate) fn check_folder(folder: &Path) -> Result<(), Failure> {
    match folder.ancestors().find(|path| path.exists()) {
        Some(path) if !path.is_dir() => Err(Failure::input(
            "data_not_folder",
            format!("{} is not a folder, so no data can be kept in {}", path.display(), folder.display()),
            "choose a folder with --data DIR or VERACITY_HOME",
        )),
        Some(_) | None => Ok(()),
    }
}

/// Opens the store of the data folder, making it if there is none.
///
/// # Errors
/// A [`store_failure`].
pub(crate) fn open_store(global: &Global) -> Result<Store, Failure> {
    Store::open(folder(global)?).map_err(|e| store_failure(&e))
}

/// Opens the store of the data folder if there is one; makes nothing.
///
/// # Errors
/// A [`store_failure`].
pub(crate) fn open_existing_store(global: &Global) -> Result<Option<Store>, Failure> {
    let folder = folder(global)?;
    if !is_store(&folder) {
        return Ok(None);
    }
    Store::open(folder).map(Some).map_err(|e| store_failure(&e))
}

/// No model can be `reference`, because there is no store to look in.
///
/// # Errors
/// That of [`folder`].
pub(crate) fn no_model(reference: &str, global: &Global) -> Result<Failure, Failure> {
    let place = no_store(&folder(global)?);
    let failure = store_failure(&StoreError::NotFound { reference: reference.to_owned() });
    Ok(Failure { message: format!("{}: {place}", failure.message), ..failure })
}

/// Why a folder without a store has no models.
pub(crate) fn no_store(folder: &Path) -> String {
    let reason = if folder.exists() { "holds no store" } else { "does not exist" };
    format!("{} {reason}", folder.display())
}

/// Whether the folder holds a store, of whatever version.
pub(crate) fn is_store(folder: &Path) -> bool {
    folder.join("VERSION").exists()
}

/// The key of this node, drawn the first time.
///
/// # Errors
/// A [`key_failure`].
pub(crate) fn executor_key(store: &Store) -> Result<ExecutorKey, Failure> {
    store.executor_seed().map(|seed| ExecutorKey::from_seed(&seed)).map_err(|e| key_failure(&e))
}

/// What the store refused, for users.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::NotAStore { path, found } => Failure::input(
            "not_a_store",
            format!("{} is not a store of this version: VERSION says '{found}'", path.display()),
            "choose another folder with --data, or use the program that made it",
        ),
        StoreError::NotFound { reference } => Failure::input(
            "model_not_found",
            format!("there is no model '{reference}'"),
            "list the models with `veracity model ls`, or import one with `veracity import`",
        ),
        StoreError::Ambiguous { reference, ids } => Failure::input(
            "model_ambiguous",
            format!("'{reference}' is the beginning of {} model ids", ids.len()),
            "give more digits",
        ),
        StoreError::Corrupt { path, reason, remedy } => {
            Failure::input("store_corrupt", format!("{} is corrupt: {reason}", path.display()), remedy)
        }
        StoreError::DiskFull { path } => Failure::outside(
            "disk_full",
            format!("the disk is full at {}", path.display()),
            "free some space",
        ),
        _ => Failure::outside("store_io", error, "check the folder and the disk, then try again"),
    }
}

/// Why a model was not stored, for users.
pub(crate) fn put_failure(error: &PutError) -> Failure {
    match error {
        PutError::Store(error) => store_failure(error),
        PutError::TooLarge { .. } => Failure::input("model_too_large", error, "host a smaller model"),
        PutError::Source(_) => Failure::outside("model_source", error, "try again"),
        PutError::Truncated { .. } | PutError::Trailing { .. } => {
            Failure::input("model_damaged", error, "get the file again")
        }
        _ => Failure::input("model_damaged", error, "get the file again, or import it from its source"),
    }
}

/// Why there is no executor key, for users.
pub(crate) fn key_failure(error: &KeyError) -> Failure {
    match error {
        KeyError::Corrupt { path, reason } => Failure::input(
            "key_corrupt",
            format!("{} is not an executor key: {reason}", path.display()),
            "restore it from a backup, or delete it to become a new executor",
        ),
        KeyError::Permissions { path, mode } => Failure::input(
            "key_exposed",
            format!("{} has mode {mode:03o}, so others may read the key", path.display()),
            format!("chmod 600 {}", path.display()),
        ),
        KeyError::Store(error) => store_failure(error),
        _ => Failure::outside("key_random", error, "try again"),
    }
}

/// Why the receipts cannot be kept, for users.
pub(crate) fn receipts_failure(error: &ReceiptLogError) -> Failure {
    match error {
        ReceiptLogError::InUse { path } => Failure::outside(
            "data_in_use",
            format!("another process keeps the receipts of {}", path.display()),
            "stop the other process (veracity up, or veracity node start), or choose another folder",
        ),
        ReceiptLogError::Store(error) => store_failure(error),
        _ => Failure::outside("receipts", error, "check the folder and the disk, then try again"),
    }
}

/// Why a receipt cannot be numbered, for users.
pub(crate) fn sequence_failure(error: &SequenceError) -> Failure {
    match error {
        SequenceError::Store(error) => store_failure(error),
        _ => Failure::outside("sequences", error, "check the disk, then try again"),
    }
}
