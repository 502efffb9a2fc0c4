use std::{io::Cursor, path::PathBuf};

use veracity_graph::ArrayData;

use super::*;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn load(name: &str) -> Tensors {
    read(&testdata(name), Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn refusal(bytes: &[u8]) -> NpzError {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read(file.path(), Limits::default()).unwrap_err()
}

fn f32s() -> Array {
    Array { shape: vec![3, 4], data: ArrayData::F32((0..12u8).map(|i| f32::from(i) / 8.0).collect()) }
}

#[test]
fn archives_by_numpy() {
    for name in ["stored.npz", "deflated.npz"] {
        let tensors = load(name);
        assert_eq!(tensors.arrays["f"], f32s(), "{name}");
        assert_eq!(tensors.arrays["i"].data, ArrayData::I32(vec![i32::MIN, -1, 0, i32::MAX]), "{name}");
        let l = Array { shape: vec![2, 1], data: ArrayData::I64(vec![i64::MIN, i64::MAX]) };
        assert_eq!(tensors.arrays["l"], l, "{name}");
        assert!(tensors.notes.is_empty());
    }
    assert_eq!(load("slashes.npz").arrays["serving/default:0"], f32s());
}

#[test]
fn single_tensors_by_numpy() {
    for name in ["v1.npy", "v2.npy", "v3.npy"] {
        assert_eq!(load(name).arrays[""], f32s(), "{name}");
    }
    assert_eq!(load("scalar.npy").arrays[""], Array { shape: vec![], data: ArrayData::F32(vec![0.5]) });
    assert_eq!(load("empty.npy").arrays[""], Array { shape: vec![0, 7], data: ArrayData::F32(vec![]) });
}

#[test]
fn fortran_order_becomes_row_major() {
    let expected = Array { shape: vec![2, 3, 4], data: ArrayData::I32((0..24).collect()) };
    assert_eq!(load("fortran.npy").arrays[""], expected);
}

#[test]
fn float64_is_rounded_and_noted() {
    let tensors = load("f64.npy");
    assert_eq!(tensors.arrays[""], f32s());
    assert_eq!(tensors.notes, ["the tensor is float64 and was rounded to float32"]);
}

#[test]
fn other_types_are_refused() {
    for name in ["u8", "bool", "f16", "big_endian"] {
        let name = format!("refused_{name}.npy");
        let refusal = read(&testdata(&name), Limits::default()).unwrap_err();
        assert_eq!(refusal.code(), "npz_type", "{name}: {refusal}");
    }
}

#[test]
fn what_is_written_is_read() {
    let tensors = [
        ("a/b".to_owned(), f32s()),
        ("i".to_owned(), Array { shape: vec![2], data: ArrayData::I32(vec![-1, 7]) }),
        ("l".to_owned(), Array { shape: vec![1, 1, 1], data: ArrayData::I64(vec![i64::MIN]) }),
    ];
    let encode = || {
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, &tensors).unwrap();
        bytes.into_inner()
    };
    assert_eq!(encode(), encode(), "the same tensors give the same bytes");
    let found = archive::read(Cursor::new(encode()), Limits::default()).unwrap();
    assert_eq!(found.arrays.into_iter().collect::<Vec<_>>(), tensors);
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let limits = Limits { values_bytes_max: 1 << 20, ..Limits::default() };
    let refusal = read(&testdata("bomb.npz"), limits).unwrap_err();
    assert_eq!(refusal.code(), "npz_too_large", "{refusal}");
    let limits = Limits { tensors_max: 2, ..Limits::default() };
    assert_eq!(read(&testdata("stored.npz"), limits).unwrap_err().code(), "npz_entries");
}

#[test]
fn every_cut_is_refused() {
    for name in ["v1.npy", "deflated.npz"] {
        let bytes = std::fs::read(testdata(name)).unwrap();
        for length in 0..bytes.len() {
            let error = refusal(&bytes[..length]);
            assert!(error.code().starts_with("npz_"), "{name} cut at {length}: {error}");
        }
    }
}

/// No byte that is changed makes the reader panic, and a changed value of an archive is noticed by its checksum.
#[test]
fn every_flip_is_survived() {
    let good = load("deflated.npz").arrays;
    let bytes = std::fs::read(testdata("deflated.npz")).unwrap();
    for position in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[position] ^= 1;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        match read(file.path(), Limits::default()) {
            Ok(found) => {
                assert!(found.arrays.values().all(|a| good.values().any(|g| g == a)), "byte {position}");
            }
            Err(error) => assert_ne!(error.code(), "npz_io", "byte {position}: {error}"),
        }
    }
}

#[test]
fn refusals_have_codes() {
    let head = |header: &str| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes
    };
    let with_shape =
        |shape: &str| head(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"));
    let cases: [(&str, Vec<u8>); 7] = [
        ("npz_magic", b"hello, world".to_vec()),
        ("npz_magic", Vec::new()),
        ("npz_archive", b"PK\x03\x04 and nothing else".to_vec()),
        ("npz_header", b"\x93NUMPY\x01\x00\xff\xff{".to_vec()),
        ("npz_version", b"\x93NUMPY\x04\x00\x01\x00{".to_vec()),
        ("npz_truncated", [with_shape("(500000000,)"), vec![0; 12]].concat()),
        ("npz_trailing", [with_shape("(2,)"), vec![0; 9]].concat()),
    ];
    for (code, bytes) in cases {
        assert_eq!(refusal(&bytes).code(), code);
    }
    for shape in ["(18446744073709551615, 2)", "(4611686018427387904,)", "(536870913,)"] {
        assert_eq!(refusal(&with_shape(shape)).code(), "npz_too_large", "{shape}");
    }
    assert_eq!(read(&testdata("absent.npz"), Limits::default()).unwrap_err().code(), "npz_io");
}

#[test]
fn entries_that_are_no_tensors_are_refused() {
    let zip_of = |names: &[&str]| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut archive, b"text").unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    assert_eq!(refusal(&zip_of(&["readme.txt"])).to_string(), "entry 'readme.txt' is not an .npy file");
    assert_eq!(refusal(&zip_of(&["x.npy"])).code(), "npz_header");
    assert_eq!(read(&testdata("stored.npz"), Limits::default()).unwrap().arrays.len(), 3);
}
