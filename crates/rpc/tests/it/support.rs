use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::Recovered};
use alloy_eips::Encodable2718 as _;
use alloy_genesis::{Genesis, GenesisAccount};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use jsonrpsee::{
    core::{ClientError, client::ClientT, params::ArrayParams},
    http_client::{HttpClient, HttpClientBuilder},
    types::ErrorObjectOwned,
    ws_client::{WsClient, WsClientBuilder},
};
use serde::de::DeserializeOwned;
use veracity_chain::{State, genesis_block, genesis_changes};
use veracity_rpc::{Chain, Config, Finalized, Index, IndexError, Server, Services, serve};

use crate::sealer::{Sealer, Sealing};

pub(crate) const CHAIN_ID: u64 = 73_571;
pub(crate) const GWEI: u128 = 1_000_000_000;

/// Log with topics `calldata[0..32]` and `calldata[32..64]` and data `calldata[64..96]`.
pub(crate) const LOGGER: &[u8] =
    &[0x60, 0x40, 0x35, 0x5f, 0x52, 0x60, 0x20, 0x35, 0x5f, 0x35, 0x60, 0x20, 0x5f, 0xa2, 0x00];
/// Reverts with its input.
pub(crate) const REVERTER: &[u8] = &[0x36, 0x5f, 0x5f, 0x37, 0x36, 0x5f, 0xfd];
/// Adds one to slot 0, and returns it.
pub(crate) const COUNTER: &[u8] =
    &[0x5f, 0x54, 0x60, 0x01, 0x01, 0x80, 0x5f, 0x55, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];
/// Runs for ever.
pub(crate) const LOOPER: &[u8] = &[0x5b, 0x5f, 0x56];
/// An invalid instruction.
pub(crate) const INVALID: &[u8] = &[0xfe];
/// Returns base fee, number and timestamp.
pub(crate) const ENVIRONMENT: &[u8] =
    &[0x48, 0x5f, 0x52, 0x43, 0x60, 0x20, 0x52, 0x42, 0x60, 0x40, 0x52, 0x60, 0x60, 0x5f, 0xf3];
/// Calls the counter with all gas, and reverts if that fails.
pub(crate) const CALLER: &[u8] = &[
    0x5f, 0x5f, 0x5f, 0x5f, 0x5f, 0x61, 0x10, 0x02, 0x5a, 0xf1, 0x60, 0x10, 0x57, 0x5f, 0x5f, 0xfd, 0x5b,
    0x00,
];

pub(crate) const CODES: [&[u8]; 7] = [LOGGER, REVERTER, COUNTER, LOOPER, INVALID, ENVIRONMENT, CALLER];

/// Address of a contract of [`CODES`].
pub(crate) fn contract(code: &[u8]) -> Address {
    let index = CODES.iter().position(|known| *known == code).unwrap();
    Address::left_padding_from(&(0x1000 + u64::try_from(index).unwrap()).to_be_bytes())
}

pub(crate) fn signer(index: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(index + 1)).unwrap()
}

pub(crate) fn address(index: u8) -> Address {
    signer(index).address()
}

/// Genesis with ten funded accounts and the contracts of [`CODES`].
pub(crate) fn genesis() -> (Finalized, State) {
    let funded = (0..10).map(|i| {
        let balance = U256::from(10_000 * GWEI) * U256::from(GWEI);
        (address(i), GenesisAccount::default().with_balance(balance))
    });
    let contracts = CODES.iter().map(|code| {
        let account = GenesisAccount::default().with_nonce(Some(1));
        (contract(code), account.with_code(Some(Bytes::copy_from_slice(code))))
    });
    let genesis =
        Genesis::default().extend_accounts(funded).extend_accounts(contracts).with_gas_limit(30_000_000);
    let mut state = State::default();
    state.apply(&genesis_changes(&genesis)).unwrap();
    (Finalized::empty(genesis_block(&genesis, &state)), state)
}

/// Every block is a second after the one before, whatever the time is.
fn clock() -> u64 {
    static SECONDS: AtomicU64 = AtomicU64::new(1_700_000_000);
    SECONDS.fetch_add(1, Ordering::Relaxed)
}

/// A chain without a server.
pub(crate) fn chain(path: Option<&Path>) -> Arc<Chain> {
    let index = match path {
        Some(path) => Index::open(path, CHAIN_ID).unwrap(),
        None => Index::in_memory(CHAIN_ID).unwrap(),
    };
    let (start, state) = genesis();
    Arc::new(Chain::open(index, CHAIN_ID, start, state).unwrap())
}

pub(crate) fn sealer(chain: &Arc<Chain>, sealing: Sealing) -> Arc<Sealer> {
    Arc::new(Sealer::new(Arc::clone(chain), sealing, clock))
}

/// A node with its server and a client of it.
pub(crate) struct Node {
    pub(crate) chain: Arc<Chain>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) server: Server,
    pub(crate) http: HttpClient,
}

impl Node {
    pub(crate) async fn new(sealing: Sealing) -> Self {
        Self::with(sealing, |_| {}).await
    }

    /// A node with other limits.
    pub(crate) async fn with(sealing: Sealing, change: impl FnOnce(&mut Config)) -> Self {
        let chain = chain(None);
        let sealer = sealer(&chain, sealing);
        Self::serve(chain, sealer, change).await
    }

    pub(crate) async fn serve(
        chain: Arc<Chain>,
        sealer: Arc<Sealer>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::new("127.0.0.1:0".parse().unwrap());
        change(&mut config);
        let services = Services {
            chain: Arc::clone(&chain),
            pool: Arc::clone(&sealer) as _,
            peers: Arc::new(|| 3),
            epoch: Arc::new(|| None),
            tip: Arc::new(|| 0),
            network_key: Some(Bytes::from_static(&[7; 96])),
            follow: None,
        };
        let server = serve(config, services).await.unwrap();
        let http = HttpClientBuilder::default().build(format!("http://{}", server.address())).unwrap();
        Self { chain, sealer, server, http }
    }

    pub(crate) async fn ws(&self) -> WsClient {
        WsClientBuilder::default().build(format!("ws://{}", self.server.address())).await.unwrap()
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, params: ArrayParams) -> T {
        let answer = self.http.request(method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) async fn refusal(&self, method: &str, params: ArrayParams) -> ErrorObjectOwned {
        match self.http.request::<serde_json::Value, _>(method, params).await {
            Err(ClientError::Call(error)) => error,
            other => panic!("{method}: {other:?}"),
        }
    }

    pub(crate) async fn send(&self, transaction: &Recovered<TxEnvelope>) -> B256 {
        self.ask("eth_sendRawTransaction", jsonrpsee::rpc_params![raw(transaction)]).await
    }
}

pub(crate) fn raw(transaction: &Recovered<TxEnvelope>) -> Bytes {
    transaction.encoded_2718().into()
}

pub(crate) fn fields(nonce: u64, to: TxKind, value: u64, input: &[u8]) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 1_000_000,
        max_fee_per_gas: 10 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to,
        value: U256::from(value),
        input: Bytes::copy_from_slice(input),
        ..TxEip1559::default()
    }
}

pub(crate) fn sign(from: u8, fields: TxEip1559) -> Recovered<TxEnvelope> {
    let signature = signer(from).sign_hash_sync(&fields.signature_hash()).unwrap();
    Recovered::new_unchecked(fields.into_signed(signature).into(), address(from))
}

/// A transfer of `value` wei.
pub(crate) fn transfer(from: u8, nonce: u64, to: Address, value: u64) -> Recovered<TxEnvelope> {
    sign(from, fields(nonce, TxKind::Call(to), value, &[]))
}

/// A call of a contract of [`CODES`].
pub(crate) fn invoke(from: u8, nonce: u64, code: &[u8], input: &[u8]) -> Recovered<TxEnvelope> {
    sign(from, fields(nonce, TxKind::Call(contract(code)), 0, input))
}

/// Numbers as calldata.
pub(crate) fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| U256::from(*number).to_be_bytes::<32>()).collect()
}

/// What `open` gives instead of an index.
pub(crate) fn error<T>(result: Result<T, IndexError>) -> IndexError {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error,
    }
}
