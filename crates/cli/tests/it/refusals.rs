//! What users get wrong: exit status 2, one sentence what, one what to do, a stable code.

use std::fs;

use crate::home::{Home, PIXELS, model_file, npy, npz, ramp, text};

struct Case<'a> {
    args: &'a [&'a str],
    code: &'a str,
    /// Words that the message must contain.
    says: &'a [&'a str],
}

#[track_caller]
fn check(home: &Home, cases: &[Case<'_>]) {
    for Case { args, code, says } in cases {
        let human = home.run(args);
        assert_eq!(human.status, 2, "{args:?}: {human:?}");
        let json = home.run(&[args, &["--json"][..]].concat());
        assert_eq!(json.status, 2, "{args:?}: {json:?}");
        let error = &json.json()["error"];
        assert_eq!(error["code"], *code, "{args:?}: {error}");
        let message = error["message"].as_str().unwrap();
        for word in *says {
            assert!(message.contains(word), "{args:?}: '{word}' is not in: {message}");
        }
        assert!(!error["fix"].as_str().unwrap().is_empty());
        if *code != "usage" {
            assert!(human.stderr.contains(&format!("error[{code}]: ")), "{human:?}");
            assert!(human.stderr.contains("\n  fix: "), "{human:?}");
        }
    }
}

/// The MLP with these bytes replaced.
fn patched(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(model_file(name)).unwrap();
    let positions: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, w)| *w == from.as_bytes())
        .map(|(i, _)| i)
        .collect();
    assert!(!positions.is_empty(), "{from} is not in {name}");
    for position in positions {
        bytes[position..position + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[test]
fn bad_sources() {
    let home = Home::new();
    let good = fs::read(model_file("digits-mlp.onnx")).unwrap();
    home.write("cut.onnx", &good[..good.len() / 2]);
    home.write("text.onnx", b"this is no model");
    home.write("empty.onnx", b"");
    home.write("unknown.onnx", &patched("digits-cnn.onnx", "MaxPool", "MaxPoop"));
    fs::create_dir(home.path("folder")).unwrap();
    let case = |args, code, says| Case { args, code, says };
    check(
        &home,
        &[
            case(&["import", "absent.onnx"], "file_not_found", &["absent.onnx"]),
            case(&["import", "folder", "--name", "x"], "file_is_folder", &["folder"]),
            case(&["import", "cut.onnx"], "not_onnx", &["cut.onnx"]),
            case(&["import", "text.onnx"], "not_onnx", &["text.onnx"]),
            case(&["import", "empty.onnx"], "not_onnx", &["empty.onnx"]),
            case(&["import", "unknown.onnx"], "unsupported_operator", &["MaxPoop", "node"]),
        ],
    );
    assert!(
        !home.path("data/models").exists()
            || fs::read_dir(home.path("data/models")).unwrap().next().is_none()
    );
}

#[test]
fn bad_samples_and_names() {
    let home = Home::new();
    let onnx = model_file("digits-mlp.onnx");
    let onnx = text(&onnx);
    let row = || npy("<f4", &[1, PIXELS], &ramp(1));
    home.write("name.npz", &npz(&[("picture", row())]));
    home.write("shape.npz", &npz(&[("image", npy("<f4", &[1, 63], &ramp(1)[..252]))]));
    home.write(
        "nan.npz",
        &npz(&[("image", npy("<f4", &[1, PIXELS], &[f32::NAN.to_le_bytes(); PIXELS].concat()))]),
    );
    home.write("none.npz", &npz(&[("image", npy("<f4", &[0, PIXELS], &[]))]));
    home.write("u8.npz", &npz(&[("image", npy("|u1", &[1, PIXELS], &[0; PIXELS]))]));
    home.write("junk.npz", b"junk");
    let case = |args, code, says| Case { args, code, says };
    check(
        &home,
        &[
            case(&["import", onnx, "--samples", "absent.npz"], "file_not_found", &["absent.npz"]),
            case(&["import", onnx, "--samples", "junk.npz"], "npz_magic", &["junk.npz"]),
            case(&["import", onnx, "--samples", "u8.npz"], "npz_type", &["u8.npz", "'image'", "|u1"]),
            case(&["import", onnx, "--samples", "name.npz"], "bad_samples", &["'picture'", "image"]),
            case(&["import", onnx, "--samples", "shape.npz"], "bad_samples", &["'image'", "63", "64"]),
            case(&["import", onnx, "--samples", "nan.npz"], "bad_samples", &["'image'", "NaN"]),
            case(&["import", onnx, "--samples", "none.npz"], "no_samples", &["no sample"]),
            case(&["import", onnx, "--scheme", "static"], "static_needs_samples", &["samples"]),
            case(&["import", onnx, "--name", "../up"], "bad_name", &["../up"]),
            case(&["import", onnx, "--name", "Upper"], "bad_name", &["Upper"]),
            case(&["import", onnx, "--name", "deadbeef"], "bad_name", &["deadbeef"]),
            case(&["import", onnx, "--activations", "i4"], "usage", &["i4"]),
            case(&["import", onnx, "--name", "x", "--out", "y.vmodel"], "usage", &["--out"]),
        ],
    );
}

#[test]
fn bad_inputs() {
    let home = Home::with_mlp();
    let row = || npy("<f4", &[1, PIXELS], &ramp(1));
    let of = |name: &str, tensors: &[(&str, Vec<u8>)]| drop(home.write(name, &npz(tensors)));
    of("name.npz", &[("picture", row())]);
    of("missing.npz", &[]);
    of("shape.npz", &[("image", npy("<f4", &[1, 8, 8], &ramp(1)))]);
    of("scalar.npz", &[("image", npy("<f4", &[], &[0; 4]))]);
    of("none.npz", &[("image", npy("<f4", &[0, PIXELS], &[]))]);
    of("type.npz", &[("image", npy("<i4", &[1, PIXELS], &ramp(1)))]);
    of("nan.npz", &[("image", npy("<f4", &[1, PIXELS], &[f32::NAN.to_le_bytes(); PIXELS].concat()))]);
    of("inf.npz", &[("image", npy("<f8", &[1, PIXELS], &[1e300f64.to_le_bytes(); PIXELS].concat()))]);
    home.write("cut.npy", &row()[..200]);
    home.write("good.npz", &npz(&[("image", row())]));
    let misspelt = home.run(&["run", "mlp", "--input", "name.npz"]);
    assert!(misspelt.stderr.contains("fix: did you mean 'image'? rename the array"), "{misspelt:?}");
    let case = |args, code, says| Case { args, code, says };
    check(
        &home,
        &[
            case(&["run", "mlp", "--input", "absent.npz"], "file_not_found", &["absent.npz"]),
            case(&["run", "mlp", "--input", "cut.npy"], "npz_truncated", &["cut.npy"]),
            case(&["run", "nobody", "--input", "good.npz"], "model_not_found", &["nobody"]),
            case(&["run", "./nobody.vmodel", "--input", "good.npz"], "file_not_found", &["nobody"]),
            case(&["run", "./good.npz", "--input", "good.npz"], "model_damaged", &["good.npz"]),
            case(&["run", "mlp", "--input", "name.npz"], "unknown_input", &["'picture'", "image"]),
            case(&["run", "mlp", "--input", "missing.npz"], "missing_input", &["image"]),
            case(&["run", "mlp", "--input", "shape.npz"], "wrong_shape", &["[1, 8, 8]", "64"]),
            case(&["run", "mlp", "--input", "scalar.npz"], "wrong_shape", &["[]"]),
            case(&["run", "mlp", "--input", "none.npz"], "wrong_shape", &["[0, 64]"]),
            case(&["run", "mlp", "--input", "type.npz"], "wrong_datatype", &["i32", "f32"]),
            case(&["run", "mlp", "--input", "nan.npz"], "not_finite", &["NaN"]),
            case(&["run", "mlp", "--input", "inf.npz"], "not_finite", &["infinity"]),
            case(&["run", "mlp", "--input", "good.npz", "--isa", "sse9"], "usage", &["sse9"]),
            case(&["run", "mlp", "--input", "good.npz", "--threads", "many"], "usage", &["many"]),
            case(&["run", "mlp"], "usage", &["--input"]),
        ],
    );
}

/// A command that writes several files, or reads some and writes others, must not lose one of them.
#[test]
fn one_file_for_two_things() {
    let home = Home::with_mlp();
    let x = npz(&[("image", npy("<f4", &[1, PIXELS], &ramp(1)))]);
    home.write("x.npz", &x);
    home.write("r.request", &x);
    fs::create_dir(home.path("pictures")).unwrap();
    let picture = home.write("pictures/a.png", b"never read");
    let onnx = fs::read(model_file("digits-mlp.onnx")).unwrap();
    home.write("m.vmodel", &onnx);
    home.write("graph", &x);
    let case = |args, says| Case { args, code: "same_file", says };
    let run = |given: &[&'static str]| [&["run", "mlp", "--input"], given].concat();
    let runs = [
        (run(&["x.npz", "--output", "y", "--receipt", "y"]), ["--output", "--receipt"]),
        (run(&["x.npz", "--output", "y", "--receipt", "./y"]), ["--output", "--receipt"]),
        (run(&["x.npz", "--receipt", "x.npz"]), ["--input", "--receipt"]),
        (run(&["x.npz", "--output", "x.npz"]), ["--input", "--output"]),
        (run(&["r.request", "--receipt", "r"]), ["--input", "the request beside"]),
        (run(&["x.npz", "--output", "r.response", "--receipt", "r"]), ["--output", "the response beside"]),
        (run(&["pictures", "--output", "pictures/a.png"]), ["--input", "--output"]),
    ];
    let cases: Vec<_> = runs.iter().map(|(args, says)| case(args, says)).collect();
    check(&home, &cases);
    let model = ["run", "./m.vmodel", "--input", "x.npz", "--output", "m.vmodel"];
    let samples = ["import", "m.vmodel", "--samples", "graph", "--out", "."];
    check(
        &home,
        &[
            case(&model, &["the model", "--output"]),
            case(&["import", "m.vmodel", "--out", "m.vmodel"], &["the source", "--out"]),
            case(&samples, &["--samples", "--out"]),
        ],
    );
    assert_eq!((home.read("x.npz"), home.read("r.request"), home.read("graph")), (x.clone(), x.clone(), x));
    assert_eq!((fs::read(picture).unwrap().as_slice(), home.read("m.vmodel")), (&b"never read"[..], onnx));
    assert!(!home.path("y").exists() && !home.path("r").exists());
    home.run(&["run", "mlp", "--input", "x.npz", "--output", "y.npz", "--receipt", "y"]).ok();
    home.run(&["run", "mlp", "--input", "x.npz", "--output", "y.npz", "--receipt", "y"]).ok();
}

#[test]
fn a_data_folder_that_is_a_file() {
    let home = Home::with_receipt();
    home.write("file", b"");
    let case = |args| Case { args, code: "data_not_folder", says: &["file is not a folder"] };
    check(
        &home,
        &[
            case(&["doctor", "--data", "file", "--listen", "127.0.0.1:0"]),
            case(&["doctor", "--data", "file/deeper", "--listen", "127.0.0.1:0"]),
            case(&["model", "ls", "--data", "file"]),
            case(&["model", "show", "mlp", "--data", "file"]),
            case(&["model", "rm", "mlp", "--data", "file"]),
            case(&["run", "mlp", "--input", "x.npz", "--data", "file"]),
            case(&["verify", "r.cose", "--data", "file"]),
            case(&["up", "--data", "file", "--listen", "127.0.0.1:0"]),
            case(&["import", "absent.onnx", "--data", "file"]),
        ],
    );
    let listed = home.command(&["model", "ls", "--json"]).env("VERACITY_HOME", home.path("file")).output();
    assert_eq!(listed.unwrap().status.code(), Some(2));
}

#[test]
fn bad_receipts_and_usage() {
    let home = Home::with_receipt();
    let case = |args, code, says| Case { args, code, says };
    check(
        &home,
        &[
            case(&["verify", "absent.cose"], "file_not_found", &["absent.cose"]),
            case(&["verify", "r.cose", "--request", "absent"], "file_not_found", &["absent"]),
            case(&["verify", "r.cose", "--model", "absent"], "model_not_found", &["absent"]),
            case(&["verify", "r.cose", "--executor", "me"], "usage", &["me"]),
            case(&["verify", "r.cose", "--network-key", "me"], "file_not_found", &["me"]),
            case(
                &["verify", "r.cose", "--network-key", "r.cose"],
                "network_key_malformed",
                &["192 hex digits"],
            ),
            case(&["verify", "r.cose", "--evidence", "absent"], "file_not_found", &["absent"]),
            case(
                &["verify", "r.cose", "--evidence", "x.npz"],
                "evidence_malformed",
                &["x.npz is no evidence"],
            ),
            case(&["model", "show", "absent"], "model_not_found", &["absent"]),
            case(&["model", "rm", "absent"], "model_not_found", &["absent"]),
            case(&["no-such-command"], "usage", &["no-such-command"]),
        ],
    );
    // Bytes that are no receipt are a receipt that is not verified, with the line that says why.
    for bytes in [&b""[..], b"junk", &[0xd2; 20_000]] {
        home.write("junk.cose", bytes);
        let done = home.run(&["verify", "junk.cose"]);
        assert_eq!(done.status, 1, "{done:?}");
        done.line("FAIL", "decode");
    }
}
