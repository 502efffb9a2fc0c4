//! A node without consensus that makes a block for each transaction: for clients to be pointed at.
//!
//! `cargo run -p veracity-rpc --example dev -- --port 8545`

#![expect(clippy::print_stdout, reason = "it tells what to connect to")]

mod sealer;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_genesis::GenesisAccount;
use alloy_primitives::U256;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, Result};
use clap::Parser;
use sealer::{Sealer, Sealing};
use veracity_chain::Genesis;
use veracity_rpc::{Chain, Config, Finalized, Index, Services, serve};

/// Keys of the mnemonic "test test test test test test test test test test test junk", as in anvil.
const KEYS: [&str; 10] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "0x4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "0xdbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// A node without consensus.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8545)]
    port: u16,
    /// Chain that transactions are signed for.
    #[arg(long, default_value_t = 73_571)]
    chain_id: u64,
    /// Milliseconds between blocks; without it, each transaction gets a block at once.
    #[arg(long)]
    block_ms: Option<u64>,
    /// File for the index of blocks, which must be new; without it, blocks are in memory.
    #[arg(long)]
    index: Option<PathBuf>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let arguments = Arguments::parse();
    let chain_id = arguments.chain_id;
    let signers = KEYS.map(|key| key.parse::<PrivateKeySigner>().expect("a key"));
    let balance = U256::from(10_000u64) * U256::from(10u64).pow(U256::from(18));
    let funded =
        signers.iter().map(|signer| (signer.address(), GenesisAccount::default().with_balance(balance)));
    let mut ethereum = alloy_genesis::Genesis::default()
        .extend_accounts(funded)
        .with_gas_limit(30_000_000)
        .with_timestamp(now());
    ethereum.config.chain_id = chain_id;
    let genesis = Genesis { ethereum, parameters: [].into(), nodes: vec![] }.build()?;
    let index = match &arguments.index {
        Some(path) => Index::open(path, chain_id)?,
        None => Index::in_memory(chain_id)?,
    };
    let chain = Chain::open(index, chain_id, Finalized::empty(genesis.block), genesis.state)
        .context("the index has blocks of another run: give a new file")?;
    // Blocks come with every transaction, and are small.
    let chain = Arc::new(chain.keep_states(10_000));
    let sealing = if arguments.block_ms.is_some() { Sealing::Manual } else { Sealing::Instant };
    let sealer = Arc::new(Sealer::new(Arc::clone(&chain), sealing, now));
    let services = Services {
        chain,
        pool: Arc::clone(&sealer) as _,
        peers: Arc::new(|| 0),
        epoch: Arc::new(|| None),
        tip: Arc::new(|| 0),
        network_key: None,
        follow: None,
    };
    let server = serve(Config::new(SocketAddr::new(arguments.host, arguments.port)), services).await?;
    println!("Chain id {chain_id}\n\nAccounts, with 10000 ether each:");
    for (signer, key) in signers.iter().zip(KEYS) {
        println!("  {}  {key}", signer.address());
    }
    println!("\nListening on http://{0} and ws://{0}", server.address());
    if let Some(block_ms) = arguments.block_ms {
        tokio::task::spawn_blocking(move || {
            loop {
                std::thread::sleep(Duration::from_millis(block_ms.max(1)));
                sealer.seal(usize::MAX);
            }
        });
    }
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    // The thread that makes blocks never ends by itself.
    std::process::exit(0)
}
