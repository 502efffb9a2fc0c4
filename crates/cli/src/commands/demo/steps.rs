//! The scenes: ask, anchor, verify, cheat, score.

use std::time::{Duration, Instant};

use serde::Serialize;
use veracity_graph::{Array, ArrayData};
use veracity_importer::{OutputAccuracy, Samples};
use veracity_receipt::{NetworkKey, Receipt};
use veracity_worker::LoadedModel;

use super::{
    assets::{Digits, MODELS, WIDTH},
    cheat::{self, Cheat, Exchange},
    picture,
    stage::Stage,
};
use crate::{
    commands::verify::{Case, judge},
    error::Failure,
    http::{Answer, Server},
    oip,
    output::{Output, Paint},
    statement::{Judgement, Statement},
};

/// Which of the held-out images is shown.
const SHOWN: usize = 25;
const BAR_COLUMNS: usize = 30;
/// How long a receipt may take into a block, and the pause between two looks.
const ANCHOR_TIMEOUT: Duration = Duration::from_secs(60);
const ANCHOR_PAUSE: Duration = Duration::from_millis(20);
/// Columns of the terminal beside the demo's own indentation.
const COLUMNS: usize = 77;
/// Where the details of a verdict's lines begin.
const INDENT: usize = 17;

/// What was asked and answered.
#[derive(Debug, Serialize)]
pub(super) struct Question {
    model: &'static str,
    /// Position in the held-out set.
    image: usize,
    label: usize,
    answer: usize,
    receipt: Statement,
}

/// A question with the bytes that were sent and received.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) question: Question,
    request: Vec<u8>,
    response: Vec<u8>,
    receipt: Vec<u8>,
}

/// Where the receipt is anchored.
#[derive(Debug, Serialize)]
pub(super) struct Anchored {
    block: u64,
    batch: u64,
    index: u64,
    evidence_bytes: usize,
    elapsed_ms: u128,
}

/// How often a model is right on images that no training saw.
#[derive(Debug, Serialize)]
pub(super) struct Score {
    model: &'static str,
    right: usize,
    total: usize,
    elapsed_ms: u128,
    /// Share of the images on which the f32 original sees the same digit.
    f32_agreement: f64,
    /// Mean cosine between both models' logits.
    f32_cosine: f64,
}

/// Steps 3 and 4: one image over HTTP, the answer, the receipt.
pub(super) fn ask(stage: &Stage) -> Result<Asked, Failure> {
    let (digits, server, colors) = (&MODELS[0], stage.server()?, stage.out.colors());
    let (pixels, label) = (stage.held_out.image(SHOWN), stage.held_out.labels[SHOWN]);
    let route = format!("POST {}/v2/models/{}/infer", server.url(), digits.name);
    stage.title(3, "Ask", "about an image that no training saw");
    stage.tell(&route);
    let request = oip::encode([("image", digits.input(pixels))]);
    let answer = server.infer(digits.name, &request)?;
    let logits = logits(&server, &answer)?;
    let shares = picture::softmax(&logits);
    let found = picture::argmax(&shares);
    let picture = picture::lines(pixels, WIDTH, colors);
    let bars = bars(&shares, found, stage.out);
    stage.tell(&beside(&picture, &bars, WIDTH * 2));
    let verdict = if found == label { "right" } else { "wrong" };
    let answered = colors.paint(Paint::Bold, format!("the model says {found}"));
    stage.tell(&format!("{answered}, the writer wrote {label}: {verdict}"));
    let receipt = server.get(&format!("/v1/receipts/{}", answer.receipt_id))?;
    let statement = Receipt::decode(&receipt).map(|r| Statement::from(&r));
    let statement = statement.map_err(|_| server.strange("a receipt that is none"))?;
    stage.title(4, "Receipt", &format!("{} bytes that state, signed", receipt.len()));
    stage.tell(&statement.to_string());
    let question = Question { model: digits.name, image: SHOWN, label, answer: found, receipt: statement };
    Ok(Asked { question, request: request.body, response: answer.response.body, receipt })
}

/// Step 5: wait until the receipt comes with evidence.
pub(super) fn anchor(stage: &Stage, asked: &mut Asked) -> Result<Anchored, Failure> {
    stage.title(5, "Anchor", "in a block that the validators finalized");
    let (server, started) = (stage.server()?, Instant::now());
    let path = format!("/v1/receipts/{}", asked.question.receipt.receipt_id);
    loop {
        let bytes = server.get(&path)?;
        let receipt = Receipt::decode(&bytes).map_err(|_| server.strange("a receipt that is none"))?;
        let found = receipt.evidence().zip(receipt.subject());
        if let Some(anchor) = found.and_then(|(evidence, subject)| evidence.verify_anchor(&subject).ok()) {
            let evidence_bytes = bytes.len().saturating_sub(asked.receipt.len());
            let elapsed_ms = started.elapsed().as_millis();
            let (block, batch, index) = (anchor.height, anchor.batch, anchor.index);
            stage.tell(&format!(
                "anchored in block {block}, as place {index} of batch {batch}, after {elapsed_ms} ms\n\
                 the receipt carries {evidence_bytes} bytes of evidence now; its id is as it was"
            ));
            asked.receipt = bytes;
            return Ok(Anchored { block, batch, index, evidence_bytes, elapsed_ms });
        }
        if started.elapsed() > ANCHOR_TIMEOUT {
            let fix = "try again when the machine is less busy; RUST_LOG=info says more";
            return Err(Failure::outside("not_anchored", "the receipt is in no block yet", fix));
        }
        std::thread::sleep(ANCHOR_PAUSE);
    }
}

/// One line per digit, the answer set off.
fn bars(shares: &[f32], found: usize, out: Output) -> Vec<String> {
    let bar = |(digit, share): (usize, &f32)| {
        let bar = picture::bar(*share, BAR_COLUMNS, out.colors());
        let line = format!("{digit} {bar:<BAR_COLUMNS$} {:6.2} %", 100.0 * share);
        let paint = if digit == found { Paint::Green } else { Paint::Dim };
        out.colors().paint(paint, line)
    };
    shares.iter().enumerate().map(bar).collect()
}

/// Two columns; the left one is `width` wide and vertically centred.
fn beside(left: &[String], right: &[String], width: usize) -> String {
    let above = right.len().saturating_sub(left.len()) / 2;
    let blank = " ".repeat(width);
    let cell = |row: usize| row.checked_sub(above).and_then(|row| left.get(row)).unwrap_or(&blank);
    let rows = right.len().max(left.len() + above);
    let line = |row: usize| format!("{}   {}", cell(row), right.get(row).map_or("", String::as_str));
    (0..rows).map(line).collect::<Vec<_>>().join("\n")
}

/// Step 6: offline, by running the model again and from the network's key.
pub(super) fn verify(stage: &Stage, asked: &Asked) -> Result<Judgement, Failure> {
    stage.title(6, "Verify", "offline: believe nobody, run the model again, compare every bit");
    let (model, key) = (stage.load(&MODELS[0])?, stage.network_key()?);
    let digits = key.to_string();
    stage.tell(&format!(
        "all that one needs of the network is its key, {} bytes: {}..",
        digits.len() / 2,
        &digits[..16]
    ));
    let judgement = judge(case(stage, asked, &model, &key));
    stage.tell(&stage.out.colors().labels(&fit(&judgement.to_string())));
    Ok(judgement)
}

/// Step 7: five lies.
pub(super) fn cheat(stage: &Stage, asked: &Asked) -> Result<Vec<Cheat>, Failure> {
    stage.title(7, "Cheat", "five times");
    let (model, key) = (stage.load(&MODELS[0])?, stage.network_key()?);
    let exchange = Exchange { request: &asked.request, response: &asked.response, receipt: &asked.receipt };
    let (response, receipt) = ask_again(stage, asked)?;
    let other = Exchange { request: &asked.request, response: &response, receipt: &receipt };
    let cheats = cheat::attempt_all(case(stage, asked, &model, &key), exchange, &stage.key()?, other);
    for Cheat { what, judgement } in &cheats {
        let text = judgement.to_string();
        let lines = text.lines().filter(|line| line.starts_with("FAIL") || line.contains("VERIFIED"));
        let shown: Vec<&str> = lines.collect();
        stage.tell(&format!("{what}\n{}", stage.out.colors().labels(&fit(&shown.join("\n")))));
    }
    Ok(cheats)
}

/// Another answer to the same question, and its receipt.
fn ask_again(stage: &Stage, asked: &Asked) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let server = stage.server()?;
    let (pixels, digits) = (stage.held_out.image(SHOWN), &MODELS[0]);
    let request = oip::encode([("image", digits.input(pixels))]);
    debug_assert_eq!(request.body, asked.request, "the same question");
    let answer = server.infer(digits.name, &request)?;
    let receipt = server.get(&format!("/v1/receipts/{}", answer.receipt_id))?;
    Ok((answer.response.body, receipt))
}

fn case<'a>(stage: &Stage, asked: &'a Asked, model: &'a LoadedModel, key: &'a NetworkKey) -> Case<'a> {
    Case {
        receipt: &asked.receipt,
        request: Some(&asked.request),
        response: Some(&asked.response),
        model: Some(model),
        executor: stage.executor(),
        network_key: Some(key),
    }
}

/// Shortens hashes and wraps lines, so that they fit 80 columns.
fn fit(text: &str) -> String {
    let shorten = |word: &str| {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        match digits.len() {
            64.. if digits.bytes().take(64).all(|b| b.is_ascii_hexdigit()) => {
                format!("{}..{}", &digits[..8], &digits[64..])
            }
            _ => word.to_owned(),
        }
    };
    let line = |line: &str| wrap(&line.split(' ').map(shorten).collect::<Vec<_>>().join(" "));
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Breaks a line at spaces; what follows is indented to the column of details.
fn wrap(line: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in line.split(' ') {
        if column > 0 && column + word.len() > COLUMNS {
            wrapped.push_str(&format!("\n{:INDENT$}", ""));
            column = INDENT;
        } else if column > 0 || wrapped.ends_with(' ') {
            wrapped.push(' ');
        }
        wrapped.push_str(word);
        column += word.len() + 1;
    }
    wrapped
}

/// Step 8: all held-out images, in one request per model.
pub(super) fn score(stage: &Stage) -> Result<Vec<Score>, Failure> {
    stage.title(8, "Score", "all images that no training saw, one request and receipt per model");
    let server = stage.server()?;
    MODELS.iter().map(|digits| score_one(stage, &server, digits)).collect()
}

fn score_one(stage: &Stage, server: &Server, digits: &Digits) -> Result<Score, Failure> {
    let request = oip::encode([("image", digits.input(&stage.held_out.pixels))]);
    let started = Instant::now();
    let answer = server.infer(digits.name, &request)?;
    let elapsed_ms = started.elapsed().as_millis();
    let logits = logits(server, &answer)?;
    let labels = &stage.held_out.labels;
    let classes = (logits.len() / labels.len()).max(1);
    let right =
        logits.chunks(classes).zip(labels).filter(|(row, label)| picture::argmax(row) == **label).count();
    let total = labels.len();
    let share = 100.0 * right as f64 / total as f64;
    stage.tell(&format!("{}  {right} of {total} right ({share:.2} %) in {elapsed_ms} ms", digits.name));
    let found = compare(stage, digits)?;
    let (f32_agreement, f32_cosine) = (found.argmax_agreement.unwrap_or(0.0), found.cosine_mean);
    stage.tell(&format!("  same digit as f32 on {:.2} %, cosine {f32_cosine:.5}", 100.0 * f32_agreement));
    Ok(Score { model: digits.name, right, total, elapsed_ms, f32_agreement, f32_cosine })
}

/// How close the model is to its f32 original on the held-out images.
fn compare(stage: &Stage, digits: &Digits) -> Result<OutputAccuracy, Failure> {
    let images = Samples::from([("image".to_owned(), digits.input(&stage.held_out.pixels))]);
    let model = stage.load(digits)?;
    let outputs = veracity_importer::measure(digits.onnx, model.model(), &images, &mut |_, _| ());
    let mut outputs = outputs.expect("the embedded originals run in f32");
    Ok(outputs.pop().expect("the demo's models answer with logits"))
}

/// The values of the only output.
fn logits(server: &Server, answer: &Answer) -> Result<Vec<f32>, Failure> {
    let tensors = oip::decode(answer.response.json_length, &answer.response.body);
    match tensors.unwrap_or_default().pop() {
        Some((_, Array { data: ArrayData::F32(values), .. })) => Ok(values),
        _ => Err(server.strange("an answer without logits")),
    }
}

/// How it went, and what to try next.
pub(super) fn farewell(out: Output, elapsed_ms: u128, good: bool) {
    let tenths = elapsed_ms / 100;
    let time = format!("{}.{} s", tenths / 10, tenths % 10);
    let (paint, word) = match good {
        true => (Paint::Green, "The honest answer was verified, the five lies were refused."),
        false => (Paint::Red, "Something did not go as it must; please report this."),
    };
    out.say(format!("\n{} ({time})", out.colors().paint(paint, word)));
    out.say("\nWith a model of your own:\n  veracity import FILE.onnx --samples FILE.npz\n  veracity run NAME --input FILE.npz --receipt r.cose\n  veracity verify r.cose");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_shortened_and_nothing_else() {
        let hash = "0123456789abcdef".repeat(4);
        assert_eq!(
            fit(&format!("PASS  model  {hash}\nshort {hash}, 0x{hash}: x")),
            "PASS  model  01234567..\nshort 01234567.., 01234567..: x"
        );
        assert_eq!(fit("no hash here"), "no hash here");
    }

    #[test]
    fn long_lines_are_wrapped_under_their_details() {
        let words = ["word"; 20].join(" ");
        let line = format!("FAIL  response   {words}");
        let wrapped = wrap(&line);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|l| l.len() <= COLUMNS), "{wrapped}");
        assert!(lines[1].starts_with(&format!("{:INDENT$}word", "")), "{wrapped}");
        assert_eq!(
            wrapped.split_whitespace().collect::<Vec<_>>(),
            line.split_whitespace().collect::<Vec<_>>()
        );
        assert_eq!(wrap("PASS  a  b"), "PASS  a  b");
    }

    #[test]
    fn columns_stand_side_by_side() {
        let text = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(beside(&text(&["ab"]), &text(&["1", "2", "3"]), 2), "     1\nab   2\n     3");
    }
}
