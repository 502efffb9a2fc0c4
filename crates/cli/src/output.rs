//! The one place that writes to the terminal.
//!
//! Results go to stdout, everything else to stderr. A reader that has gone away (`veracity ... | head`) does not change
//! what a command does or how it exits: what can no longer be written is dropped.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stderr, stdout},
};

use serde::Serialize;

use crate::{error::Failure, words};

/// How a word is set off where the terminal has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Green,
    Red,
    Yellow,
}

/// What a stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    /// Plain text: a file, a pipe, `NO_COLOR` or a dumb terminal.
    None,
    /// 256 colours.
    Indexed,
    /// 24 bits.
    True,
}

impl Colors {
    /// What this stream can show.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let is =
            |name: &str, values: &[&str]| std::env::var(name).is_ok_and(|v| values.contains(&v.as_str()));
        if !stream.is_terminal() || set("NO_COLOR") || is("TERM", &["dumb", ""]) || !set("TERM") {
            Self::None
        } else if is("COLORTERM", &["truecolor", "24bit"]) {
            Self::True
        } else {
            Self::Indexed
        }
    }

    /// `text`, set off.
    pub(crate) fn paint(self, paint: Paint, text: impl Display) -> String {
        let code = match paint {
            Paint::Bold => 1,
            Paint::Dim => 2,
            Paint::Red => 31,
            Paint::Green => 32,
            Paint::Yellow => 33,
        };
        match self {
            Self::None => text.to_string(),
            Self::Indexed | Self::True => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    /// `PASS`, `FAIL`, `WARN` or `SKIP` in its colour.
    pub(crate) fn label(self, label: &str) -> String {
        let paint = match label {
            "PASS" => Paint::Green,
            "FAIL" => Paint::Red,
            "WARN" => Paint::Yellow,
            _ => Paint::Dim,
        };
        self.paint(paint, label)
    }

    /// A text of lines that may begin with a label, each label in its colour.
    pub(crate) fn labels(self, text: &str) -> String {
        let paint = |line: &str| match line.split_once(' ') {
            Some((label @ ("PASS" | "FAIL" | "WARN" | "SKIP"), rest)) => {
                format!("{} {rest}", self.label(label))
            }
            _ => line.to_owned(),
        };
        text.lines().map(paint).collect::<Vec<_>>().join("\n")
    }
}

/// Where results and remarks go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    colors: Colors,
}

impl Output {
    /// Output in words, or in JSON.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, colors: if json { Colors::None } else { Colors::of(&stdout()) } }
    }

    /// What stdout can show.
    pub(crate) fn colors(self) -> Colors {
        self.colors
    }

    /// Whether the result is to be JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// The result of a command: as one JSON document, or in the words of `Display`.
    pub(crate) fn result(self, result: &(impl Serialize + Display)) {
        if self.json {
            self.document(result);
        } else {
            self.say(self.colors.labels(&result.to_string()));
        }
    }

    /// One JSON document.
    pub(crate) fn document(self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).expect("our results have string keys");
        write_out(&mut stdout(), &format!("{text}\n"));
    }

    /// Text for people, on stdout; nothing under `--json`.
    pub(crate) fn say(self, text: impl Display) {
        if !self.json {
            write_out(&mut stdout(), &format!("{text}\n"));
        }
    }

    /// Bytes as they are, on stdout.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut stdout = stdout();
        let _gone = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// A remark, on stderr.
    pub(crate) fn note(self, text: impl Display) {
        if !self.json {
            write_out(&mut stderr(), &format!("note: {}\n", words::printable(&text.to_string())));
        }
    }

    /// Why the command failed: on stderr for people, on stdout as a document for programs.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            self.document(&Refusal { error: failure });
        } else {
            write_out(&mut stderr(), &format!("{failure}\n"));
        }
    }
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a Failure,
}

fn write_out(stream: &mut impl Write, text: &str) {
    let _gone = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_painted_at_the_start_of_lines_only() {
        let text = "PASS  model  x\nthe word FAIL inside\nFAIL  y";
        assert_eq!(Colors::None.labels(text), text);
        let painted = "\x1b[32mPASS\x1b[0m  model  x\nthe word FAIL inside\n\x1b[31mFAIL\x1b[0m  y";
        assert_eq!(Colors::Indexed.labels(text), painted);
    }
}
