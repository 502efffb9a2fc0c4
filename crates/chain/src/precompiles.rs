//! Precompiles: Ethereum's, and one that verifies Ed25519 signatures (docs/spec/contracts.md, section 2).

use std::{borrow::Cow, sync::LazyLock};

use alloy_evm::precompiles::PrecompilesMap;
use alloy_primitives::{Address, B256, address};
use ed25519_dalek::{Signature, VerifyingKey};
use revm::precompile::{
    EthPrecompileOutput, EthPrecompileResult, Precompile, PrecompileHalt, PrecompileId, PrecompileOutput,
    PrecompileSpecId, Precompiles, calc_linear_cost,
};
use revm::primitives::hardfork::SpecId;

use crate::SPEC;

/// Where contracts find the precompile that verifies Ed25519 signatures.
pub const ED25519: Address = address!("0x0000000000000000000000000000000000000e25");

/// Gas of a verification without the message.
const GAS_BASE: u64 = 3000;
/// Gas for each begun 32 bytes of the message, which is hashed.
const GAS_PER_WORD: u64 = 12;

/// Every precompile of this chain by the rules of `spec`.
pub(crate) fn precompiles(spec: SpecId) -> PrecompilesMap {
    static ALL: LazyLock<Precompiles> = LazyLock::new(|| with_ed25519(SPEC));
    if spec == SPEC {
        PrecompilesMap::from_static(&ALL)
    } else {
        PrecompilesMap::new(Cow::Owned(with_ed25519(spec)))
    }
}

fn with_ed25519(spec: SpecId) -> Precompiles {
    let mut all = Precompiles::new(PrecompileSpecId::from_spec_id(spec)).clone();
    all.extend([Precompile::new(PrecompileId::custom("ED25519"), ED25519, |input, gas_limit, reservoir| {
        Ok(PrecompileOutput::from_eth_result(ed25519(input, gas_limit), reservoir))
    })]);
    all
}

fn ed25519(input: &[u8], gas_limit: u64) -> EthPrecompileResult {
    let message_bytes = input.len().saturating_sub(32 + 64);
    let gas = calc_linear_cost(message_bytes, GAS_BASE, GAS_PER_WORD);
    // Before any work, so that none is done for free.
    if gas > gas_limit {
        return Err(PrecompileHalt::OutOfGas);
    }
    let word = B256::with_last_byte(u8::from(is_signature(input).is_some()));
    Ok(EthPrecompileOutput::new(gas, word.into()))
}

/// Whether key, signature and message, one after the other, belong together under the strict rule.
fn is_signature(input: &[u8]) -> Option<()> {
    let (key, rest) = input.split_first_chunk::<32>()?;
    let (signature, message) = rest.split_first_chunk::<64>()?;
    let point = VerifyingKey::from_bytes(key).ok()?;
    // Decompression reduces y modulo p: a few points have a second encoding, which other verifiers refuse.
    if point.to_edwards().compress().as_bytes() != key {
        return None;
    }
    point.verify_strict(message, &Signature::from_bytes(signature)).ok()
}
