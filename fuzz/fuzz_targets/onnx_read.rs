//! Bytes from a stranger, read as an ONNX model: no panic, memory in proportion to the file, and one answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use veracity_importer::parse_only;

fuzz_target!(|bytes: &[u8]| {
    let code = |source| parse_only(source).map_err(|e| e.code());
    assert_eq!(code(bytes), code(bytes), "reading is not a function");
});
