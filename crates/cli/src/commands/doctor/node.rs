//! Data folder, store, key and port.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use veracity_receipt::ExecutorKey;
use veracity_store::{Store, StoreError};

use super::Check;
use crate::{
    data::{self, key_failure, store_failure},
    error::Failure,
    words,
};

const SPACE_WARN_BYTES: u64 = 2_000_000_000;
const SPACE_FAIL_BYTES: u64 = 100_000_000;

/// The folder, or the nearest one above it that exists.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|f| f.is_dir()).unwrap_or(Path::new("."))
}

pub(super) fn data_folder(folder: &Path) -> Check {
    let place = existing(folder);
    match tempfile::Builder::new().prefix(".veracity-doctor-").tempfile_in(place) {
        Ok(_) if place == folder => Check::pass("data", format!("{} is writable", folder.display())),
        Ok(_) => Check::pass("data", format!("{} does not exist yet and can be made", folder.display())),
        Err(error) => {
            let finding = format!("{} is not writable: {error}", place.display());
            Check::fail("data", finding, "change its owner or mode, or choose another folder with --data")
        }
    }
}

pub(super) fn disk_space(folder: &Path) -> Check {
    let Ok(free) = free_bytes(existing(folder)) else {
        return Check::warn("disk", "free space is unknown on this system", "keep 2 GB free");
    };
    let finding = format!("{} free", words::size(free));
    match free {
        ..SPACE_FAIL_BYTES => {
            Check::fail("disk", finding, "free some space or choose another folder with --data")
        }
        SPACE_FAIL_BYTES..SPACE_WARN_BYTES => Check::warn("disk", finding, "free some space"),
        SPACE_WARN_BYTES.. => Check::pass("disk", finding),
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Reads every model in full and the key. A store that does not exist is well.
pub(super) fn store(folder: &Path) -> Vec<Check> {
    if !data::is_store(folder) {
        return vec![Check::pass("store", "there is none yet; import makes it")];
    }
    match Store::open(folder) {
        Ok(store) => vec![models(&store), key(&store)],
        Err(error) => vec![failed("store", &store_failure(&error))],
    }
}

fn models(store: &Store) -> Check {
    let (n_models, damage) = match damage(store) {
        Ok(found) => found,
        Err(error) => return failed("store", &store_failure(&error)),
    };
    match damage.as_slice() {
        [] => {
            let models = words::count(n_models, "model");
            Check::pass("store", format!("{models}, every byte as its hash says"))
        }
        [only] => failed("store", only),
        [first, rest @ ..] => {
            let more = words::count(rest.len(), "more damaged file");
            Check::fail("store", format!("{} (and {more})", first.message), &first.fix)
        }
    }
}

/// Number of models, and what is damaged of them, their reports and their names.
fn damage(store: &Store) -> Result<(usize, Vec<Failure>), StoreError> {
    let ids = store.ids()?;
    let models = ids.iter().filter_map(|id| store.get(id).err().or_else(|| store.report(id).err()));
    let names = store.damaged_names()?;
    Ok((ids.len(), models.chain(names).map(|error| store_failure(&error)).collect()))
}

fn key(store: &Store) -> Check {
    if !store.key_path().exists() {
        return Check::pass("key", "there is none yet; the first receipt makes it");
    }
    match store.executor_seed() {
        Ok(seed) => Check::pass("key", format!("executor {}", ExecutorKey::from_seed(&seed).executor())),
        Err(error) => failed("key", &key_failure(&error)),
    }
}

fn failed(name: &'static str, failure: &Failure) -> Check {
    Check::fail(name, &failure.message, &failure.fix)
}

pub(super) fn port(address: SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::pass("port", format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::warn(
            "port",
            format!("{address} is taken, perhaps by a running `veracity up`"),
            "stop the other program, or listen elsewhere: veracity up --listen 127.0.0.1:8081",
        ),
        Err(error) => {
            Check::fail("port", format!("{address}: {error}"), "choose another address with --listen")
        }
    }
}
