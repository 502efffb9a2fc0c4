//! Import, run, verify; and every kind of lie.

use std::fs;

use crate::home::{Done, Home, PIXELS, model_file, npy, npz, ramp, text};

#[test]
fn import_run_verify() {
    let home = Home::with_receipt();
    let verdict = home.run(&["verify", "r.cose"]).ok();
    for check in
        ["decode", "signature", "time", "model", "request", "response", "execution", "trace", "usage"]
    {
        verdict.line("PASS", check);
    }
    let conclusion = "VERIFIED (tier: signed), except what was skipped: executor, final, anchored";
    assert!(verdict.stdout.ends_with(&format!("\n{conclusion}\n")), "{verdict:?}");
    let json = home.run(&["verify", "r.cose", "--json"]).ok().json();
    assert_eq!((&json["verified"], &json["tier"]), (&true.into(), &"signed".into()));
    assert_eq!((&json["conclusion"], &json["skipped"][0]), (&conclusion.into(), &"executor".into()));
    assert_eq!(json["checks"].as_array().unwrap().len(), 12);
    assert_eq!(json["receipt"]["model_name"], "mlp");
}

/// Instruction set and number of threads change no bit of output or receipt hashes.
#[test]
fn every_way_to_run_gives_the_same_bits() {
    let home = Home::with_mlp();
    home.write("x.npz", &npz(&[("image", npy("<f4", &[5, PIXELS], &ramp(5)))]));
    let mut seen = Vec::new();
    for (isa, threads) in [("scalar", "1"), ("scalar", "3"), ("", "1"), ("", "4")] {
        let mut args =
            vec!["run", "mlp", "--input", "x.npz", "--output", "y.npz", "--receipt", "r.cose", "--json"];
        args.extend(["--threads", threads]);
        if !isa.is_empty() {
            args.extend(["--isa", isa]);
        }
        let json = home.run(&args).ok().json();
        let receipt = &json["receipt"];
        seen.push((home.read("y.npz"), receipt["response_hash"].clone(), receipt["trace_root"].clone()));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    home.run(&["verify", "r.cose", "--isa", "scalar", "--threads", "2"]).ok();
}

#[test]
fn models_are_named_by_path_id_and_prefix() {
    let home = Home::with_receipt();
    let (onnx, samples) = (model_file("digits-mlp.onnx"), model_file("digits-calibration.npz"));
    let import =
        |out: &str| home.run(&["import", text(&onnx), "--samples", text(&samples), "--out", out, "--json"]);
    let id = import("mlp.vmodel").ok().json()["model_id"].as_str().unwrap().to_owned();
    assert_eq!(import("folder").ok().json()["model_id"], id.as_str(), "the import is deterministic");
    for model in ["mlp", &id, &id[..8], "mlp.vmodel", "./mlp.vmodel", "folder", "./folder"] {
        home.run(&["verify", "r.cose", "--model", model]).ok();
        let json = home.run(&["run", model, "--input", "x.npz", "--json"]).ok().json();
        assert_eq!(json["model_id"], id.as_str(), "{model}");
    }
}

/// A verifier without a data folder needs the receipt, the bytes and the model file, nothing else.
#[test]
fn verification_needs_no_store() {
    let home = Home::with_receipt();
    let onnx = model_file("digits-mlp.onnx");
    let samples = model_file("digits-calibration.npz");
    home.run(&["import", text(&onnx), "--samples", text(&samples), "--out", "mlp.vmodel"]).ok();
    fs::remove_dir_all(home.path("data")).unwrap();
    home.run(&["verify", "r.cose", "--model", "mlp.vmodel"]).ok();
    assert!(!home.path("data").exists(), "verify makes nothing");
    let without = home.run(&["verify", "r.cose"]);
    assert_eq!(without.status, 1, "{without:?}");
    without.line("SKIP", "model");
    without.line("SKIP", "execution");
    let conclusion = "\nNOT VERIFIED: required but not passed: model, execution\n";
    assert!(without.stdout.ends_with(conclusion), "a SKIP is no PASS: {without:?}");
    assert!(
        home.run(&["verify", "r.cose", "--json"]).json()["tier"].is_null(),
        "no label without the checks"
    );
}

/// What was not checked is said where the eye ends.
#[test]
fn the_conclusion_names_what_was_skipped() {
    let home = Home::with_receipt();
    fs::remove_file(home.path("r.cose.response")).unwrap();
    let done = home.run(&["verify", "r.cose"]).ok();
    let conclusion =
        "\nVERIFIED (tier: signed), except what was skipped: executor, response, final, anchored\n";
    assert!(done.stdout.ends_with(conclusion), "{done:?}");
    let executor = home.run(&["verify", "r.cose", "--json"]).json()["receipt"]["executor"].clone();
    let done = home.run(&["verify", "r.cose", "--executor", executor.as_str().unwrap()]).ok();
    assert!(
        done.stdout
            .ends_with("\nVERIFIED (tier: signed), except what was skipped: response, final, anchored\n"),
        "{done:?}"
    );
}

/// The receipt pins the model by its id; what that id is called here is the reader's affair, and is said.
#[test]
fn verification_says_what_the_model_is_called_here() {
    let home = Home::with_receipt();
    let done = home.run(&["verify", "r.cose"]).ok();
    assert!(done.line("PASS", "model").ends_with(", known here as mlp"), "{done:?}");
    assert!(!done.stdout.contains("WARN"), "{done:?}");
    // The name moves to another model.
    let onnx = model_file("digits-mlp.onnx");
    let import = home.run(&["import", text(&onnx), "--name", "mlp", "--json"]).ok().json();
    let other = import["model_id"].as_str().unwrap();
    let done = home.run(&["verify", "r.cose"]).ok();
    assert!(done.line("PASS", "model").ends_with(", which has no name here"), "{done:?}");
    let warning = format!("the receipt calls its model 'mlp'; here that is another model, {other}");
    assert!(done.line("WARN", "name").ends_with(&warning), "{done:?}");
    let json = home.run(&["verify", "r.cose", "--json"]).ok().json();
    assert_eq!((&json["model_names"], &json["warnings"][0]), (&serde_json::json!([]), &warning.into()));
}

/// Files without an end are refused, not read.
#[cfg(unix)]
#[test]
fn verification_reads_no_more_than_it_needs() {
    let home = Home::with_receipt();
    for (args, code) in [
        (["--request", "/dev/zero"], "file_too_large"),
        (["--response", "/dev/zero"], "file_too_large"),
        (["--model", "/dev/zero"], "model_damaged"),
    ] {
        let done = home.run(&[&["verify", "r.cose", "--json"], &args[..]].concat());
        assert_eq!(done.status, 2, "{done:?}");
        assert_eq!(done.json()["error"]["code"], code, "{args:?}");
    }
    home.run(&["verify", "/dev/zero"]).line("FAIL", "decode");
}

/// The images that no training saw come with their labels, which are no input.
#[test]
fn arrays_that_are_no_inputs_are_ignored_with_a_note() {
    let home = Home::with_mlp();
    let (onnx, test) = (model_file("digits-mlp.onnx"), model_file("digits-test.npz"));
    let done = home.run(&["run", "mlp", "--input", text(&test)]).ok();
    assert_eq!(done.stderr, "note: ignored, because the model has no such input: 'label'\n");
    for line in
        ["logits  f32 [540, 10]", "  sample 4  largest: ", "  and 535 more samples", "  --output FILE.npz"]
    {
        assert!(done.stdout.lines().any(|l| l.starts_with(line)), "no line '{line}' in {done:?}");
    }
    let done = home.run(&["run", "mlp", "--input", text(&test), "--output", "y.npz", "--json"]).ok().json();
    assert_eq!(done["output"], "y.npz");
    assert_eq!(done["outputs"][0]["largest"].as_array().unwrap().len(), 5);
    assert!(done["notes"][0].as_str().unwrap().contains("'label'"), "{done}");
    let import = home.run(&["import", text(&onnx), "--samples", text(&test), "--json"]).ok().json();
    assert!(import["notes"][0].as_str().unwrap().contains("'label'"), "{import}");
}

#[test]
fn outputs_are_written_under_their_onnx_names() {
    let home = Home::with_mlp();
    home.write("x.npy", &npy("<f4", &[3, PIXELS], &ramp(3)));
    home.run(&["run", "mlp", "--input", "x.npy", "--output", "y.npz"]).ok();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(home.read("y.npz"))).unwrap();
    assert_eq!(archive.file_names().map(|name| name.unwrap()).collect::<Vec<_>>(), ["logits.npy"]);
    let mut logits = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("logits.npy").unwrap(), &mut logits).unwrap();
    assert!(String::from_utf8_lossy(&logits).contains("(3, 10,)"));
}

/// A grey 24-bit bitmap of 8 x 8 pixels.
fn bmp(grey: u8) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    let words = |values: &[u32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    bytes.extend(words(&[54 + 192, 0, 54, 40, 8, 8, 1 | 24 << 16, 0, 192, 0, 0, 0, 0]));
    bytes.extend([grey; 192]);
    bytes
}

/// Pictures are samples and inputs like any `.npz` of the same numbers.
#[test]
fn folders_of_pictures_are_samples_and_inputs() {
    let home = Home::new();
    fs::create_dir(home.path("pictures")).unwrap();
    home.write("pictures/a.bmp", &bmp(0));
    home.write("pictures/b.bmp", &bmp(255));
    let values = [[0f32; 64], [1f32; 64]].concat().iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    home.write("same.npz", &npz(&[("image", npy("<f4", &[2, 1, 8, 8], &values))]));
    let onnx = model_file("digits-cnn.onnx");
    let import = |samples| home.run(&["import", text(&onnx), "--samples", samples, "--json"]).ok().json();
    let by_pictures = import("pictures");
    assert_eq!(by_pictures["accuracy"]["n_samples"], 2);
    assert_eq!(by_pictures["model_id"], import("same.npz")["model_id"]);
    let run = |input| home.run(&["run", "digits-cnn", "--input", input, "--json"]).ok().json();
    assert_eq!(run("pictures")["outputs"], run("same.npz")["outputs"]);
    assert_eq!(run("pictures/b.bmp")["outputs"][0]["shape"][0], 1);
    let mlp = model_file("digits-mlp.onnx");
    let refused = home.run(&["import", text(&mlp), "--samples", "pictures", "--json"]);
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (2, Some("images_input")));
}

/// Changes one byte of a file, verifies, and puts the byte back.
fn with_flip(home: &Home, name: &str, position: usize) -> Done {
    let good = home.read(name);
    let mut bad = good.clone();
    bad[position] ^= 1;
    home.write(name, &bad);
    let done = home.run(&["verify", "r.cose"]);
    home.write(name, &good);
    done
}

#[test]
fn a_flip_in_request_or_response_is_refused_with_its_line() {
    let home = Home::with_receipt();
    for kind in ["request", "response"] {
        let name = format!("r.cose.{kind}");
        let length = home.read(&name).len();
        for position in [0, 1, length / 2, length - 1] {
            let done = with_flip(&home, &name, position);
            assert_eq!(done.status, 1, "{kind} byte {position}: {done:?}");
            assert!(done.line("FAIL", kind).contains("at hand is"), "{kind} byte {position}: {done:?}");
            assert!(done.stdout.contains("NOT VERIFIED"), "{done:?}");
        }
    }
    home.run(&["verify", "r.cose"]).ok();
}

#[test]
fn a_flip_anywhere_in_the_receipt_is_refused() {
    let home = Home::with_receipt();
    let length = home.read("r.cose").len();
    for position in (0..length).step_by(23).chain([length - 1]) {
        let done = with_flip(&home, "r.cose", position);
        assert_eq!(done.status, 1, "byte {position}: {done:?}");
        let failed = |check| done.stdout.lines().any(|l| l.starts_with(&format!("FAIL  {check}")));
        assert!(failed("decode") || failed("signature"), "byte {position}: {done:?}");
    }
}

#[test]
fn longer_and_shorter_bodies_are_refused() {
    let home = Home::with_receipt();
    for kind in ["request", "response"] {
        let name = format!("r.cose.{kind}");
        let good = home.read(&name);
        for bad in [&good[..good.len() - 1], &[good.as_slice(), b" "].concat(), b""] {
            home.write(&name, bad);
            let done = home.run(&["verify", "r.cose"]);
            assert_eq!(done.status, 1, "{done:?}");
            done.line("FAIL", kind);
        }
        home.write(&name, &good);
    }
}

#[test]
fn a_flip_in_the_stored_model_is_an_error_that_names_the_file() {
    let home = Home::with_receipt();
    let weights = home.weights();
    let mut bytes = fs::read(&weights).unwrap();
    bytes[100] ^= 1;
    fs::write(&weights, bytes).unwrap();
    for args in [&["verify", "r.cose", "--json"][..], &["run", "mlp", "--input", "x.npz", "--json"]] {
        let done = home.run(args);
        assert_eq!(done.status, 2, "{done:?}");
        let error = &done.json()["error"];
        assert_eq!(error["code"], "store_corrupt");
        assert!(error["message"].as_str().unwrap().contains("weights is corrupt"), "{error}");
    }
    let doctor = home.run(&["doctor"]);
    assert_eq!(doctor.status, 1, "{doctor:?}");
    doctor.line("FAIL", "store");
}

#[test]
fn another_model_is_refused() {
    let home = Home::with_receipt();
    home.run(&["import", text(&model_file("digits-mlp.onnx")), "--name", "other"]).ok();
    let done = home.run(&["verify", "r.cose", "--model", "other"]);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(done.line("FAIL", "model").contains("the receipt is for model"), "{done:?}");
    done.line("SKIP", "execution");
}

#[test]
fn another_executor_is_refused() {
    let home = Home::with_receipt();
    let json = home.run(&["verify", "r.cose", "--json"]).ok().json();
    let executor = json["receipt"]["executor"].as_str().unwrap().to_owned();
    home.run(&["verify", "r.cose", "--executor", &executor]).ok();
    let done = home.run(&["verify", "r.cose", "--executor", &"ab".repeat(32)]);
    assert_eq!(done.status, 1, "{done:?}");
    done.line("FAIL", "executor");
}
