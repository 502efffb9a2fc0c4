//! What a node of a folder does.

use std::path::Path;

use clap::ValueEnum;
use serde_json::Value;
use veracity_node::Folder;

use crate::{error::Failure, files, provider};

/// Longest configuration that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Orders blocks and signs them.
    Validator,
    /// Verifies all that validators order, and serves JSON-RPC.
    Follower,
    /// Runs models and signs receipts.
    Worker,
    /// Keeps models for others.
    Host,
    /// Serves clients and forwards to workers.
    Gateway,
}

/// What a folder holds: roles that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Validator,
    Follower,
    /// Roles of a provider, each once.
    Provider(Vec<provider::Role>),
}

impl Kind {
    /// The kind of these roles.
    ///
    /// # Errors
    /// `role_combination`.
    pub(super) fn of(roles: &[Role]) -> Result<Self, Failure> {
        let provider = |role: &Role| match role {
            Role::Validator | Role::Follower => None,
            Role::Worker => Some(provider::Role::Worker),
            Role::Host => Some(provider::Role::Host),
            Role::Gateway => Some(provider::Role::Gateway),
        };
        let mut providers: Vec<provider::Role> = roles.iter().filter_map(provider).collect();
        providers.sort_unstable();
        providers.dedup();
        match (providers.is_empty(), roles.contains(&Role::Validator), roles.contains(&Role::Follower)) {
            (true, _, false) => Ok(Self::Validator),
            (true, false, true) => Ok(Self::Follower),
            (false, false, false) => Ok(Self::Provider(providers)),
            _ => Err(Failure::input(
                "role_combination",
                "a validator does nothing else, nor does a follower",
                "make a folder for each: one with --role validator, one with --role follower, one with the others",
            )),
        }
    }

    /// The kind of the node in a folder, as its configuration says: that of a validator names no roles.
    ///
    /// # Errors
    /// `node_folder`, and trouble with the file.
    pub(super) fn of_folder(folder: &Path) -> Result<Self, Failure> {
        if Folder::new(folder).is_follower() {
            return Ok(Self::Follower);
        }
        let path = folder.join("node.json");
        if path.try_exists().is_ok_and(|exists| !exists) {
            let message = format!("{} has no node", folder.display());
            let fix = "check --folder; veracity node init makes a node, veracity found prepare a founder";
            return Err(Failure::input("node_folder", message, fix));
        }
        let text = files::read(&path, CONFIG_BYTES_MAX)?;
        let broken = |what: &dyn std::fmt::Display| {
            let message = format!("{}: {what}", path.display());
            Failure::input("node_folder", message, "restore the folder from a backup")
        };
        let config: Value = serde_json::from_slice(&text).map_err(|e| broken(&e))?;
        match config.get("roles") {
            None => Ok(Self::Validator),
            Some(roles) => serde_json::from_value(roles.clone()).map(Self::Provider).map_err(|e| broken(&e)),
        }
    }

    /// How it is called.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Validator => "validator".to_owned(),
            Self::Follower => "follower".to_owned(),
            Self::Provider(roles) => roles.iter().map(provider::Role::name).collect::<Vec<_>>().join(","),
        }
    }

    /// Whether it is a provider with this role.
    pub(super) fn provides(&self, role: provider::Role) -> bool {
        matches!(self, Self::Provider(roles) if roles.contains(&role))
    }
}

/// A flag of `node init` or `node start`.
pub(super) struct Flag<'a> {
    pub(super) name: &'a str,
    pub(super) given: bool,
    /// Whether this kind of node takes it.
    pub(super) fits: bool,
    /// Whether this kind of node needs it.
    pub(super) needed: bool,
}

/// Refuses flags that a kind of node does not take, and missing ones that it needs.
///
/// # Errors
/// `flag_of_other_role`, `flag_missing`.
pub(super) fn check_flags(kind: &Kind, flags: &[Flag<'_>]) -> Result<(), Failure> {
    let name = kind.name();
    if let Some(flag) = flags.iter().find(|flag| flag.given && !flag.fits) {
        let message = format!("{} is not for the role {name}", flag.name);
        return Err(Failure::input("flag_of_other_role", message, "leave it out, or change the role"));
    }
    let missing: Vec<&str> =
        flags.iter().filter(|flag| flag.needed && !flag.given).map(|flag| flag.name).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => {
            let message = format!("the role {name} needs {}", missing.join(" and "));
            Err(Failure::input("flag_missing", message, "see `veracity node init --help`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_run_together() {
        use Role::{Follower, Gateway, Host, Validator, Worker};
        assert_eq!(Kind::of(&[Validator, Validator]), Ok(Kind::Validator));
        let kind = Kind::of(&[Gateway, Worker, Gateway]).unwrap();
        assert_eq!(kind.name(), "worker,gateway");
        assert!(kind.provides(provider::Role::Worker) && !kind.provides(provider::Role::Host));
        assert_eq!(Kind::of(&[Host]), Ok(Kind::Provider(vec![provider::Role::Host])));
        assert_eq!(Kind::of(&[Follower]), Ok(Kind::Follower));
        for roles in [[Validator, Worker], [Follower, Host], [Validator, Follower]] {
            assert_eq!(Kind::of(&roles).unwrap_err().code, "role_combination");
        }
    }
}
