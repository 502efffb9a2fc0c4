//! Many reads in one call, all in the state of one block.

use alloy_primitives::{Address, Bytes, address};
use alloy_sol_types::{SolCall, sol};
use veracity_client::{Chain, ClientError};

/// Multicall3, which every chain has from genesis (`docs/spec/contracts.md`, section 8).
const MULTICALL3: Address = address!("ca11bde05977b3631167028862be2a173976ca11");
/// Reads in one call: some ten million gas at most, which nodes allow.
const READS_MAX: usize = 128;

sol! {
    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Result3 {
        bool success;
        bytes returnData;
    }

    function aggregate3(Call3[] calldata calls) external payable returns (Result3[] memory results);
}

/// Makes the same call of a contract with each of these arguments; none stands for a call that the contract refuses.
///
/// # Errors
/// As [`Chain::read`].
pub(crate) fn read_many<C: SolCall>(
    chain: &Chain,
    contract: Address,
    calls: &[C],
) -> Result<Vec<Option<C::Return>>, ClientError> {
    let mut all = Vec::with_capacity(calls.len());
    for part in calls.chunks(READS_MAX) {
        let call = |call: &C| Call3 {
            target: contract,
            allowFailure: true,
            callData: Bytes::from(call.abi_encode()),
        };
        let results = chain.read(MULTICALL3, &aggregate3Call { calls: part.iter().map(call).collect() })?;
        let decode = |result: &Result3| {
            let answer = result.success.then(|| C::abi_decode_returns_validate(&result.returnData));
            answer.and_then(Result::ok)
        };
        // A node that answers for fewer answers nothing for the rest.
        let decoded = results.iter().map(decode).chain(std::iter::repeat_with(|| None));
        all.extend(decoded.take(part.len()));
    }
    Ok(all)
}
