//! The decoder of inference requests: no panic, memory in proportion to the body, and one reading per body.
//!
//! The first three bytes of the input are the JSON length, if the third is odd.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veracity_receipt::Request;
use veracity_worker::protocol::{PROTOCOL, decode};

fuzz_target!(|data: &[u8]| {
    let Some(([low, high, flag], body)) = data.split_first_chunk::<3>() else { return };
    let json_length = (flag % 2 == 1).then_some(u64::from(u16::from_le_bytes([*low, *high])));
    let request = Request { protocol: PROTOCOL, model_name: "fuzz", json_length, body };
    let Ok(decoded) = decode(&request) else { return };
    for array in decoded.inputs.values() {
        let count = array.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        assert_eq!(count, Some(array.len()), "the values fit the shape");
        assert!(array.len() <= body.len(), "no value without a byte");
    }
    assert_eq!(decode(&request).map(|again| again.id == decoded.id), Ok(true));
});
