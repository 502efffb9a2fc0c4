use std::{fmt, net::SocketAddr, path::PathBuf};

use alloy_primitives::{B256, U256, hex};
use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain, RoleSet, Stake};
use veracity_node::Folder;

use crate::{
    chain::{self, client_failure, ver},
    commands::faucet,
    error::Failure,
    output::Output,
};

const EXAMPLES: &str = "\
Examples:
  veracity node bond --folder v --operator-key operator.key
  veracity node bond --folder v --operator-key operator.key --add 5000

The account of the key pays the bond and speaks for the node from then on, for ever. The validators with the highest \
bonds are elected in the middle of each epoch; they fetch the state while the next epoch runs, get their share of the \
network's key in the one after, and then sign blocks. Start the node now, so that it is there when it is needed.";

/// Which node, and who speaks for it.
#[derive(Debug, Args)]
pub(super) struct Operated {
    /// Folder of the node.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// File with the private key of the operator's account.
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
    /// JSON-RPC of a node of the network.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8545")]
    rpc: String,
}

/// A node, its operator, and the chain.
pub(super) struct Opened {
    pub(super) folder: Folder,
    pub(super) node: B256,
    pub(super) operator: Account,
    pub(super) chain: Chain,
}

impl Operated {
    /// # Errors
    /// `other_network`, and those of the folder, of the key and of [`client_failure`].
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        let folder = Folder::new(&self.folder);
        let network = folder.network().map_err(|e| chain::folder_failure(&e))?;
        let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
        let operator = chain::read_account(&self.operator_key)?;
        let chain = Chain::connect(&self.rpc).map_err(|e| client_failure(&e))?;
        let key = chain.network_key().map_err(|e| client_failure(&e))?;
        if chain.id() != network.chain_id() || key[..] != network.key()[..] {
            let message = format!("{} is a node of another network than {}", self.rpc, self.folder.display());
            return Err(Failure::input(
                "other_network",
                message,
                "give a node of the same network with --rpc",
            ));
        }
        Ok(Opened { folder, node: identity.public_key().into(), operator, chain })
    }
}

/// Bond a node as a validator, or add to its bond.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BondArgs {
    #[command(flatten)]
    operated: Operated,
    /// How much to bond beside what is needed, in VER.
    #[arg(long, value_name = "VER", value_parser = faucet::amount)]
    add: Option<U256>,
    /// IP address and port at which the others reach it [default: where the folder says that it listens].
    #[arg(long, value_name = "ADDRESS")]
    endpoint: Option<SocketAddr>,
}

/// How a node is bonded.
#[derive(Debug, Serialize)]
struct Bonded {
    node: String,
    operator: String,
    endpoint: String,
    bond_wei: U256,
    /// Its place among those who would be elected now, from 1.
    rank: Option<usize>,
    validators_max: u64,
}

/// Runs `veracity node bond`.
pub(super) fn execute(args: &BondArgs, out: Output) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let Opened { folder, node, operator, chain } = args.operated.open()?;
    let config = folder.config().map_err(|e| chain::folder_failure(&e))?;
    let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
    let endpoint = args.endpoint.unwrap_or(config.listen).to_string();
    let stake = chain.stake();
    let add = args.add.unwrap_or_default();
    match stake.node(node).map_err(failure)? {
        None => {
            let bond = stake.required_bond(RoleSet::VALIDATOR).map_err(failure)? + add;
            check_money(&chain, &operator, bond)?;
            let proof = identity.bind_operator(chain.id(), operator.address());
            stake.register(&operator, node, RoleSet::VALIDATOR, &endpoint, proof, bond).map_err(failure)?;
        }
        Some(info) if info.operator != operator.address() => return Err(not_operator(&info, &operator)),
        Some(info) => {
            let roles = RoleSet(info.roles).with(RoleSet::VALIDATOR);
            let needed = stake.required_bond(roles).map_err(failure)?;
            let bond = needed.saturating_sub(info.bond) + add;
            if !bond.is_zero() {
                check_money(&chain, &operator, bond)?;
                stake.bond(&operator, node, bond).map_err(failure)?;
            }
            if roles != RoleSet(info.roles) {
                stake.set_roles(&operator, node, roles).map_err(failure)?;
            }
            if !stake.node(node).map_err(failure)?.is_some_and(|info| info.candidate) {
                stake.stand(&operator, node).map_err(failure)?;
            }
            if info.endpoint != endpoint {
                stake.set_endpoint(&operator, node, &endpoint).map_err(failure)?;
            }
        }
    }
    let info = stake.node(node).map_err(failure)?;
    let validators_max = chain.parameter("validators_max").map_err(failure)?.saturating_to();
    let validators = stake.validators(validators_max).map_err(failure)?;
    out.result(&Bonded {
        node: hex::encode(node),
        operator: operator.address().to_string(),
        endpoint,
        bond_wei: info.map(|info| info.bond).unwrap_or_default(),
        rank: validators.iter().position(|(id, _)| *id == node).map(|place| place + 1),
        validators_max,
    });
    Ok(())
}

/// Somebody else speaks for the node.
pub(super) fn not_operator(info: &Stake::NodeInfo, operator: &Account) -> Failure {
    let message = format!("the operator of this node is {}, not {}", info.operator, operator.address());
    Failure::input("not_operator", message, "give the key of that account with --operator-key")
}

fn check_money(chain: &Chain, operator: &Account, bond: U256) -> Result<(), Failure> {
    let balance = chain.balance(operator.address()).map_err(|e| client_failure(&e))?;
    if balance > bond {
        return Ok(());
    }
    let (address, missing) = (operator.address(), bond - balance + U256::from(10).pow(U256::from(18)));
    let message =
        format!("{address} has {} VER; it needs {} for the bond, and some for gas", ver(balance), ver(bond));
    let fix = format!(
        "send it some; on networks for development: veracity faucet {address} --amount {}",
        ver(missing)
    );
    Err(Failure::input("too_poor", message, fix))
}

impl fmt::Display for Bonded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, operator, endpoint, bond_wei, rank, validators_max } = self;
        writeln!(f, "Node {node} is bonded")?;
        writeln!(f, "  operator   {operator}")?;
        writeln!(f, "  endpoint   {endpoint}")?;
        writeln!(f, "  bond       {} VER", ver(*bond_wei))?;
        match rank {
            Some(rank) => {
                write!(f, "  rank       {rank} of at most {validators_max}: it would be elected now")
            }
            None => write!(
                f,
                "  rank       none: all {validators_max} places have higher bonds; add some with --add"
            ),
        }
    }
}
