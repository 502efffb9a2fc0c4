//! What `verify` concludes from a re-execution.

use veracity_receipt::{
    CheckName, Claims, Materials, Policy, ReexecuteError, Reexecution, Response, TraceRoot, Usage, verify,
};

use crate::{
    fixture::{MODEL_ID, REQUEST, RESPONSE, RUN, Rerun, claims, materials, run, sign},
    verdict::{detail, labels, verdict_on, verdict_with},
};

/// The lie that the project is about: a signed answer that the model does not give.
#[test]
fn a_false_response_is_found_by_re_execution() {
    let lie = Response { json_length: None, body: b"{\"outputs\":[{\"data\":[8]}]}" };
    let receipt = sign(Claims::new(MODEL_ID, &REQUEST, &lie, &RUN));
    let rerun = Rerun::honest();
    let materials = Materials { response: Some(lie), ..materials(&rerun) };
    let verdict = verify(&receipt.encode(), &materials, &Policy::default());
    assert_eq!(labels(&verdict), "PPSSPPPFPFSS");
    assert_eq!(
        detail(&verdict, CheckName::Execution),
        format!(
            "the receipt claims response {}, the model gives {}: the executor signed a false response",
            lie.hash(),
            RESPONSE.hash()
        )
    );
    assert_eq!((verdict.verified(), verdict.tier()), (false, None));
    assert!(verdict.to_string().ends_with("\nNOT VERIFIED: failed: execution, usage"));
}

#[test]
fn the_split_of_the_response_is_part_of_the_run() {
    let rerun = Rerun::giving(Ok(Reexecution { json_length: Some(60), ..run() }));
    assert_eq!(labels(&verdict_with(&rerun)), "PPPPPPPFPPSS");
}

#[test]
fn a_refused_request_fails_and_an_unavailable_engine_skips() {
    let refused =
        Rerun::giving(Err(ReexecuteError::Refused { reason: "shape [1, 4], not [1, 64]".to_owned() }));
    let verdict = verdict_with(&refused);
    assert_eq!(labels(&verdict), "PPPPPPPFSSSS");
    assert_eq!(
        detail(&verdict, CheckName::Execution),
        "the receipt claims a run that is impossible: the model refuses the request: shape [1, 4], not [1, 64]"
    );
    let unavailable = Rerun::giving(Err(ReexecuteError::Unavailable { reason: "out of memory".to_owned() }));
    let verdict = verdict_with(&unavailable);
    assert_eq!(labels(&verdict), "PPPPPPPSSSSS");
    assert_eq!(detail(&verdict, CheckName::Execution), "could not re-execute: out of memory");
    assert_eq!((verdict.verified(), verdict.tier()), (false, None));
    let words = ReexecuteError::Refused { reason: "x".to_owned() }.to_string();
    assert_eq!(words, "the model refuses the request: x");
}

#[test]
fn another_trace_fails() {
    let other = TraceRoot::from_bytes([3; 32]);
    let verdict = verdict_with(&Rerun::giving(Ok(Reexecution { trace_root: Some(other), ..run() })));
    assert_eq!(labels(&verdict), "PPPPPPPPFPSS");
    let expected = format!("the receipt claims trace {}, the run has {other}", "7a".repeat(32));
    assert_eq!(detail(&verdict, CheckName::Trace), expected);

    let untraced = verdict_with(&Rerun::giving(Ok(Reexecution { trace_root: None, ..run() })));
    assert_eq!(labels(&untraced), "PPPPPPPPSPSS");
    assert_eq!(detail(&untraced, CheckName::Trace), "the re-execution made no trace");
    let mut no_claim = claims();
    no_claim.trace_root = None;
    assert_eq!(detail(&verdict_on(no_claim), CheckName::Trace), "the receipt commits to no trace");
}

#[test]
fn another_usage_fails() {
    let usage = run().usage.unwrap();
    let verdict_at = |usage: Option<Usage>| verdict_with(&Rerun::giving(Ok(Reexecution { usage, ..run() })));
    let others = [
        Usage { samples: 2, ..usage },
        Usage { input_bytes: 84, ..usage },
        Usage { output_bytes: 1, ..usage },
        Usage { macs: Some(1), ..usage },
        Usage { samples: 2, macs: None, ..usage },
    ];
    for other in others {
        let verdict = verdict_at(Some(other));
        assert_eq!(labels(&verdict), "PPPPPPPPPFSS");
        assert_eq!(
            detail(&verdict, CheckName::Usage),
            format!("the receipt claims {usage}, the run has {other}")
        );
    }
    let uncounted = verdict_at(Some(Usage { macs: None, ..usage }));
    assert_eq!(labels(&uncounted), "PPPPPPPPPSSS");
    assert_eq!(labels(&verdict_at(None)), "PPPPPPPPPSSS");
    let mut unclaimed = claims();
    unclaimed.usage.macs = None;
    assert_eq!(labels(&verdict_on(unclaimed)), "PPPPPPPPPPSS", "macs that nobody claimed are not compared");
}
