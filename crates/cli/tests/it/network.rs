//! Real validators and providers as processes: receipts get into blocks, verify offline from the network's key, and are
//! not lost when a provider is killed.

use std::time::{Duration, Instant};

use serde_json::Value;
use veracity_node::dev_provider;
use veracity_receipt::{Evidence, Receipt};

use crate::{
    home::{Home, PIXELS, text},
    running::{Running, log_of},
};

const TIMEOUT: Duration = Duration::from_secs(120);

/// A network of validators.
struct Validators(Running);

/// Four validators without providers, an operator's key, a request, and the network's key in a file.
fn network(home: &Home) -> Validators {
    let args = ["localnet", "--json", "--rpc-port", "0", "--providers", "0", "--folder"];
    let running = Running::start(home, &[&args[..], &[text(&home.path("net"))]].concat());
    home.write("operator.key", dev_provider(0).key.to_string().as_bytes());
    home.write("key.hex", running.text("/chain/network_key").as_bytes());
    Validators(running)
}

impl Validators {
    /// A provider of the network that looks for receipts to anchor at this interval.
    fn provider(&self, home: &Home, interval_ms: &str) -> Running {
        let rpc = self.0.text("/endpoints/1");
        let args =
            ["up", "--json", "--listen", "127.0.0.1:0", "--chain", &rpc, "--operator-key", "operator.key"];
        Running::start(
            home,
            &[&args[..], &["--network-key", "key.hex", "--anchor-interval", interval_ms]].concat(),
        )
    }
}

/// What was asked, and the id of the receipt.
fn ask(provider: &Running) -> (Vec<u8>, Vec<u8>, String) {
    let values: Vec<String> = (0..PIXELS).map(|i| format!("{}.0", i % 16)).collect();
    let data = values.join(",");
    let request = format!(
        r#"{{"inputs":[{{"name":"image","datatype":"FP32","shape":[1,{PIXELS}],"data":[{data}]}}]}}"#
    );
    let url = format!("{}/v2/models/mlp/infer", provider.text("/url"));
    let mut answer = ureq::post(&url).send(request.as_bytes()).unwrap();
    let id = answer.headers().get("x-receipt-id").unwrap().to_str().unwrap().to_owned();
    (request.into_bytes(), answer.body_mut().read_to_vec().unwrap(), id)
}

fn receipt(provider: &Running, id: &str) -> Receipt {
    let url = format!("{}/v1/receipts/{id}", provider.text("/url"));
    let bytes = ureq::get(&url).call().unwrap().body_mut().read_to_vec().unwrap();
    Receipt::decode(&bytes).unwrap()
}

/// The receipt when it has evidence.
#[track_caller]
fn anchored(home: &Home, provider: &Running, id: &str) -> Receipt {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let receipt = receipt(provider, id);
        if receipt.evidence().is_some() {
            return receipt;
        }
        assert!(Instant::now() < deadline, "{id} is not anchored: {}", log_of(home));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn from_an_answer_to_evidence_that_verifies_offline() {
    let home = Home::with_mlp();
    let net = network(&home);
    let provider = net.provider(&home, "100");
    let roles = &provider.banner["provider"]["roles"];
    assert_eq!(*roles, serde_json::json!(["worker", "host", "gateway"]));
    let (request, response, id) = ask(&provider);
    let receipt = anchored(&home, &provider, &id);
    let url = format!("{}/v1/receipts/{id}", provider.text("/url"));
    let json = ureq::get(&url).header("accept", "application/json").call().unwrap();
    let json: Value = serde_json::from_str(&json.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!((&json["sequence"], &json["anchored"]["batch"]), (&0.into(), &0.into()));
    let block = json["anchored"]["block"].as_u64().unwrap();
    assert_eq!(json["anchored"]["index"], 0);
    provider.stop();
    drop(net);

    // Nobody is there to be asked any more.
    home.write("r.cose", &receipt.encode());
    home.write("r.cose.request", &request);
    home.write("r.cose.response", &response);
    let verify = ["verify", "r.cose", "--network-key", "key.hex"];
    let done = home.run(&verify).ok();
    done.line("PASS", "final");
    assert!(
        done.line("PASS", "anchored").contains(&format!("sequence 0 is place 0 of batch 0 in block {block}"))
    );
    assert!(done.stdout.lines().any(|line| line.starts_with("VERIFIED")), "{done:?}");

    refuse_tampering(&home, &receipt);
    let digits = String::from_utf8(home.read("key.hex")).unwrap();
    let digits = digits.trim_end().trim_start_matches("0x");
    let other = format!("{:x}{}", u8::from_str_radix(&digits[..1], 16).unwrap() ^ 2, &digits[1..]);
    let done = home.run(&["verify", "r.cose", "--network-key", &other]);
    assert_eq!(done.status, 1, "{done:?}");
    done.line("FAIL", "final");
}

/// Every part of the evidence matters, but for the seed, on which nothing here depends.
fn refuse_tampering(home: &Home, receipt: &Receipt) {
    let seed = receipt.evidence().unwrap().parts().certificate.seed_signature;
    let evidence = receipt.evidence().unwrap().encode();
    let seed_at = evidence.windows(seed.len()).position(|bytes| bytes == seed).unwrap();
    let seed = seed_at..seed_at + seed.len();
    home.write("bare.cose", &receipt.clone().with_evidence(None).encode());
    home.write("bare.cose.request", &home.read("r.cose.request"));
    home.write("evidence.cbor", &evidence);
    let beside = ["verify", "bare.cose", "--network-key", "key.hex", "--evidence", "evidence.cbor"];
    home.run(&beside).ok();
    for position in (0..evidence.len()).step_by(evidence.len() / 12) {
        let mut tampered = evidence.clone();
        tampered[position] ^= 1;
        home.write("evidence.cbor", &tampered);
        let done = home.run(&beside);
        let is_seed = seed.contains(&position);
        assert_eq!(done.status == 0, is_seed, "byte {position} of {}: {done:?}", evidence.len());
        // What is still evidence is refuted; what is not is refused as a file.
        if !is_seed && Evidence::decode(&tampered).is_ok() {
            assert!(
                done.stdout.contains("FAIL  final") || done.stdout.contains("FAIL  anchored"),
                "{done:?}"
            );
        }
    }
}

#[test]
fn a_provider_that_is_killed_loses_no_receipt_and_uses_no_sequence_twice() {
    let home = Home::with_mlp();
    let net = network(&home);
    let mut ids = vec![];
    // Killed after the answers, before it looks for them again.
    let mut provider = net.provider(&home, "3600000");
    ids.extend((0..3).map(|_| ask(&provider).2));
    provider.kill();
    // Killed while it anchors, somewhere.
    for _ in 0..4 {
        let mut provider = net.provider(&home, "1");
        ids.extend((0..2).map(|_| ask(&provider).2));
        provider.kill();
    }
    let provider = net.provider(&home, "50");
    ids.push(ask(&provider).2);
    for (sequence, id) in ids.iter().enumerate() {
        let receipt = anchored(&home, &provider, id);
        assert_eq!(receipt.claims().sequence, Some(sequence as u64));
        home.write("r.cose", &receipt.encode());
        let done = home.run(&["verify", "r.cose", "--network-key", "key.hex"]);
        done.line("PASS", "final");
        done.line("PASS", "anchored");
    }
    provider.stop();
}

/// Everything in one process: the chain, the server, and the receipts that get from one into the other.
#[test]
fn up_anchors_on_its_own_chain_and_goes_on_after_a_restart() {
    let home = Home::with_mlp();
    let args = ["up", "--json", "--listen", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--anchor-interval", "50"];
    for sequence in 0..2 {
        let up = Running::start(&home, &args);
        let (_, _, id) = ask(&up);
        let receipt = anchored(&home, &up, &id);
        assert_eq!(receipt.claims().sequence, Some(sequence));
        assert_eq!(up.text("/provider/node"), receipt.executor().to_string());
        home.write("r.cose", &receipt.encode());
        // The key as the banner shows it, with 0x in front.
        let done = home.run(&["verify", "r.cose", "--network-key", &up.text("/chain/network_key")]);
        done.line("PASS", "anchored");
        up.stop();
    }
    // On another chain the same receipts are anchored again.
    let up = Running::start(&home, &[&args[..], &["--fresh"]].concat());
    let receipt = Receipt::decode(&home.read("r.cose")).unwrap();
    let again = anchored(&home, &up, &receipt.id().to_string());
    home.write("again.cose", &again.encode());
    home.run(&["verify", "again.cose", "--network-key", &up.text("/chain/network_key")])
        .line("PASS", "anchored");
    home.run(&["verify", "r.cose", "--network-key", &up.text("/chain/network_key")]).line("FAIL", "final");
    up.stop();
}

#[test]
fn localnet_has_providers_that_end_with_it() {
    let home = Home::new();
    let args = ["localnet", "--json", "--validators", "1", "--providers", "2", "--rpc-port", "0"];
    let net = Running::start(&home, &[&args[..], &["--gateway-port", "0"]].concat());
    let urls: Vec<String> = (0..2).map(|index| net.text(&format!("/providers/{index}/url"))).collect();
    assert_ne!(urls[0], urls[1]);
    for url in &urls {
        assert_eq!(ureq::get(&format!("{url}/v2/health/ready")).call().unwrap().status(), 200);
    }
    net.stop();
    for url in &urls {
        assert!(ureq::get(&format!("{url}/v2/health/ready")).call().is_err(), "{url} is gone");
    }
}

#[test]
fn who_cannot_take_part_is_told_why() {
    let home = Home::new();
    let net = network(&home);
    let rpc = net.0.text("/endpoints/0");
    let case = |data: &str, key: &str, status: i32, code: &str| {
        let args = ["up", "--listen", "127.0.0.1:0", "--data", data, "--chain", &rpc, "--operator-key", key];
        let done = home.run(&args);
        assert_eq!(done.status, status, "{code}: {done:?}");
        assert!(done.stderr.contains(&format!("error[{code}]")), "{code}: {done:?}");
    };
    home.write("poor.key", "11".repeat(32).as_bytes());
    home.write("none.key", b"not a key");
    home.write("other.key", dev_provider(1).key.to_string().as_bytes());
    case("data", "missing.key", 2, "file_not_found");
    case("data", "none.key", 2, "bad_key");
    case("data", "poor.key", 2, "operator_poor");
    let provider = net.provider(&home, "1000");
    provider.stop();
    case("data", "other.key", 2, "not_operator");
    let gone =
        ["up", "--listen", "127.0.0.1:0", "--chain", "http://127.0.0.1:1", "--operator-key", "other.key"];
    let done = home.run(&gone);
    assert!(done.status == 3 && done.stderr.contains("error[rpc_unreachable]"), "{done:?}");
}
