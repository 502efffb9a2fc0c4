use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, transaction::Recovered};
use alloy_genesis::{Genesis as EthereumGenesis, GenesisAccount};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_rpc_types_eth::TransactionRequest;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use ed25519_dalek::{Signer, SigningKey};
use veracity_chain::{
    Block, BlockContext, Builder, Call, CallEnd, Choice, Executed, Genesis, GenesisNode, Role, State, System,
    binding_message, call, genesis_block, genesis_changes,
};

pub(crate) const CHAIN_ID: u64 = 73_571;
pub(crate) const ETHER: u64 = 1_000_000_000_000_000_000;

pub(crate) fn signer(index: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(index + 1)).unwrap()
}

/// A chain in memory.
pub(crate) struct Chain {
    pub(crate) head: Block,
    pub(crate) state: State,
}

impl Chain {
    /// Ten accounts of ten thousand ether, and contracts with `codes` at addresses 0x1000 and on.
    pub(crate) fn new(codes: &[&[u8]]) -> Self {
        let funded = (0..10).map(|i| {
            let balance = U256::from(10_000) * U256::from(ETHER);
            (signer(i).address(), GenesisAccount::default().with_balance(balance))
        });
        let contracts = (0x1000u64..).zip(codes).map(|(at, code)| {
            let code = Bytes::copy_from_slice(code);
            (contract(at - 0x1000), GenesisAccount::default().with_nonce(Some(1)).with_code(Some(code)))
        });
        let genesis = EthereumGenesis::default()
            .extend_accounts(funded)
            .extend_accounts(contracts)
            .with_gas_limit(30_000_000);
        let mut state = State::default();
        state.apply(&genesis_changes(&genesis)).unwrap();
        Self { head: genesis_block(&genesis, &state), state }
    }

    /// A chain with system contracts.
    pub(crate) fn start(genesis: &Genesis) -> Self {
        let made = genesis.build().unwrap();
        Self { head: made.block, state: made.state }
    }

    pub(crate) fn system(&self) -> System<'_> {
        System::new(&self.state, &self.head.header, CHAIN_ID)
    }

    /// How a call by nobody ends in the state after the head.
    pub(crate) fn call(&self, to: Address, input: impl Into<Bytes>) -> CallEnd {
        let request = TransactionRequest::default().to(to).input(input.into().into());
        let at = BlockContext::of(&self.head.header, CHAIN_ID);
        call(&self.state, &at, &Call { request, gas_max: 1 << 24, ..Call::default() }).unwrap().end
    }

    /// What a view returns.
    pub(crate) fn view<C: SolCall>(&self, to: Address, function: &C) -> C::Return {
        match self.call(to, function.abi_encode()) {
            CallEnd::Returned(output) => C::abi_decode_returns(&output).unwrap(),
            other => panic!("{}: {other:?}", C::SIGNATURE),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        Builder::new(&self.head.header, &self.state, CHAIN_ID, &choice(self.head.header.timestamp + 1))
    }

    /// Appends a block of `transactions`, none of which may be refused.
    pub(crate) fn extend(&mut self, transactions: &[Recovered<TxEnvelope>]) -> Executed {
        let mut builder = self.builder();
        transactions.iter().for_each(|transaction| builder.push(transaction).unwrap());
        let (block, executed) = builder.finish();
        (self.head, self.state) = (block, executed.state.clone());
        executed
    }

    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.state.account(address).map(|a| a.balance).unwrap_or_default()
    }
}

/// Funded accounts, and no contracts but those of genesis.
pub(crate) fn genesis() -> Genesis {
    let funded = (0..10).map(|i| {
        let balance = U256::from(100_000) * U256::from(ETHER);
        (signer(i).address(), GenesisAccount::default().with_balance(balance))
    });
    let mut ethereum = EthereumGenesis::default().extend_accounts(funded).with_gas_limit(30_000_000);
    ethereum.config.chain_id = CHAIN_ID;
    Genesis { ethereum, ..Genesis::default() }
}

/// The key of node `index`.
pub(crate) fn node_key(index: u8) -> SigningKey {
    SigningKey::from_bytes(&[index; 32])
}

pub(crate) fn node_id(index: u8) -> B256 {
    node_key(index).verifying_key().to_bytes().into()
}

/// Node `index` of the operator `signer(index)`, with a bond in whole VER.
pub(crate) fn node(index: u8, roles: &[Role], bond: u64) -> GenesisNode {
    let operator = signer(index).address();
    GenesisNode {
        node_id: node_id(index),
        operator,
        roles: roles.iter().copied().collect(),
        endpoint: format!("10.0.0.{index}:9000"),
        bond: U256::from(bond) * U256::from(ETHER),
        proof: node_key(index).sign(&binding_message(CHAIN_ID, operator)).to_bytes().into(),
    }
}

pub(crate) fn contract(index: u64) -> Address {
    Address::left_padding_from(&(0x1000 + index).to_be_bytes())
}

pub(crate) fn choice(timestamp: u64) -> Choice {
    let beneficiary = Address::repeat_byte(0xbe);
    Choice { timestamp, beneficiary, random: B256::repeat_byte(7), extra_data: Bytes::new() }
}

pub(crate) fn transaction(from: u8, nonce: u64, to: TxKind, value: u64, input: &[u8]) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: 1_000_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: u128::from(from) * 1_000_000,
        to,
        value: U256::from(value),
        input: Bytes::copy_from_slice(input),
        ..TxEip1559::default()
    }
}

pub(crate) fn sign(from: u8, transaction: TxEip1559) -> Recovered<TxEnvelope> {
    let signature = signer(from).sign_hash_sync(&transaction.signature_hash()).unwrap();
    Recovered::new_unchecked(transaction.into_signed(signature).into(), signer(from).address())
}

pub(crate) fn send(from: u8, nonce: u64, to: Address, value: u64) -> Recovered<TxEnvelope> {
    sign(from, transaction(from, nonce, TxKind::Call(to), value, &[]))
}
