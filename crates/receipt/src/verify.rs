//! The checks, in the order of the specification (section 6). Each step is a function from what it looks at to an
//! outcome; [`verify`] only lines them up.

use veracity_light::{NetworkKey, cbor::to_u64};

use crate::{
    Check, CheckError, CheckName, Claims, Materials, ModelId, Outcome, Policy, Receipt, ReexecuteError,
    Reexecution, Request, Response, Usage, Verdict,
};

/// Decodes a receipt and holds it against the materials under a policy.
///
/// Never fails as a function: what is wrong with the receipt is in the verdict. Costs one decoding, one signature check
/// and one hash of each body at hand; the re-executor runs only if nothing was wrong up to there.
#[must_use]
pub fn verify(bytes: &[u8], materials: &Materials<'_>, policy: &Policy) -> Verdict {
    let outcomes = match Receipt::decode(bytes) {
        Ok(receipt) => check_receipt(&receipt, materials, policy),
        Err(error) => {
            let mut outcomes = CheckName::ALL.map(|_| skip("the receipt could not be decoded"));
            let [decode, ..] = &mut outcomes;
            *decode = Outcome::Fail(error.into());
            outcomes
        }
    };
    let checks =
        CheckName::ALL.into_iter().zip(outcomes).map(|(name, outcome)| Check { name, outcome }).collect();
    Verdict::new(checks, policy.required.clone())
}

fn check_receipt(receipt: &Receipt, materials: &Materials<'_>, policy: &Policy) -> [Outcome; 12] {
    let claims = receipt.claims();
    let decode = Outcome::Pass(format!("receipt {} of version {}", receipt.id(), crate::VERSION));
    let signature = check_signature(receipt);
    let time = check_time(claims.issued_at, policy);
    let executor = check_executor(receipt, policy);
    let model = check_model(claims, materials);
    let request = check_request(claims, materials.request.as_ref());
    let response = check_response(claims, materials.response.as_ref());

    // Nobody makes us compute for a receipt that nobody signed, or on a request that it is not about.
    let may_run = [&signature, &model, &request].iter().all(|outcome| outcome.is_pass())
        && ![&time, &executor].iter().any(|outcome| outcome.is_fail());
    let run = if may_run {
        reexecute(claims, materials)
    } else {
        Err(skip("needs signature, model and request to pass, and no failure before"))
    };
    let [execution, trace, usage] = check_run(claims, run);
    let is_final = if signature.is_pass() {
        check_final(receipt, policy.network_key.as_ref())
    } else {
        skip("needs signature to pass")
    };
    let anchored = check_anchored(receipt, &is_final);
    [decode, signature, time, executor, model, request, response, execution, trace, usage, is_final, anchored]
}

fn check_signature(receipt: &Receipt) -> Outcome {
    match receipt.verify_signature() {
        Ok(()) => Outcome::Pass(format!("Ed25519 by {}", receipt.executor())),
        Err(error) => Outcome::Fail(error.into()),
    }
}

fn check_time(issued_at: u64, policy: &Policy) -> Outcome {
    let tolerance_s = policy.tolerance_s;
    match policy.now {
        None => skip("the policy gives no time"),
        Some(now) if issued_at > now.saturating_add(tolerance_s) => {
            Outcome::Fail(CheckError::IssuedInFuture { issued_at, now, tolerance_s })
        }
        Some(now) => Outcome::Pass(format!("issued at {issued_at}, now is {now}")),
    }
}

fn check_executor(receipt: &Receipt, policy: &Policy) -> Outcome {
    let found = receipt.executor();
    match policy.executor {
        None => skip("the policy expects no certain executor"),
        Some(expected) if expected == found => Outcome::Pass(format!("{found}, as expected")),
        Some(expected) => Outcome::Fail(CheckError::ExecutorMismatch { expected, found }),
    }
}

/// Both the id that the verifier expects and the model that would run must be the receipt's.
fn check_model(claims: &Claims, materials: &Materials<'_>) -> Outcome {
    let expected = claims.model_id;
    let at_hand = [materials.model_id, materials.reexecutor.map(|reexecutor| reexecutor.model_id())];
    let mut at_hand = at_hand.into_iter().flatten().peekable();
    if at_hand.peek().is_none() {
        return skip("no model at hand");
    }
    match at_hand.find(|found: &ModelId| *found != expected) {
        Some(found) => Outcome::Fail(CheckError::ModelMismatch { expected, found }),
        None => Outcome::Pass(format!("{expected}")),
    }
}

fn check_request(claims: &Claims, request: Option<&Request<'_>>) -> Outcome {
    let Some(request) = request else { return skip("no request at hand") };
    match compare_request(claims, request) {
        Ok(()) => {
            let Request { protocol, model_name, body, .. } = request;
            Outcome::Pass(format!("{protocol} for {model_name}, {} bytes", body.len()))
        }
        Err(error) => Outcome::Fail(error),
    }
}

/// The hash covers the parameters. They are compared all the same: for the sake of the message, and because a receipt
/// that is right in the hash and wrong beside it misleads who has only the body.
fn compare_request(claims: &Claims, request: &Request<'_>) -> Result<(), CheckError> {
    let own = claims.request(request.body);
    if own.protocol != request.protocol {
        let (expected, found) = (own.protocol.to_owned(), request.protocol.to_owned());
        return Err(CheckError::ProtocolMismatch { expected, found });
    }
    if own.model_name != request.model_name {
        let (expected, found) = (own.model_name.to_owned(), request.model_name.to_owned());
        return Err(CheckError::ModelNameMismatch { expected, found });
    }
    compare_json_length("request", own.json_length, request.json_length)?;
    let (expected, found) = (claims.request_hash, request.hash());
    if expected != found {
        return Err(CheckError::RequestMismatch { expected, found });
    }
    let (expected, found) = (claims.usage.input_bytes, to_u64(request.body.len()));
    if expected != found {
        return Err(CheckError::RequestBytesMismatch { expected, found });
    }
    Ok(())
}

fn check_response(claims: &Claims, response: Option<&Response<'_>>) -> Outcome {
    let Some(response) = response else { return skip("no response at hand") };
    match compare_response(claims, response) {
        Ok(()) => Outcome::Pass(format!("{} bytes", response.body.len())),
        Err(error) => Outcome::Fail(error),
    }
}

fn compare_response(claims: &Claims, response: &Response<'_>) -> Result<(), CheckError> {
    compare_json_length("response", claims.parameters.response_json_length, response.json_length)?;
    let (expected, found) = (claims.response_hash, response.hash());
    if expected != found {
        return Err(CheckError::ResponseMismatch { expected, found });
    }
    let (expected, found) = (claims.usage.output_bytes, to_u64(response.body.len()));
    if expected != found {
        return Err(CheckError::ResponseBytesMismatch { expected, found });
    }
    Ok(())
}

fn compare_json_length(
    message: &'static str,
    expected: Option<u64>,
    found: Option<u64>,
) -> Result<(), CheckError> {
    if expected == found { Ok(()) } else { Err(CheckError::JsonLengthMismatch { message, expected, found }) }
}

/// Runs the request, or says how the check of the execution ends without a run.
fn reexecute(claims: &Claims, materials: &Materials<'_>) -> Result<Reexecution, Outcome> {
    let (Some(reexecutor), Some(request)) = (materials.reexecutor, materials.request.as_ref()) else {
        return Err(skip("not re-executed"));
    };
    reexecutor.reexecute(claims, request).map_err(|error| match error {
        ReexecuteError::Refused { reason } => Outcome::Fail(CheckError::ExecutionRefused { reason }),
        ReexecuteError::Unavailable { .. } => Outcome::Skip(error.to_string()),
    })
}

/// The three checks on a run: response, trace, usage.
fn check_run(claims: &Claims, run: Result<Reexecution, Outcome>) -> [Outcome; 3] {
    match run {
        Ok(run) => [check_execution(claims, &run), check_trace(claims, &run), check_usage(claims, &run)],
        Err(outcome) => [outcome, skip("not re-executed"), skip("not re-executed")],
    }
}

fn check_execution(claims: &Claims, run: &Reexecution) -> Outcome {
    let (expected, found) = (claims.response_hash, run.response().hash());
    if expected != found {
        return Outcome::Fail(CheckError::ExecutionMismatch { expected, found });
    }
    Outcome::Pass(format!("re-executed, the same {} bytes", run.body.len()))
}

fn check_trace(claims: &Claims, run: &Reexecution) -> Outcome {
    match (claims.trace_root, run.trace_root) {
        (None, _) => skip("the receipt commits to no trace"),
        (Some(_), None) => skip("the re-execution made no trace"),
        (Some(expected), Some(found)) if expected == found => Outcome::Pass(format!("{expected}")),
        (Some(expected), Some(found)) => Outcome::Fail(CheckError::TraceMismatch { expected, found }),
    }
}

/// Multiply-accumulates need not be claimed; claimed ones that the run did not count are not checked, so not passed.
fn check_usage(claims: &Claims, run: &Reexecution) -> Outcome {
    let expected = claims.usage;
    let Some(found) = run.usage else { return skip("the re-execution counted nothing") };
    let found = Usage { macs: expected.macs.and(found.macs), ..found };
    if found == expected {
        return Outcome::Pass(expected.to_string());
    }
    if found == (Usage { macs: None, ..expected }) {
        return skip("the re-execution did not count multiply-accumulates");
    }
    Outcome::Fail(CheckError::UsageMismatch { expected, found })
}

fn check_final(receipt: &Receipt, key: Option<&NetworkKey>) -> Outcome {
    let Some(key) = key else { return skip("the policy gives no network key") };
    let Some(evidence) = receipt.evidence() else { return skip("the receipt carries no evidence") };
    match evidence.verify_finality(key) {
        Ok(block) => Outcome::Pass(format!(
            "block {} of time {}, certified with block {} in {}: {}",
            block.height, block.time, block.certified_height, block.round, block.hash
        )),
        Err(error) => Outcome::Fail(error.into()),
    }
}

/// Without a final block, the evidence is about a block that anybody could have made up.
fn check_anchored(receipt: &Receipt, is_final: &Outcome) -> Outcome {
    let Some(evidence) = receipt.evidence().filter(|_| is_final.is_pass()) else {
        return skip("needs evidence of a final block");
    };
    let Some(subject) = receipt.subject() else { return Outcome::Fail(CheckError::NoSequence) };
    match evidence.verify_anchor(&subject) {
        Ok(anchor) => Outcome::Pass(format!(
            "sequence {} is place {} of batch {} in block {}",
            subject.sequence, anchor.index, anchor.batch, anchor.height
        )),
        Err(error) => Outcome::Fail(error.into()),
    }
}

fn skip(reason: &str) -> Outcome {
    Outcome::Skip(reason.to_owned())
}
