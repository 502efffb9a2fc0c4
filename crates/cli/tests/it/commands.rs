//! The small commands.

use std::{fs, process::Stdio};

use crate::home::{Home, PIXELS, npy, ramp};

#[test]
fn doctor_is_content_with_a_new_folder() {
    let home = Home::new();
    let args = ["doctor", "--listen", "127.0.0.1:0"];
    let done = home.run(&args).ok();
    for check in ["cpu", "cores", "clock", "data", "store", "port"] {
        assert!(done.stdout.lines().any(|l| l.split_whitespace().nth(1) == Some(check)), "{check}: {done:?}");
    }
    assert!(!home.path("data").exists(), "doctor makes nothing");
    assert_eq!(home.run(&[&args[..], &["--json"]].concat()).ok().json()["healthy"], true);
}

#[test]
fn doctor_finds_what_is_wrong() {
    let home = Home::with_receipt();
    home.run(&["doctor", "--listen", "127.0.0.1:0"]).ok();
    fs::write(home.path("data/key"), "not a key").unwrap();
    let done = home.run(&["doctor", "--listen", "127.0.0.1:0"]);
    assert_eq!(done.status, 1, "{done:?}");
    done.line("FAIL", "key");
    assert!(done.stdout.contains("fix: "), "{done:?}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    home.run(&["doctor", "--listen", &address]).line("WARN", "port");
}

/// What `doctor` finds damaged it tells how to mend, and that way works.
#[test]
fn a_damaged_name_is_found_and_removed() {
    let home = Home::with_mlp();
    fs::write(home.path("data/names/lost"), "nowhere").unwrap();
    let args = ["doctor", "--listen", "127.0.0.1:0"];
    let done = home.run(&args);
    assert_eq!(done.status, 1, "{done:?}");
    assert!(
        done.line("FAIL", "store").ends_with("names/lost is corrupt: it does not hold a model id"),
        "{done:?}"
    );
    assert!(done.stdout.contains("fix: remove the name with `veracity model rm`"), "{done:?}");
    let removed = home.run(&["model", "rm", "lost", "--json"]).ok().json();
    assert_eq!((&removed["names"][0], &removed["model_removed"]), (&"lost".into(), &false.into()));
    assert!(removed["model_id"].is_null());
    let done = home.run(&args).ok();
    assert!(done.line("PASS", "store").ends_with("  1 model, every byte as its hash says"), "{done:?}");
}

#[test]
fn a_damaged_report_does_not_hide_its_model() {
    let home = Home::with_mlp();
    fs::write(home.weights().with_file_name("report"), "nothing").unwrap();
    let shown = home.run(&["model", "show", "mlp"]).ok().stdout;
    assert!(shown.contains("takes      image"), "{shown}");
    assert!(shown.contains("\naccuracy   unreadable: ") && shown.contains("report is corrupt"), "{shown}");
    let card = home.run(&["model", "show", "mlp", "--json"]).ok().json();
    assert!(card["accuracy"].is_null() && card["accuracy_error"].is_string(), "{card}");
    home.write("x.npy", &npy("<f4", &[1, PIXELS], &ramp(1)));
    home.run(&["run", "mlp", "--input", "x.npy"]).ok();
    home.run(&["doctor", "--listen", "127.0.0.1:0"]).line("FAIL", "store");
}

/// A mistyped folder is not taken for an empty one, and is not made.
#[test]
fn a_folder_that_does_not_exist_is_named() {
    let home = Home::with_mlp();
    let listed = home.run(&["model", "ls", "--data", "tpyo"]).ok().stdout;
    assert_eq!(listed, "no models yet: tpyo does not exist; `veracity import FILE.onnx` makes it\n");
    assert_eq!(home.run(&["model", "ls", "--data", "tpyo", "--json"]).ok().json()["data"], "tpyo");
    for args in [["model", "show", "mlp"], ["model", "rm", "mlp"]] {
        let done = home.run(&[&args[..], &["--data", "tpyo", "--json"]].concat());
        let error = &done.json()["error"];
        assert_eq!((done.status, &error["code"]), (2, &"model_not_found".into()), "{done:?}");
        assert_eq!(error["message"], "there is no model 'mlp': tpyo does not exist");
    }
    assert!(!home.path("tpyo").exists());
}

/// Where stderr is no terminal, what libraries report has no colours.
#[test]
fn log_lines_are_plain_in_files() {
    let home = Home::with_mlp();
    fs::write(home.path("data/names/lost"), "nowhere").unwrap();
    let output = home.command(&["model", "ls"]).env_remove("NO_COLOR").env("TERM", "xterm").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("WARN") && log.contains("names/lost is corrupt"), "{log}");
    assert!(!log.contains('\x1b'), "{log:?}");
}

#[test]
fn models_are_listed_shown_and_removed() {
    let home = Home::new();
    assert!(home.run(&["model", "ls"]).ok().stdout.contains("no models yet"));
    let home = Home::with_mlp();
    assert!(home.run(&["model", "ls"]).ok().stdout.contains("mlp"));
    let list = home.run(&["model", "ls", "--json"]).ok().json();
    assert_eq!(list["models"][0]["names"][0], "mlp");
    let id = list["models"][0]["model_id"].as_str().unwrap().to_owned();
    let shown = home.run(&["model", "show", "mlp"]).ok().stdout;
    for word in [id.as_str(), "image", "[batch, 64]", "logits", "SAME ARGMAX", "on 256 samples"] {
        assert!(shown.contains(word), "{word} is not in:\n{shown}");
    }
    let card = home.run(&["model", "show", &id[..10], "--json"]).ok().json();
    assert_eq!(card["inputs"][0]["name"], "image");
    assert_eq!(card["accuracy"]["n_samples"], 256);
    let removed = home.run(&["model", "rm", "mlp", "--json"]).ok().json();
    assert_eq!(
        (removed["model_id"].as_str(), removed["model_removed"].as_bool()),
        (Some(id.as_str()), Some(true))
    );
    assert!(home.run(&["model", "ls"]).ok().stdout.contains("no models yet"));
}

#[test]
fn completions_name_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.run(&["completions", shell]).ok().stdout;
        for command in ["demo", "up", "import", "model", "run", "verify", "doctor"] {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
    }
}

/// A reader that has gone away is no panic and no failure.
#[test]
fn a_closed_pipe_is_no_trouble() {
    let home = Home::new();
    for args in [&["completions", "bash"][..], &["doctor"], &["--help"]] {
        let mut child = home.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_trouble_outside() {
    let home = Home::with_mlp();
    home.write("x.npy", &npy("<f4", &[1, PIXELS], &ramp(1)));
    let done = home.run(&["run", "mlp", "--input", "x.npy", "--output", "no/such/folder/y.npz", "--json"]);
    assert_eq!(done.status, 3, "{done:?}");
    assert_eq!(done.json()["error"]["code"], "file_not_writable");
}

#[test]
fn help_is_at_most_100_columns_wide() {
    let home = Home::new();
    for command in ["demo", "up", "import", "model", "run", "verify", "doctor", "completions"] {
        let help = home.run(&[command, "--help"]).ok().stdout;
        assert!(help.contains("Example"), "{command}");
        let wide: Vec<&str> = help.lines().filter(|l| l.chars().count() > 100).collect();
        assert!(wide.is_empty(), "{command}: {wide:?}");
    }
}
