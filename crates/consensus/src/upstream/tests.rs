//! What an answer is dropped for, and how long an upstream is left alone.

use commonware_codec::{Encode as _, FixedSize as _};
use commonware_consensus::{
    simplex::types::{Finalize, Proposal},
    types::{Epoch, Round, View},
};
use commonware_cryptography::{
    bls12381::{dkg::feldman_desmedt::deal, primitives::sharing::Mode},
    sha256,
};
use commonware_glue::dkg::types::{EpochInfo, EpochOutcome};
use commonware_p2p::Address;
use commonware_parallel::Sequential;
use commonware_runtime::{Runner as _, deterministic};
use commonware_utils::{N3f1, TestRng, non_empty, ordered::Map};
use veracity_chain::State as ChainState;

use super::*;
use crate::NAMESPACE;

fn network() -> (Block, Scheme) {
    let key = ed25519::PrivateKey::from_seed(1).public_key();
    let address = Address::Symmetric(([127, 0, 0, 1], 1).into());
    let directory: Map<_, _> = Map::from_iter_dedup([(key.clone(), address)]);
    let players = directory.keys().clone();
    let dealt = deal::<_, _, N3f1>(TestRng::new(7), Mode::NonZeroCounter, players.clone());
    let (output, shares) = dealt.unwrap();
    let share = shares.get_value(&key).unwrap().clone();
    let scheme = Scheme::signer(NAMESPACE, players.clone(), output.public().clone(), share).unwrap();
    let info = EpochInfo {
        outcome: EpochOutcome::Success,
        epoch: Epoch::zero(),
        output,
        players: players.clone(),
        next_players: players,
        directory: directory.into(),
    };
    let file = alloy_genesis::Genesis::default();
    (Block::genesis(veracity_chain::genesis_block(&file, &ChainState::default()), info), scheme)
}

fn finalization(scheme: &Scheme, payload: Digest) -> Finalization<Scheme, Digest> {
    let round = Round::new(Epoch::zero(), View::new(1));
    let vote = Finalize::sign(scheme, Proposal { round, parent: View::zero(), payload }).unwrap();
    Finalization::from_finalizes(scheme, non_empty![@std::iter::once(&vote)], &Sequential).unwrap()
}

#[test]
fn honest_answers_pass_and_fit() {
    let (block, scheme) = network();
    let finalization = finalization(&scheme, block.digest());
    let both = (finalization.clone(), block.clone()).encode();
    for (question, answer) in [
        (Question::Latest { above: 0 }, finalization.encode()),
        (Question::Block(block.digest().0), block.encode()),
        (Question::Finalized(0), both),
        (Question::State(Bytes::new()), Bytes::from_static(b"checked elsewhere")),
    ] {
        assert!(answer.len() <= question.answer_bytes_max(), "{question:?}");
        assert_eq!(examine(&question, &answer), Ok(()), "{question:?}");
    }
    // A certificate is as long as the specification says.
    assert!(finalization.encode().len() <= 4 * 10 + sha256::Digest::SIZE + 96);
}

#[test]
fn what_no_honest_node_gives_is_told_apart() {
    let (block, scheme) = network();
    let (hash, other) = (block.digest().0, B256::repeat_byte(5));
    let certified = finalization(&scheme, block.digest()).encode();
    let both = (finalization(&scheme, block.digest()), block.clone()).encode();
    let misled = (finalization(&scheme, Digest(other)), block.clone()).encode();
    let mut changed = block.encode().to_vec();
    changed[40] ^= 1;
    let long = vec![0; 513];

    assert_eq!(
        examine(&Question::Latest { above: 0 }, &long.into()),
        Err(Lie::Oversized { found: 513, max: 512 })
    );
    assert_eq!(
        examine(&Question::Block(other), &block.encode()),
        Err(Lie::OtherBlock { expected: other, found: hash })
    );
    assert_eq!(
        examine(&Question::Finalized(0), &misled),
        Err(Lie::OtherBlock { expected: other, found: hash })
    );
    assert_eq!(examine(&Question::Finalized(7), &both), Err(Lie::Height { expected: 7, found: 0 }));
    for (question, answer, expected) in [
        (Question::Latest { above: 0 }, certified.slice(1..), "finalization"),
        (Question::Latest { above: 0 }, [certified.as_ref(), &[0]].concat().into(), "finalization"),
        (Question::Finalized(0), certified.clone(), "block"),
        (Question::Block(hash), both.slice(3..), "block"),
    ] {
        let lie = examine(&question, &answer).unwrap_err();
        assert!(matches!(&lie, Lie::Undecodable { expected: found, .. } if *found == expected), "{lie}");
    }
    let lie = examine(&Question::Block(hash), &changed.into()).unwrap_err();
    assert!(matches!(lie, Lie::Undecodable { .. } | Lie::OtherBlock { .. }), "{lie}");
}

/// An upstream that has one answer to everything.
struct Always(Result<Option<Bytes>, Unreachable>);

impl Upstream for Always {
    fn name(&self) -> &str {
        "always"
    }

    fn ask(&self, _: Question) -> BoxFuture<'static, Result<Option<Bytes>, Unreachable>> {
        let answer = self.0.clone();
        Box::pin(async move { answer })
    }

    fn submit(&self, _: Bytes) -> BoxFuture<'static, Result<(), Unreachable>> {
        let taken = self.0.clone().map(|_| ());
        Box::pin(async move { taken })
    }
}

fn upstreams(answers: Vec<Result<Option<Bytes>, Unreachable>>) -> (Upstreams, Vec<PublicKey>) {
    let all = answers.into_iter().map(|answer| Arc::new(Always(answer)) as Arc<dyn Upstream>);
    let upstreams = Upstreams::new(all.collect(), Duration::from_secs(1));
    let keys = upstreams.keys();
    (upstreams, keys)
}

#[test]
fn one_that_gives_no_answer_is_left_alone_for_longer_and_longer() {
    deterministic::Runner::default().start(|context| async move {
        let (upstreams, keys) = upstreams(vec![Err(Unreachable("down".into())), Ok(None)]);
        let mut pauses = vec![];
        for _ in 0..8 {
            assert_eq!(upstreams.ask(&context, &keys[0], Question::Finalized(1), Duration::ZERO).await, None);
            let now = context.current();
            let until = upstreams.pause(&keys[0], now).unwrap();
            pauses.push(until.duration_since(now).unwrap().as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert!(!upstreams.is_dropped(&keys[0]), "it is no liar");
        // Not to have something is an answer.
        assert_eq!(upstreams.ask(&context, &keys[1], Question::Finalized(1), Duration::ZERO).await, None);
        assert_eq!(upstreams.pause(&keys[1], context.current()), None);
        assert_eq!(upstreams.answering(), 1);
        // A transaction goes to one that takes it.
        assert!(upstreams.submit(&context, &Bytes::new()).await);
    });
}

#[test]
fn a_liar_is_dropped_with_its_first_lie_and_the_library_is_told() {
    deterministic::Runner::default().start(|context| async move {
        let (upstreams, keys) = upstreams(vec![Ok(Some(Bytes::from_static(&[1; 600])))]);
        let mut judge = Judge { upstreams: upstreams.clone(), lie: Lie::Certificate };
        let mut blocked = judge.blocked();
        assert!(blocked.recv().await.unwrap().is_empty());
        let question = Question::Latest { above: 0 };
        assert_eq!(upstreams.ask(&context, &keys[0], question.clone(), Duration::ZERO).await, None);
        assert_eq!(blocked.recv().await.unwrap(), Set::from_iter_dedup([keys[0].clone()]));
        judge.block(keys[0].clone());
        assert_eq!(upstreams.status()[0].lie, Some(Lie::Oversized { found: 600, max: 512 }));
        assert_eq!(upstreams.answering(), 0);
        assert_eq!(upstreams.ask(&context, &keys[0], question, Duration::ZERO).await, None);
        assert!(!upstreams.submit(&context, &Bytes::new()).await, "it gets nothing any more");
    });
}

#[test]
fn messages_of_the_library_are_understood() {
    let request = [&7u64.to_be_bytes()[..], &[REQUEST], b"key"].concat();
    assert_eq!(parse_request(request.into()), Some((7, Bytes::from_static(b"key"))));
    for strange in [vec![], vec![0; 8], [&7u64.to_be_bytes()[..], &[RESPONSE], b"key"].concat()] {
        assert_eq!(parse_request(strange.into()), None);
    }
    let key = handler::Key::<Digest>::Finalized { height: Height::new(9) };
    assert_eq!(Kind::Blocks.question(key.encode()), Some(Question::Finalized(9)));
    let key = handler::Key::Block(Digest(B256::repeat_byte(3)));
    assert_eq!(Kind::Blocks.question(key.encode()), Some(Question::Block(B256::repeat_byte(3))));
    let key = handler::Key::<Digest>::Notarized { round: Round::new(Epoch::zero(), View::new(1)) };
    assert_eq!(Kind::Blocks.question(key.encode()), None);
    assert_eq!(Kind::Blocks.question(Bytes::from_static(&[9])), None);
}
