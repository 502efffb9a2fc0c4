//! The executor's key (specification, section 5).

use std::{fs, io, path::PathBuf};

use crate::{KeyError, Store, StoreError};

const HEADER: &str = "veracity-executor-key-1";
const CHECK_CONTEXT: &str = "veracity executor key check v1";

impl Store {
    /// The Ed25519 seed of this node, drawn and stored durably the first time. Several processes that ask at the same
    /// time get the same one.
    ///
    /// # Errors
    /// [`KeyError`]; a damaged or readable key is never replaced silently.
    pub fn executor_seed(&self) -> Result<[u8; 32], KeyError> {
        let path = self.key_path();
        if let Some(seed) = load(&path)? {
            return Ok(seed);
        }
        let scratch = self.scratch()?;
        let _lock = self.exclusive()?;
        if let Some(seed) = load(&path)? {
            return Ok(seed);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        let new = scratch.path.join("key");
        let mut file = self.disk.create_file(new.clone(), true)?;
        file.append(encode(&seed).as_bytes())?;
        file.sync()?;
        self.disk.rename(&new, &path)?;
        self.disk.sync_dir(self.root())?;
        Ok(seed)
    }

    /// Where the key is.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.root().join("key")
    }
}

fn encode(seed: &[u8; 32]) -> String {
    let check = blake3::Hash::from_bytes(blake3::derive_key(CHECK_CONTEXT, seed)).to_hex();
    format!("{HEADER} {} {}\n", blake3::Hash::from_bytes(*seed).to_hex(), &check[..16])
}

fn decode(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(HEADER)?.strip_prefix(' ')?.get(..64)?;
    let seed = *blake3::Hash::from_hex(digits).ok()?.as_bytes();
    (encode(&seed) == text).then_some(seed)
}

fn load(path: &PathBuf) -> Result<Option<[u8; 32]>, KeyError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io("read", path)(e).into()),
    };
    check_permissions(path)?;
    let seed = str::from_utf8(&text).ok().and_then(decode);
    let corrupt = || KeyError::Corrupt { path: path.clone(), reason: "its text or checksum does not fit" };
    seed.map(Some).ok_or_else(corrupt)
}

#[cfg(unix)]
fn check_permissions(path: &PathBuf) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(path).map_err(StoreError::io("read", path))?;
    match metadata.permissions().mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(KeyError::Permissions { path: path.clone(), mode }),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "checks on Unix")]
fn check_permissions(_: &PathBuf) -> Result<(), KeyError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let seed = store.executor_seed().unwrap();
        assert_eq!(Store::open(dir.path()).unwrap().executor_seed().unwrap(), seed);
        let good = fs::read_to_string(store.key_path()).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone().into_bytes();
            bad[position] ^= 1;
            fs::write(store.key_path(), bad).unwrap();
            assert!(matches!(store.executor_seed(), Err(KeyError::Corrupt { .. })), "byte {position}");
        }
        fs::write(store.key_path(), good).unwrap();
        assert_eq!(store.executor_seed().unwrap(), seed);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.executor_seed().unwrap();
        let mode = |mode| fs::set_permissions(store.key_path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(fs::metadata(store.key_path()).unwrap().permissions().mode() & 0o777, 0o600);
        mode(0o644);
        let message = store.executor_seed().unwrap_err().to_string();
        assert!(message.contains("has mode 644, so others may read the key; run: chmod 600"), "{message}");
        mode(0o400);
        store.executor_seed().unwrap();
    }
}
