//! The world state after a block: accounts, their code and storage.
//!
//! All of it is in memory, in tries whose copies share what they have in common, and what a block changes is also given
//! as a list of [`Change`]s, which a durable store keeps and from which the state is made again after a restart.

use std::{collections::BTreeMap, convert::Infallible};

use alloy_eips::eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::TrieAccount;
use revm::{
    database::BundleState,
    database_interface::DatabaseRef,
    state::{AccountInfo, Bytecode},
};

use crate::{Leaf, Trie};

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Number of transactions sent, or of contracts created by a contract.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Hash of the code, [`KECCAK256_EMPTY`] without one.
    pub code_hash: B256,
    /// The code, if there is one.
    pub code: Option<Bytecode>,
    /// Values that are not zero, by the hash of their slot.
    pub storage: Trie<U256>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            nonce: 0,
            balance: U256::ZERO,
            code_hash: KECCAK256_EMPTY,
            code: None,
            storage: Trie::default(),
        }
    }
}

impl Leaf for Account {
    fn encode(&self, out: &mut Vec<u8>) {
        let Self { nonce, balance, code_hash, .. } = *self;
        let account = TrieAccount { nonce, balance, storage_root: self.storage.root_hash(), code_hash };
        alloy_rlp::Encodable::encode(&account, out);
    }
}

impl Leaf for U256 {
    fn encode(&self, out: &mut Vec<u8>) {
        alloy_rlp::Encodable::encode(self, out);
    }
}

/// The world state. Copies are cheap.
#[derive(Debug, Clone, Default)]
pub struct State {
    accounts: Trie<Account>,
}

/// One thing that a block changes. Accounts and slots are named by their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The account has these values now, or does not exist any more; its storage is not touched.
    Account(B256, Option<AccountValues>),
    /// The storage of an account is emptied.
    Wiped(B256),
    /// A slot of an account has this value now.
    Slot(B256, B256, U256),
    /// Code, which accounts refer to by its hash.
    Code(B256, Bytes),
}

/// What is stored of an account beside its storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountValues {
    /// As [`Account::nonce`].
    pub nonce: u64,
    /// As [`Account::balance`].
    pub balance: U256,
    /// As [`Account::code_hash`].
    pub code_hash: B256,
}

impl State {
    /// Root of the state trie, as a header's `stateRoot`.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.accounts.root_hash()
    }

    /// The account at `address`.
    #[must_use]
    pub fn account(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&keccak256(address))
    }

    /// The account whose address has this hash.
    #[must_use]
    pub fn account_at(&self, hash: &B256) -> Option<&Account> {
        self.accounts.get(hash)
    }

    /// The value of a slot.
    #[must_use]
    pub fn slot(&self, address: Address, slot: U256) -> U256 {
        let account = self.account(address);
        account.and_then(|a| a.storage.get(&slot_hash(slot)).copied()).unwrap_or_default()
    }

    /// The nodes that prove an account, or that there is none (EIP-1186).
    #[must_use]
    pub fn account_proof(&self, address: Address) -> Vec<Bytes> {
        self.accounts.proof(&keccak256(address))
    }

    /// The nodes that prove a slot of an account under its storage root.
    #[must_use]
    pub fn slot_proof(&self, address: Address, slot: U256) -> Vec<Bytes> {
        self.account(address).map(|a| a.storage.proof(&slot_hash(slot))).unwrap_or_default()
    }

    /// Calls `visit` with every account and the hash of its address.
    pub fn for_each(&self, visit: &mut impl FnMut(B256, &Account)) {
        self.accounts.for_each(visit);
    }

    /// Applies changes in order. Code is given before the accounts that have it.
    ///
    /// # Errors
    /// [`UnknownCode`] if an account has code that was not given.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), UnknownCode> {
        let mut codes = BTreeMap::new();
        // Accounts are taken out, changed, and put back once each: every way through the trie costs hashes.
        let mut touched = BTreeMap::new();
        for change in changes {
            match change {
                Change::Code(hash, bytes) => {
                    codes.insert(*hash, Bytecode::new_raw(bytes.clone()));
                }
                Change::Account(at, None) => {
                    touched.insert(*at, None);
                }
                Change::Account(at, Some(values)) => {
                    set_values(self.touch(&mut touched, *at), *values, &codes)?;
                }
                Change::Wiped(at) => self.touch(&mut touched, *at).storage = Trie::default(),
                Change::Slot(at, slot, value) => {
                    let storage = &mut self.touch(&mut touched, *at).storage;
                    if value.is_zero() {
                        storage.remove(slot);
                    } else {
                        storage.insert(slot, *value);
                    }
                }
            }
        }
        for (at, account) in touched {
            match account {
                Some(account) => self.accounts.insert(&at, account),
                None => self.accounts.remove(&at),
            }
        }
        Ok(())
    }

    fn touch<'t>(&self, touched: &'t mut BTreeMap<B256, Option<Account>>, at: B256) -> &'t mut Account {
        let account = touched.entry(at).or_insert_with(|| self.accounts.get(&at).cloned());
        account.get_or_insert_with(Account::default)
    }
}

fn set_values(
    account: &mut Account,
    AccountValues { nonce, balance, code_hash }: AccountValues,
    codes: &BTreeMap<B256, Bytecode>,
) -> Result<(), UnknownCode> {
    (account.nonce, account.balance) = (nonce, balance);
    if account.code_hash != code_hash {
        account.code_hash = code_hash;
        account.code = match code_hash {
            KECCAK256_EMPTY => None,
            hash => Some(codes.get(&hash).cloned().ok_or(UnknownCode { hash })?),
        };
    }
    Ok(())
}

/// An account whose code was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account has code {hash}, which is missing: the state is damaged; restore the data folder or sync again"
)]
pub struct UnknownCode {
    /// Hash of the code.
    pub hash: B256,
}

/// Hash of a slot, which names it in tries and changes.
#[must_use]
pub fn slot_hash(slot: U256) -> B256 {
    keccak256(slot.to_be_bytes::<32>())
}

/// What a block changed: code, then accounts and their slots, in the order of their hashes.
pub(crate) fn changes(bundle: &BundleState) -> Vec<Change> {
    let mut codes = BTreeMap::new();
    let mut changes = vec![];
    let accounts: BTreeMap<_, _> =
        bundle.state.iter().map(|(at, account)| (keccak256(at), account)).collect();
    for (at, account) in accounts {
        // An account without nonce, balance and code does not exist (EIP-161).
        let Some(info) = account.info.as_ref().filter(|info| !info.is_empty()) else {
            changes.push(Change::Account(at, None));
            continue;
        };
        if let Some(code) =
            info.code.as_ref().filter(|code| account.is_contract_changed() && !code.is_empty())
        {
            codes.insert(info.code_hash, code.original_bytes());
        }
        if account.was_destroyed() {
            changes.push(Change::Wiped(at));
        }
        let AccountInfo { nonce, balance, code_hash, .. } = *info;
        changes.push(Change::Account(at, Some(AccountValues { nonce, balance, code_hash })));
        let slots = account.storage.iter().filter(|(_, v)| account.was_destroyed() || v.is_changed());
        let slots: BTreeMap<_, _> = slots.map(|(slot, v)| (slot_hash(*slot), v.present_value)).collect();
        changes.extend(slots.into_iter().map(|(slot, value)| Change::Slot(at, slot, value)));
    }
    let codes = codes.into_iter().map(|(hash, bytes)| Change::Code(hash, bytes));
    codes.chain(changes).collect()
}

impl DatabaseRef for State {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.account(address).map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: Some(account.code.clone().unwrap_or_default()),
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, _: B256) -> Result<Bytecode, Infallible> {
        // Accounts are given with their code.
        Ok(Bytecode::default())
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.slot(address, slot))
    }

    /// Hashes of earlier blocks are part of the state (EIP-2935).
    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        Ok(self.slot(HISTORY_STORAGE_ADDRESS, history_slot(number)).into())
    }
}

/// Where the history contract keeps the hash of block `number`.
pub(crate) fn history_slot(number: u64) -> U256 {
    U256::from(number % u64::try_from(HISTORY_SERVE_WINDOW).unwrap_or(u64::MAX))
}
