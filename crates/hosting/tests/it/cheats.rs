//! Hosts that lie, fail or stall.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use veracity_graph::{Bundle, Digest, ModelId, Part};
use veracity_hosting::{Client, Fault, FetchConfig, FetchError, NodeId, Source};
use veracity_store::{PartName, Store};

use crate::{
    fixture::{bundle, bundle_with_rows, wide_bundle},
    network::{Node, Watch, client, config, fetch_from},
};

/// An honest answer, before the cheat changes it.
pub(crate) struct Answer {
    pub(crate) is_manifest: bool,
    pub(crate) body: Vec<u8>,
}

pub(crate) type Cheat = Arc<dyn Fn(Answer, &mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// A host that answers each connection once, in its own way. Its thread ends with the process.
pub(crate) fn host(store: Store, other: ModelId, cheat: Cheat) -> Source {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let store = Arc::new(store);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (store, cheat) = (Arc::clone(&store), Arc::clone(&cheat));
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let Some(path) = read_path(&stream) else { return };
                // A client that hangs up is no fault of the test.
                let _ = cheat(honest(&store, &path, other), &mut stream);
            });
        }
    });
    Source { node: NodeId([9; 32]), endpoint }
}

fn read_path(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    lines.map_while(Result::ok).find(String::is_empty)?;
    Some(path)
}

fn honest(store: &Store, path: &str, id: ModelId) -> Answer {
    let words: Vec<_> = path.split('/').collect();
    let [_, _, _, _, _, part, range @ ..] = words.as_slice() else { panic!("{path}") };
    if *part == "manifest" {
        return Answer { is_manifest: true, body: store.manifest(&id).unwrap().encode() };
    }
    let name = PartName::ALL.into_iter().find(|name| name.as_str() == *part).unwrap();
    let [first, count] = [0, 1].map(|i| range[i].parse::<u64>().unwrap());
    let read = store.read_groups(&id, name, first..first + count);
    // Another model may have fewer groups.
    let body = read.or_else(|_| store.read_groups(&id, name, 0..1)).unwrap();
    Answer { is_manifest: false, body }
}

fn send(stream: &mut TcpStream, status: u16, length: Option<usize>, body: &[u8]) -> std::io::Result<()> {
    let length = length.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
    write!(stream, "HTTP/1.1 {status} Status\r\n{length}Connection: close\r\n\r\n")?;
    stream.write_all(body)
}

pub(crate) fn send_whole(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    send(stream, 200, Some(body.len()), body)
}

pub(crate) fn prepared(bundles: &[&Bundle]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for bundle in bundles {
        let id = store.put(bundle, None).unwrap();
        store.make_outboards(&id).unwrap();
    }
    (dir, store)
}

/// A liar alone gives nothing wrong and is told by its fault; with an honest host beside it, the model comes whole.
fn check(what: &str, cheat: Cheat, expected: fn(&Fault) -> bool) {
    check_serving(what, &wide_bundle(1), cheat, expected, &config());
}

fn check_serving(
    what: &str,
    served: &Bundle,
    cheat: Cheat,
    expected: fn(&Fault) -> bool,
    config: &FetchConfig,
) {
    let model = wide_bundle(1);
    let (_dir, store) = prepared(&[served]);
    let liar = host(store, served.model_id(), cheat);
    let honest = Node::with(1, &[&model]);
    let client = Client::new(config.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();

    let watch = Watch::default();
    let error = fetch_from(&client, &store, &model, std::slice::from_ref(&liar), &watch).unwrap_err();
    let FetchError::AllHostsFailed { reports, .. } = &error else { panic!("{what}: {error}") };
    assert_eq!(reports.len(), 1, "{what}: reported once");
    assert!(expected(&reports[0].fault), "{what}: {error}");
    assert_eq!(*watch.reports.lock().unwrap(), [reports[0].to_string()], "{what}");
    assert!(!error.is_final(), "{what}");
    assert!(!store.contains(&model.model_id()), "{what}");

    let sources = [liar, honest.source];
    // On a busy machine an honest host may be too slow for the shortest limits; then the fetch goes on.
    let attempt = |_| fetch_from(&client, &store, &model, &sources, &Watch::default()).ok();
    let id = (0..20).find_map(attempt).unwrap_or_else(|| panic!("{what}: an honest host did not help"));
    assert_eq!(store.get(&id).unwrap(), model, "{what}");
}

/// Lies about the bytes, tells the truth about the manifest.
fn groups(lie: fn(Vec<u8>, &mut TcpStream) -> std::io::Result<()>) -> Cheat {
    Arc::new(move |answer, stream| match answer.is_manifest {
        true => send_whole(stream, &answer.body),
        false => lie(answer.body, stream),
    })
}

#[test]
fn wrong_bytes_are_found_and_their_host_dropped() {
    let wrong: fn(&Fault) -> bool = |fault| matches!(fault, Fault::WrongBytes { .. }) && fault.is_lie();
    let flip = groups(|mut body, stream| {
        let middle = body.len() / 2;
        body[middle] ^= 1;
        send_whole(stream, &body)
    });
    check("a flipped bit", flip, wrong);
    let last = groups(|mut body, stream| {
        *body.last_mut().unwrap() ^= 128;
        send_whole(stream, &body)
    });
    check("the last bit flipped", last, wrong);
    check("zeros", groups(|body, stream| send_whole(stream, &vec![0; body.len()])), wrong);
    let endless = groups(|_, stream| {
        send(stream, 200, None, &[])?;
        loop {
            stream.write_all(&[7; 4096])?;
        }
    });
    check("an endless stream of something else", endless, wrong);
    let swapped = groups(|mut body, stream| {
        body.reverse();
        send_whole(stream, &body)
    });
    check("the bytes in another order", swapped, wrong);
}

#[test]
fn wrong_lengths_are_found() {
    let wrong: fn(&Fault) -> bool = |fault| matches!(fault, Fault::WrongLength { .. }) && fault.is_lie();
    let longer = groups(|body, stream| send(stream, 200, Some(body.len() + 1), &[&body[..], b"x"].concat()));
    check("one byte more is announced", longer, wrong);
    let shorter = groups(|body, stream| send_whole(stream, &body[..body.len() - 1]));
    check("one byte less is announced", shorter, wrong);
    let huge = groups(|body, stream| send(stream, 200, Some(1 << 60), &body));
    check("a length beyond all disks", huge, wrong);
    let too_long: fn(&Fault) -> bool = |fault| matches!(fault, Fault::TooLong) && fault.is_lie();
    // The bytes were right, so the first fetch ends with an error for the graph, the second has both.
    let endless = groups(|body, stream| {
        send(stream, 200, None, &body)?;
        loop {
            stream.write_all(&[7; 4096])?;
        }
    });
    check("an endless stream after the right bytes", endless, too_long);
}

#[test]
fn another_model_is_not_taken_for_this_one() {
    let honest: fn() -> Cheat = || Arc::new(|answer, stream| send_whole(stream, &answer.body));
    let other = wide_bundle(2);
    let wrong: fn(&Fault) -> bool = |fault| matches!(fault, Fault::WrongManifest { .. }) && fault.is_lie();
    check_serving("another model", &other, honest(), wrong, &config());
    check_serving("another model of another size", &bundle(2), honest(), wrong, &config());
}

#[test]
fn manifests_that_are_none_are_refused() {
    let manifest =
        |lie: fn(&mut TcpStream) -> std::io::Result<()>| -> Cheat { Arc::new(move |_, stream| lie(stream)) };
    check("no manifest", manifest(|stream| send_whole(stream, b"<html>")), |fault| {
        matches!(fault, Fault::BadManifest(_)) && fault.is_lie()
    });
    check(
        "a manifest of a terabyte",
        manifest(|stream| send(stream, 200, Some(1 << 40), b"VMAN")),
        |fault| matches!(fault, Fault::WrongLength { .. }),
    );
    let endless = manifest(|stream| {
        send(stream, 200, None, b"VMAN\x01")?;
        loop {
            stream.write_all(&[7; 4096])?;
        }
    });
    check("an endless manifest", endless, |fault| matches!(fault, Fault::TooLong));
    check("half a manifest", manifest(|stream| send(stream, 200, None, b"VMAN\x01abc")), |fault| {
        matches!(fault, Fault::Truncated) && !fault.is_lie()
    });
}

#[test]
fn nobody_sends_us_elsewhere() {
    let honest = Node::with(3, &[&wide_bundle(1)]);
    let endpoint = honest.source.endpoint.to_string();
    let redirect: Cheat = Arc::new(move |_, stream| {
        let id = wide_bundle(1).model_id();
        write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {endpoint}/hosting/v1/models/{id}/manifest\r\nContent-Length: 0\r\n\r\n"
        )
    });
    check("a redirect", redirect, |fault| matches!(fault, Fault::Redirect { status: 302 }) && fault.is_lie());
}

#[test]
fn trouble_is_tried_again_and_then_dropped() {
    check("a refusal", Arc::new(|_, stream| send(stream, 503, Some(0), b"")), |fault| {
        matches!(fault, Fault::Refused { status: 503 }) && !fault.is_lie()
    });
    check("an end at once", Arc::new(|_, _| Ok(())), |fault| {
        matches!(fault, Fault::Unreachable { .. } | Fault::Truncated) && !fault.is_lie()
    });
    check(
        "something that is not HTTP",
        Arc::new(|_, stream| stream.write_all(b"220 smtp.example ESMTP\r\n")),
        |fault| matches!(fault, Fault::Unreachable { .. }),
    );
    check(
        "half the bytes",
        groups(|body, stream| send(stream, 200, Some(body.len()), &body[..body.len() / 64])),
        |fault| matches!(fault, Fault::Truncated | Fault::Unreachable { .. }) && !fault.is_lie(),
    );
}

#[test]
fn silence_and_drips_end() {
    let short =
        FetchConfig { answer_timeout: Duration::from_millis(300), rate_min_bytes_per_s: 1 << 30, ..config() };
    let slow: fn(&Fault) -> bool = |fault| matches!(fault, Fault::TooSlow) && !fault.is_lie();
    let silent: Cheat = Arc::new(|_, _| {
        loop {
            thread::park();
        }
    });
    check_serving("silence", &wide_bundle(1), silent, slow, &short);
    let drip = groups(|body, stream| {
        send(stream, 200, Some(body.len()), &[])?;
        for byte in body {
            stream.write_all(&[byte])?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
    check_serving("a drip", &wide_bundle(1), drip, slow, &short);
}

#[test]
fn whoever_is_not_there_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let gone = Source { node: NodeId([0; 32]), endpoint: "http://127.0.0.1:1".parse().unwrap() };
    let error = fetch_from(&client(), &store, &bundle(1), &[gone], &Watch::default()).unwrap_err();
    assert!(error.to_string().contains("it cannot be reached"), "{error}");
}

#[test]
fn a_connection_cut_at_any_point_loses_only_what_did_not_come() {
    let model = wide_bundle(1);
    let whole = {
        let (_dir, store) = prepared(&[&model]);
        store.read_groups(&model.model_id(), PartName::Weights, 0..4).unwrap().len()
    };
    let points =
        [0, 1, 63, 64, 65, 128, 16_511, 16_512, 16_513].into_iter().chain((20_000..whole).step_by(4999));
    for point in points.chain([whole - 1]) {
        let (_dir, store) = prepared(&[&model]);
        let cut: Cheat = Arc::new(move |answer, stream| {
            let end = answer.body.len().min(if answer.body.len() == whole { point } else { usize::MAX });
            send(stream, 200, Some(answer.body.len()), &answer.body[..end])
        });
        let source = host(store, model.model_id(), cut);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let client = Client::new(FetchConfig { attempts_max: 1, ..config() }).unwrap();
        let first = Watch::default();
        // What is left after the cut is another range, which this host does not cut.
        match fetch_from(&client, &store, &model, &[source], &first) {
            Ok(id) => assert_eq!(store.get(&id).unwrap(), model, "cut at {point}"),
            Err(FetchError::AllHostsFailed { .. }) => {
                let honest = Node::with(1, &[&model]);
                let second = Watch::default();
                let id = fetch_from(&client, &store, &model, honest.sources(), &second).unwrap();
                assert_eq!(store.get(&id).unwrap(), model, "cut at {point}");
                let brought = [first, second].map(|w| w.bytes.into_inner());
                assert_eq!(brought.iter().sum::<u64>(), crate::network::size_bytes(&model), "cut at {point}");
            }
            Err(error) => panic!("cut at {point}: {error}"),
        }
    }
}

#[test]
fn an_empty_part_with_another_hash_is_refused() {
    let mut model = wide_bundle(1);
    model.weights.clear();
    model.manifest.weights = Part { digest: Digest([3; 32]), size_bytes: 0 };
    let manifest = model.manifest.encode();
    let (_dir, store) = prepared(&[&bundle(1)]);
    let author: Cheat = Arc::new(move |_, stream| send_whole(stream, &manifest));
    let source = host(store, bundle(1).model_id(), author);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = fetch_from(&client(), &store, &model, &[source], &Watch::default()).unwrap_err();
    assert!(matches!(error, FetchError::Invalid { .. }) && error.is_final(), "{error}");
}

/// Each of two hosts keeps its part of the weights back until the other one was asked too.
#[test]
fn hosts_are_asked_at_the_same_time() {
    let model = bundle_with_rows(1, 2_200_000);
    let asked = Arc::new((Mutex::new(0), Condvar::new()));
    let patient = || {
        let (dir, store) = prepared(&[&model]);
        let asked = Arc::clone(&asked);
        let cheat: Cheat = Arc::new(move |answer, stream| {
            if answer.body.len() > 1 << 20 {
                let (count, changed) = &*asked;
                *count.lock().unwrap() += 1;
                changed.notify_all();
                drop(changed.wait_while(count.lock().unwrap(), |count| *count < 2).unwrap());
            }
            send_whole(stream, &answer.body)
        });
        (dir, host(store, model.model_id(), cheat))
    };
    let hosts = [patient(), patient()];
    let sources: Vec<Source> = hosts.iter().map(|(_, source)| source.clone()).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let client = Client::new(FetchConfig { connections_per_host: 1, ..config() }).unwrap();
    fetch_from(&client, &store, &model, &sources, &Watch::default()).unwrap();
    assert_eq!(store.get(&model.model_id()).unwrap().weights, model.weights);
}
