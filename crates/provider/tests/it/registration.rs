//! The executor becomes a node of the network.

use alloy_primitives::{B256, U256};
use veracity_client::{Account, RoleSet};
use veracity_provider::{RegisterError, Registered, Registration, register};
use veracity_receipt::ExecutorKey;

use crate::dev_chain::Network;

fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

#[test]
fn registering_is_done_once_and_follows_the_configuration() {
    let network = Network::start();
    let (chain, operator) = (&network.chain, network.account(0));
    let key = ExecutorKey::from_seed(&[1; 32]);
    let node = B256::from(*key.executor().as_bytes());
    let as_worker = Registration { roles: RoleSet::WORKER, endpoint: "http://127.0.0.1:1".into() };
    assert_eq!(register(chain, &operator, &key, &as_worker).unwrap(), Registered::New { bond: ether(1000) });
    assert_eq!(register(chain, &operator, &key, &as_worker).unwrap(), Registered::Already);
    let roles = RoleSet::WORKER.with(RoleSet::HOST).with(RoleSet::GATEWAY);
    let as_all = Registration { roles, endpoint: "http://127.0.0.1:2".into() };
    assert_eq!(register(chain, &operator, &key, &as_all).unwrap(), Registered::Changed);
    assert_eq!(register(chain, &operator, &key, &as_all).unwrap(), Registered::Already);
    let info = chain.stake().node(node).unwrap().unwrap();
    assert_eq!((info.roles, info.bond, info.endpoint.as_str()), (roles.0, ether(1200), "http://127.0.0.1:2"));
    assert!(chain.stake().has_role(node, roles).unwrap());

    let other = network.account(1);
    let error = register(chain, &other, &key, &as_all).unwrap_err();
    assert!(
        matches!(error, RegisterError::OtherOperator { operator: o, account, .. }
        if o == operator.address() && account == other.address()),
        "{error}"
    );
}

#[test]
fn who_cannot_pay_is_told_so_before() {
    let network = Network::start();
    let poor = Account::from_key(B256::repeat_byte(9)).unwrap();
    let registration = Registration { roles: RoleSet::WORKER, endpoint: String::new() };
    let error =
        register(&network.chain, &poor, &ExecutorKey::from_seed(&[2; 32]), &registration).unwrap_err();
    let RegisterError::TooPoor { balance, bond, .. } = error else { panic!("{error}") };
    assert_eq!((balance, bond), (U256::ZERO, ether(1000)));
    // What the contract refuses comes back in its words.
    let registration = Registration { roles: RoleSet(64), endpoint: String::new() };
    let error =
        register(&network.chain, &network.account(0), &ExecutorKey::from_seed(&[2; 32]), &registration);
    let error = error.unwrap_err();
    assert!(matches!(error, RegisterError::Client(_)), "{error}");
    assert!(error.to_string().starts_with("BadRoles"), "{error}");
}
