use std::{fmt, net::SocketAddr, path::PathBuf};

use alloy_primitives::{B256, U256, hex};
use clap::Args;
use serde::Serialize;
use veracity_client::{Account, Chain, RoleSet, Stake};
use veracity_hosting::Endpoint;
use veracity_node::Folder;

use super::{role::Kind, settings::Settings};
use crate::{
    chain::{self, client_failure, ver},
    commands::faucet,
    data,
    error::Failure,
    output::Output,
    provider,
};

const EXAMPLES: &str = "\
Examples:
  veracity node bond --folder v --operator-key operator.key
  veracity node bond --folder v --operator-key operator.key --add 5000
  veracity node bond --folder w

The account of the key pays the bond and speaks for the node from then on, for ever. The validators with the highest \
bonds are elected in the middle of each epoch; they fetch the state while the next epoch runs, get their share of the \
network's key in the one after, and then sign blocks. Start the node now, so that it is there when it is needed. \
`veracity node start` bonds a worker, host or gateway by itself.";

/// Which node, and who speaks for it.
#[derive(Debug, Args)]
pub(super) struct Operated {
    /// Folder of the node.
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// File with the private key of the operator's account [default: that of the folder; a validator's has none].
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// JSON-RPC of a node of the network [default: that of the folder, for a validator `http://127.0.0.1:8545`].
    #[arg(long, value_name = "URL")]
    rpc: Option<String>,
}

/// Where a validator's chain is asked.
const RPC: &str = "http://127.0.0.1:8545";

/// A node, its operator, and the chain.
pub(super) struct Opened {
    pub(super) node: B256,
    pub(super) operator: Account,
    pub(super) chain: Chain,
    kind: Kind,
    roles: RoleSet,
    /// Where the folder says that it is reached.
    endpoint: Option<String>,
    /// By which the operator may register the node.
    proof: [u8; 64],
}

impl Operated {
    /// # Errors
    /// `other_network`, `flag_missing`, `role_without_bond`, and those of the folder, of the key and of [`client_failure`].
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        match Kind::of_folder(&self.folder)? {
            Kind::Validator => self.open_validator(),
            Kind::Follower => Err(Failure::input(
                "role_without_bond",
                "a follower has no key, so nothing to bond",
                "make the folder of a node with another role: veracity node init --role ROLE",
            )),
            kind @ Kind::Provider(_) => self.open_provider(kind),
        }
    }

    fn open_validator(&self) -> Result<Opened, Failure> {
        let folder = Folder::new(&self.folder);
        let network = folder.network().map_err(|e| chain::folder_failure(&e))?;
        let identity = folder.identity().map_err(|e| chain::folder_failure(&e))?;
        let config = folder.config().map_err(|e| chain::folder_failure(&e))?;
        let key = self.operator_key.as_ref().ok_or_else(|| {
            let message = "a validator's folder does not know its operator";
            Failure::input("flag_missing", message, "give the file of the operator's key with --operator-key")
        })?;
        let operator = chain::read_account(key)?;
        let rpc = self.rpc.as_deref().unwrap_or(RPC);
        let chain = Chain::connect(rpc).map_err(|e| client_failure(&e))?;
        let key = chain.network_key().map_err(|e| client_failure(&e))?;
        if chain.id() != network.chain_id() || key[..] != network.key()[..] {
            let message = format!("{rpc} is a node of another network than {}", self.folder.display());
            return Err(Failure::input(
                "other_network",
                message,
                "give a node of the same network with --rpc",
            ));
        }
        let proof = identity.bind_operator(chain.id(), operator.address());
        Ok(Opened {
            node: identity.public_key().into(),
            operator,
            chain,
            kind: Kind::Validator,
            roles: RoleSet::VALIDATOR,
            endpoint: Some(config.listen.to_string()),
            proof,
        })
    }

    fn open_provider(&self, kind: Kind) -> Result<Opened, Failure> {
        let mut settings = Settings::read(&self.folder)?;
        let key = data::executor_key(&*Settings::store(&self.folder)?)?;
        if let Some(path) = &self.operator_key {
            settings.operator_key.clone_from(path);
        }
        if let Some(rpc) = &self.rpc {
            settings.chain = vec![rpc.clone()];
        }
        let operator = settings.operator()?;
        let chain = settings.connect()?;
        let at = |listen: SocketAddr| format!("http://{listen}");
        let listen = Some(settings.listen).filter(|listen| listen.port() != 0);
        Ok(Opened {
            node: (*key.executor().as_bytes()).into(),
            proof: key.bind_operator(chain.id(), &operator.address().into_array()),
            operator,
            chain,
            kind,
            roles: provider::Role::set(&settings.roles),
            endpoint: settings.endpoint.or(listen.map(at)),
        })
    }
}

impl Opened {
    /// Where the node is reached: as given, else as its folder says.
    fn endpoint(&self, given: Option<&str>) -> Result<String, Failure> {
        let bad = |e: &dyn fmt::Display, fix| Failure::input("bad_address", e, fix);
        match (given, &self.kind) {
            (None, _) => self.endpoint.clone().ok_or_else(|| {
                let message = "the node takes any free port, so nobody knows yet where it is reached";
                Failure::input(
                    "flag_missing",
                    message,
                    "give --endpoint; `veracity node start` bonds it, too",
                )
            }),
            (Some(text), Kind::Validator | Kind::Follower) => {
                let fix = "give an IP address and port, such as 203.0.113.7:30303";
                text.parse::<SocketAddr>().map(|address| address.to_string()).map_err(|e| bad(&e, fix))
            }
            (Some(text), Kind::Provider(_)) => {
                let fix = "give a URL, such as http://203.0.113.7:8080";
                text.parse::<Endpoint>().map(|url| url.to_string()).map_err(|e| bad(&e, fix))
            }
        }
    }
}

/// Bond a node for its roles, or add to its bond.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BondArgs {
    #[command(flatten)]
    operated: Operated,
    /// How much to bond beside what is needed, in VER.
    #[arg(long, value_name = "VER", value_parser = faucet::amount)]
    add: Option<U256>,
    /// Where others reach it: IP address and port of a validator, else a URL [default: as the folder says].
    #[arg(long, value_name = "ADDRESS|URL")]
    endpoint: Option<String>,
}

/// How a node is bonded.
#[derive(Debug, Serialize)]
struct Bonded {
    node: String,
    operator: String,
    endpoint: String,
    bond_wei: U256,
    #[serde(flatten)]
    validator: Option<Standing>,
}

/// How a validator stands.
#[derive(Debug, Serialize)]
struct Standing {
    /// Its place among those who would be elected now, from 1.
    rank: Option<usize>,
    validators_max: u64,
}

/// Runs `veracity node bond`.
pub(super) fn execute(args: &BondArgs, out: Output) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let opened = args.operated.open()?;
    let endpoint = opened.endpoint(args.endpoint.as_deref())?;
    let add = args.add.unwrap_or_default();
    let Opened { node, operator, chain, .. } = &opened;
    let stake = chain.stake();
    match stake.node(*node).map_err(failure)? {
        None => {
            let bond = stake.required_bond(opened.roles).map_err(failure)? + add;
            check_money(chain, operator, bond)?;
            let registered = stake.register(operator, *node, opened.roles, &endpoint, opened.proof, bond);
            registered.map_err(failure)?;
        }
        Some(info) if info.operator != operator.address() => return Err(not_operator(&info, operator)),
        Some(info) => change(&opened, &info, &endpoint, add)?,
    }
    let info = stake.node(*node).map_err(failure)?;
    out.result(&Bonded {
        node: hex::encode(node),
        operator: operator.address().to_string(),
        endpoint,
        bond_wei: info.map(|info| info.bond).unwrap_or_default(),
        validator: (opened.kind == Kind::Validator).then(|| standing(&opened)).transpose()?,
    });
    Ok(())
}

/// Changes what is registered: bond, roles, candidacy, endpoint.
fn change(opened: &Opened, info: &Stake::NodeInfo, endpoint: &str, add: U256) -> Result<(), Failure> {
    let failure = |e| client_failure(&e);
    let Opened { node, operator, chain, .. } = opened;
    let stake = chain.stake();
    let roles = RoleSet(info.roles).with(opened.roles);
    let needed = stake.required_bond(roles).map_err(failure)?;
    let bond = needed.saturating_sub(info.bond) + add;
    if !bond.is_zero() {
        check_money(chain, operator, bond)?;
        stake.bond(operator, *node, bond).map_err(failure)?;
    }
    if roles != RoleSet(info.roles) {
        stake.set_roles(operator, *node, roles).map_err(failure)?;
    }
    let candidate = || Ok(stake.node(*node).map_err(failure)?.is_some_and(|info| info.candidate));
    if opened.kind == Kind::Validator && !candidate()? {
        stake.stand(operator, *node).map_err(failure)?;
    }
    if info.endpoint != endpoint {
        stake.set_endpoint(operator, *node, endpoint).map_err(failure)?;
    }
    Ok(())
}

/// How a validator stands among the others.
fn standing(opened: &Opened) -> Result<Standing, Failure> {
    let failure = |e| client_failure(&e);
    let Opened { node, chain, .. } = opened;
    let validators_max = chain.parameter("validators_max").map_err(failure)?.saturating_to();
    let validators = chain.stake().validators(validators_max).map_err(failure)?;
    let rank = validators.iter().position(|(id, _)| id == node).map(|place| place + 1);
    Ok(Standing { rank, validators_max })
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
        let Self { node, operator, endpoint, bond_wei, validator } = self;
        writeln!(f, "Node {node} is bonded")?;
        writeln!(f, "  operator   {operator}")?;
        writeln!(f, "  endpoint   {endpoint}")?;
        write!(f, "  bond       {} VER", ver(*bond_wei))?;
        match validator {
            None => Ok(()),
            Some(Standing { rank: Some(rank), validators_max }) => {
                write!(f, "\n  rank       {rank} of at most {validators_max}: it would be elected now")
            }
            Some(Standing { rank: None, validators_max }) => write!(
                f,
                "\n  rank       none: all {validators_max} places have higher bonds; add some with --add"
            ),
        }
    }
}
