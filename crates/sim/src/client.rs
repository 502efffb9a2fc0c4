//! Clients that send transactions and insist until they are in the chain.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope, transaction::Recovered};
use alloy_genesis::{Genesis, GenesisAccount};
use alloy_primitives::{Address, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;

/// Chain that the transactions are for.
pub(crate) const CHAIN_ID: u64 = 2604;
/// What each client sends in one transaction, in wei.
const VALUE: u64 = 1_000_000;

/// The transactions of all clients, signed beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    signers: Vec<PrivateKeySigner>,
    /// By client, in the order of nonces.
    pub(crate) transactions: Vec<Vec<Recovered<TxEnvelope>>>,
}

impl Workload {
    /// `count` transactions by each of some clients.
    pub(crate) fn new(clients: u8, count: u64) -> Self {
        let signer = |client: u8| {
            PrivateKeySigner::from_slice(&[client + 1; 32]).expect("a number below the order of the group")
        };
        let signers: Vec<_> = (0..clients).map(signer).collect();
        let transactions =
            signers.iter().map(|signer| (0..count).map(|nonce| transfer(signer, nonce)).collect());
        Self { transactions: transactions.collect(), signers }
    }

    /// A genesis in which the clients have money.
    pub(crate) fn genesis(&self) -> Genesis {
        let balance = U256::from(10).pow(U256::from(24));
        let rich = GenesisAccount::default().with_balance(balance);
        let alloc = self.signers.iter().map(|signer| (signer.address(), rich.clone()));
        let mut genesis = Genesis { gas_limit: 100_000_000, ..Genesis::default() }.extend_accounts(alloc);
        genesis.config.chain_id = CHAIN_ID;
        genesis
    }

    /// Adds a call to what a client sends, after all the rest.
    pub(crate) fn call(&mut self, client: usize, to: Address, value: U256, call: &impl SolCall) {
        let signer = &self.signers[client];
        let nonce = u64::try_from(self.transactions[client].len()).unwrap_or(u64::MAX);
        let call = TxEip1559 {
            gas_limit: 5_000_000,
            to: TxKind::Call(to),
            value,
            input: call.abi_encode().into(),
            ..transaction(nonce)
        };
        self.transactions[client].push(sign(signer, call));
    }

    /// Address of a client.
    pub(crate) fn address(&self, client: usize) -> Address {
        self.signers[client].address()
    }
}

fn transfer(signer: &PrivateKeySigner, nonce: u64) -> Recovered<TxEnvelope> {
    // Someone new each time, so that the state grows.
    let to = keccak256([signer.address().as_slice(), &nonce.to_be_bytes()].concat());
    let transfer = TxEip1559 {
        gas_limit: 21_000,
        to: TxKind::Call(Address::from_word(to)),
        value: U256::from(VALUE),
        ..transaction(nonce)
    };
    sign(signer, transfer)
}

fn transaction(nonce: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        ..TxEip1559::default()
    }
}

fn sign(signer: &PrivateKeySigner, transaction: TxEip1559) -> Recovered<TxEnvelope> {
    let signature = signer.sign_hash_sync(&transaction.signature_hash()).expect("a local key signs");
    Recovered::new_unchecked(transaction.into_signed(signature).into(), signer.address())
}
