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
    for word in [id.as_str(), "image", "[batch, 64]", "logits", "argmax", "256"] {
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
