//! Laws on generated input: what is encoded is decoded, and whatever is decoded had one encoding.

use proptest::prelude::*;
use veracity_receipt::{
    Claims, ExecutorKey, ModelId, Parameters, Receipt, RequestHash, ResponseHash, TraceRoot, Usage,
};

use crate::fixture::receipt;

prop_compose! {
    fn parameters()(
        protocol in "[!-~]{1,32}",
        model_name in "[!-~]{1,256}",
        request_json_length in any::<Option<u64>>(),
        response_json_length in any::<Option<u64>>(),
    ) -> Parameters {
        Parameters { protocol, model_name, request_json_length, response_json_length }
    }
}

prop_compose! {
    fn usage(parameters: &Parameters)(
        samples in any::<u64>(),
        input_bytes in parameters.request_json_length.unwrap_or(0)..=u64::MAX,
        output_bytes in parameters.response_json_length.unwrap_or(0)..=u64::MAX,
        macs in any::<Option<u64>>(),
    ) -> Usage {
        Usage { samples, input_bytes, output_bytes, macs }
    }
}

prop_compose! {
    fn claims()(parameters in parameters())(
        usage in usage(&parameters),
        parameters in Just(parameters),
        // Small times as well: each length of the encoded number.
        issued_at in (any::<u64>(), 0_u32..64).prop_map(|(time, shift)| time >> shift),
        hashes in any::<[[u8; 32]; 3]>(),
        trace_root in any::<Option<[u8; 32]>>(),
        sequence in any::<Option<u64>>(),
        software in "[!-~]{1,64}",
    ) -> Claims {
        Claims {
            issued_at,
            model_id: ModelId::from_bytes(hashes[0]),
            request_hash: RequestHash::from_bytes(hashes[1]),
            response_hash: ResponseHash::from_bytes(hashes[2]),
            parameters,
            usage,
            software,
            trace_root: trace_root.map(TraceRoot::from_bytes),
            sequence,
        }
    }
}

/// Decodes, and if that succeeds, holds the receipt to the law of the one encoding.
fn decode(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(receipt) = Receipt::decode(bytes) {
        prop_assert_eq!(receipt.encode(), bytes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn decode_after_encode_is_the_identity(claims in claims(), seed in any::<[u8; 32]>()) {
        let receipt = Receipt::sign(claims, &ExecutorKey::from_seed(&seed)).unwrap();
        prop_assert_eq!(receipt.verify_signature(), Ok(()));
        prop_assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(&bytes)?;
        // Also past the tag and the array, which random bytes seldom hit.
        decode(&[b"\xd2\x84\x58\x40", bytes.as_slice()].concat())?;
    }

    #[test]
    fn spliced_receipts_never_have_a_second_encoding(
        start in 0_usize..500,
        length in 0_usize..6,
        splice in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut bytes = receipt().encode();
        let start = start.min(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, splice);
        decode(&bytes)?;
    }
}
