//! The search for logs, against a search that looks at every log, and filters.

use alloy_consensus::{TxEnvelope, transaction::Recovered};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rpc_types_eth::{Filter, Log, TransactionReceipt};
use jsonrpsee::rpc_params;
use serde_json::{Value, json};

use crate::{
    sealer::Sealing,
    support::{LOGGER, Node, address, contract, invoke, transfer, words},
};

/// A small generator of numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn topic(number: u64) -> B256 {
    B256::from(U256::from(number))
}

/// Thirty blocks of up to four transactions that log small numbers.
async fn logging() -> Node {
    let node = Node::new(Sealing::Manual).await;
    let mut random = Random(42);
    let mut nonces = [0; 4];
    for _ in 0..30 {
        for from in 0..4u8 {
            let transaction: Recovered<TxEnvelope> = match random.below(3) {
                0 => continue,
                1 => transfer(from, nonces[usize::from(from)], address(9), 1),
                _ => {
                    let input = words(&[random.below(4), random.below(4), random.below(100)]);
                    invoke(from, nonces[usize::from(from)], LOGGER, &input)
                }
            };
            nonces[usize::from(from)] += 1;
            node.send(&transaction).await;
        }
        node.sealer.seal(usize::MAX);
    }
    node
}

/// All logs, from the receipts.
async fn all_logs(node: &Node) -> Vec<Log> {
    let mut logs = vec![];
    for height in 0..=node.chain.head().number() {
        let receipts: Vec<TransactionReceipt> =
            node.ask("eth_getBlockReceipts", rpc_params![format!("{height:#x}")]).await;
        logs.extend(receipts.into_iter().flat_map(|receipt| receipt.inner.logs().to_vec()));
    }
    logs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_what_looking_at_every_log_finds() {
    let node = logging().await;
    let all = all_logs(&node).await;
    assert!(all.len() > 20, "{}", all.len());
    let mut random = Random(7);
    for round in 0..200 {
        let (a, b) = (random.below(33), random.below(33));
        let (from, to) = (a.min(b), a.max(b));
        let mut filter = Filter::new().from_block(from).to_block(to);
        if random.below(2) == 0 {
            filter = filter.address(if random.below(4) == 0 { Address::ZERO } else { contract(LOGGER) });
        }
        if random.below(2) == 0 {
            filter = filter.event_signature(vec![topic(random.below(4)), topic(random.below(6))]);
        }
        if random.below(2) == 0 {
            filter = filter.topic1(topic(random.below(5)));
        }
        let found: Vec<Log> = node.ask("eth_getLogs", rpc_params![&filter]).await;
        let matches = |log: &&Log| {
            let height = log.block_number.unwrap();
            let topics = filter.topics.iter().enumerate().all(|(i, wanted)| {
                wanted.is_empty() || log.topics().get(i).is_some_and(|topic| wanted.contains(topic))
            });
            let is_from = filter.address.is_empty() || filter.address.contains(&log.address());
            (from..=to).contains(&height) && is_from && topics
        };
        let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
        assert_eq!(found, expected, "round {round}: {filter:?}");
    }
    // By hash, and by tags.
    let block = node.chain.block(all[0].block_number.unwrap()).unwrap().unwrap();
    let found: Vec<Log> = node.ask("eth_getLogs", rpc_params![json!({"blockHash": block.hash()})]).await;
    let expected: Vec<_> = all.iter().filter(|log| log.block_hash == Some(block.hash())).cloned().collect();
    assert_eq!(found, expected);
    let everything: Vec<Log> =
        node.ask("eth_getLogs", rpc_params![json!({"fromBlock": "earliest", "toBlock": "latest"})]).await;
    assert_eq!(everything, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_that_cost_too_much_are_refused() {
    let node = Node::with(Sealing::Instant, |config| {
        config.log_blocks_max = 10;
        config.logs_max = 3;
    })
    .await;
    for nonce in 0..12 {
        node.send(&invoke(0, nonce, LOGGER, &words(&[1, 2, 3]))).await;
    }
    let many: Vec<_> = (0..1001).map(topic).collect();
    let unknown = B256::repeat_byte(1);
    let cases = [
        (
            json!({"fromBlock": "0x0"}),
            -32005,
            "blocks of a log search: 13 asked for, at most 10 allowed; ask for a narrower range of blocks"
                .to_owned(),
        ),
        (
            json!({"fromBlock": "0x5", "toBlock": "0xa"}),
            -32005,
            "query returns more than 3 logs: ask for fewer blocks, the first 3 are in blocks 5 to 7".into(),
        ),
        (
            json!({"fromBlock": "0x5", "toBlock": "0x4"}),
            -32602,
            "invalid block range: fromBlock 5 is after toBlock 4".into(),
        ),
        (
            json!({"topics": [many]}),
            -32005,
            "addresses or topics of a filter: 1001 asked for, at most 1000 allowed; ask in several requests"
                .into(),
        ),
        (json!({"blockHash": unknown}), -32001, format!("block {unknown} not found: the latest is 12")),
    ];
    for (filter, code, message) in cases {
        let error = node.refusal("eth_getLogs", rpc_params![&filter]).await;
        assert_eq!((error.code(), error.message()), (code, &*message));
    }
    let three: Vec<Log> =
        node.ask("eth_getLogs", rpc_params![json!({"fromBlock": "0x5", "toBlock": "0x7"})]).await;
    assert_eq!(three.len(), 3);
    // Above the latest there is nothing.
    let none: Vec<Log> =
        node.ask("eth_getLogs", rpc_params![json!({"fromBlock": "0xd", "toBlock": "0xff"})]).await;
    assert_eq!(none, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_answer_with_what_is_new() {
    let node = Node::new(Sealing::Manual).await;
    node.send(&invoke(0, 0, LOGGER, &words(&[1, 2, 3]))).await;
    node.sealer.seal(usize::MAX);
    let new = async |method: &str, params| node.ask::<String>(method, params).await;
    let ones = json!({"fromBlock": "0x0", "topics": [topic(1)]});
    let logs = new("eth_newFilter", rpc_params![&ones]).await;
    let blocks = new("eth_newBlockFilter", rpc_params![]).await;
    let transactions = new("eth_newPendingTransactionFilter", rpc_params![]).await;
    let changes = async |id: &String| node.ask::<Value>("eth_getFilterChanges", rpc_params![id]).await;
    for id in [&logs, &blocks, &transactions] {
        assert_eq!(changes(id).await, json!([]));
    }
    let sent = [invoke(0, 1, LOGGER, &words(&[1, 9, 9])), invoke(1, 0, LOGGER, &words(&[5, 9, 9]))];
    for transaction in &sent {
        node.send(transaction).await;
    }
    let mut pending: Vec<B256> = serde_json::from_value(changes(&transactions).await).unwrap();
    pending.sort_unstable();
    let mut expected = sent.each_ref().map(|transaction| *transaction.tx_hash());
    expected.sort_unstable();
    assert_eq!(pending, expected);
    node.sealer.seal(usize::MAX);
    node.sealer.seal(0);

    let found: Vec<Log> = serde_json::from_value(changes(&logs).await).unwrap();
    assert_eq!(found.iter().map(|log| log.topics()[0]).collect::<Vec<_>>(), [topic(1)]);
    let hashes: Vec<B256> = serde_json::from_value(changes(&blocks).await).unwrap();
    let expected = [2, 3].map(|height| node.chain.block(height).unwrap().unwrap().hash());
    assert_eq!(hashes, expected);
    for id in [&logs, &blocks, &transactions] {
        assert_eq!(changes(id).await, json!([]));
    }
    let all: Vec<Log> = node.ask("eth_getFilterLogs", rpc_params![&logs]).await;
    assert_eq!(all.len(), 2);
    let error = node.refusal("eth_getFilterLogs", rpc_params![&blocks]).await;
    assert_eq!(
        (error.code(), error.message()),
        (-32602, "filter is not a log filter: use eth_getFilterChanges")
    );

    assert!(node.ask::<bool>("eth_uninstallFilter", rpc_params![&logs]).await);
    assert!(!node.ask::<bool>("eth_uninstallFilter", rpc_params![&logs]).await);
    let error = node.refusal("eth_getFilterChanges", rpc_params![&logs]).await;
    assert_eq!(error.code(), -32000);
    assert!(error.message().starts_with("filter not found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_few_and_end_when_unused() {
    let node = Node::with(Sealing::Manual, |config| config.filters_max = 2).await;
    for _ in 0..2 {
        node.ask::<String>("eth_newBlockFilter", rpc_params![]).await;
    }
    let error = node.refusal("eth_newBlockFilter", rpc_params![]).await;
    assert_eq!(error.code(), -32005);
    assert!(error.message().starts_with("filters of all clients: 3 asked for, at most 2 allowed"), "{error}");

    let node = Node::with(Sealing::Manual, |config| {
        config.filters_max = 1;
        config.filter_idle = std::time::Duration::ZERO;
    })
    .await;
    for _ in 0..3 {
        let id: String = node.ask("eth_newBlockFilter", rpc_params![]).await;
        let error = node.refusal("eth_getFilterChanges", rpc_params![id]).await;
        assert!(error.message().starts_with("filter not found"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_cannot_be_answered_are_answered_later() {
    let node = Node::with(Sealing::Instant, |config| config.logs_max = 2).await;
    let id: String = node.ask("eth_newFilter", rpc_params![json!({})]).await;
    for nonce in 0..3 {
        node.send(&invoke(0, nonce, LOGGER, &words(&[1, 2, 3]))).await;
    }
    for _ in 0..2 {
        let error = node.refusal("eth_getFilterChanges", rpc_params![&id]).await;
        assert_eq!(error.code(), -32005);
    }
    let empty: Bytes = node.ask("eth_getCode", rpc_params![address(1)]).await;
    assert!(empty.is_empty());
}
