//! Registration of the executor as a node of the network (`docs/spec/contracts.md`, section 3).

use alloy_primitives::{B256, U256};
use veracity_client::{Account, Chain, RoleSet, Stake};
use veracity_receipt::ExecutorKey;

use crate::RegisterError;

/// What a provider says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// What it does. Roles that it has beside these are given up.
    pub roles: RoleSet,
    /// Where it is reached; may be empty.
    pub endpoint: String,
}

/// What [`register`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// Registered it.
    New {
        /// The bond, in wei.
        bond: U256,
    },
    /// Changed roles, endpoint or bond of a node that it was already.
    Changed,
    /// Nothing: all was so already.
    Already,
}

/// Makes the executor a node of the network that belongs to `operator`, with these roles, this endpoint and the bond that
/// the roles need, and waits until that is final. What is so already is left alone, so repeating it is harmless, as is a
/// crash at any point.
///
/// # Errors
/// [`RegisterError`].
pub fn register(
    chain: &Chain,
    operator: &Account,
    key: &ExecutorKey,
    registration: &Registration,
) -> Result<Registered, RegisterError> {
    let node = B256::from(*key.executor().as_bytes());
    let Registration { roles, endpoint } = registration;
    let (stake, account) = (chain.stake(), operator.address());
    match stake.node(node)? {
        Some(info) if info.operator != account => {
            Err(RegisterError::OtherOperator { executor: node, operator: info.operator, account })
        }
        Some(info) => change(chain, operator, node, &info, registration),
        None => {
            let bond = stake.required_bond(*roles)?;
            check_money(chain, operator, bond)?;
            // Made here and not of what the node says must be signed.
            let proof = key.bind_operator(chain.id(), &account.into_array());
            stake.register(operator, node, *roles, endpoint, proof, bond)?;
            Ok(Registered::New { bond })
        }
    }
}

fn change(
    chain: &Chain,
    operator: &Account,
    node: B256,
    info: &Stake::NodeInfo,
    registration: &Registration,
) -> Result<Registered, RegisterError> {
    let stake = chain.stake();
    let Registration { roles, endpoint } = registration;
    // It answers for roles that it gives up until their delay is over.
    let answered = roles.with(RoleSet(info.roles)).with(RoleSet(info.leavingRoles));
    let needed = if info.roles == roles.0 { *roles } else { answered };
    let missing = stake.required_bond(needed)?.saturating_sub(info.bond);
    let mut changed = false;
    if !missing.is_zero() {
        check_money(chain, operator, missing)?;
        stake.bond(operator, node, missing)?;
        changed = true;
    }
    if info.roles != roles.0 {
        stake.set_roles(operator, node, *roles)?;
        changed = true;
    }
    if info.endpoint != *endpoint {
        stake.set_endpoint(operator, node, endpoint)?;
        changed = true;
    }
    Ok(if changed { Registered::Changed } else { Registered::Already })
}

fn check_money(chain: &Chain, operator: &Account, bond: U256) -> Result<(), RegisterError> {
    let (account, balance) = (operator.address(), chain.balance(operator.address())?);
    match balance > bond {
        true => Ok(()),
        false => Err(RegisterError::TooPoor { account, balance, bond }),
    }
}
