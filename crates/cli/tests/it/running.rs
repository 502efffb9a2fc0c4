//! Commands that go on until they are stopped.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::home::Home;

/// A command that has printed its banner. Its errors are in the file `log`. It ends with the test, also when that fails.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) banner: Value,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        Self::from(home, home.command(args))
    }

    /// Starts a command and waits for its banner, one object over several lines.
    pub(crate) fn from(home: &Home, mut command: Command) -> Self {
        let log = File::options().create(true).append(true).open(home.path("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (mut output, mut text) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        while !text.ends_with("\n}\n") {
            let length = output.read_line(&mut text).unwrap();
            assert!(length > 0, "the banner comes whole: {text}{}", log_of(home));
        }
        let banner: Value = serde_json::from_str(&text).unwrap();
        assert!(banner.get("error").is_none(), "it starts: {text}{}", log_of(home));
        Self { child, banner, output }
    }

    /// A text of the banner.
    #[track_caller]
    pub(crate) fn text(&self, pointer: &str) -> String {
        let found = self.banner.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no {pointer} in {}", self.banner)).to_owned()
    }

    /// Asks it to stop, as Ctrl-C does, so that its own processes end as well, and waits until it has.
    pub(crate) fn stop(mut self) {
        assert!(self.ask());
        assert!(self.child.wait().unwrap().success());
    }

    /// Waits until it ends by itself; its status, and what it said after its banner.
    pub(crate) fn ended(mut self) -> (i32, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }

    fn ask(&self) -> bool {
        let mut kill = Command::new("kill");
        kill.arg(self.child.id().to_string()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Kills it without warning, as the loss of power would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.ask();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(20));
        }
        // It may have ended by now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn log_of(home: &Home) -> String {
    String::from_utf8_lossy(&home.read("log")).into_owned()
}
