//! What a gateway checks before it passes an answer on (`docs/spec/gateway.md`, section 4).

use veracity_receipt::{
    CheckName, ExecutorId, Materials, ModelId, Policy, Receipt, Request, Response, verify,
};

use super::fault::WorkerFault;

/// How far the clocks of gateway and worker may differ, in seconds.
pub(crate) const CLOCK_TOLERANCE_S: u64 = 600;

/// What went through, and who should have answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) executor: ExecutorId,
    pub(crate) model_id: ModelId,
    pub(crate) request: Request<'a>,
    pub(crate) response: Response<'a>,
    /// Unix seconds.
    pub(crate) now: u64,
    /// Seconds since the request was sent. A receipt may be issued when the run begins.
    pub(crate) took_s: u64,
}

/// The receipt, if it is one of this exchange by this executor. That the model gives this response, only its
/// re-execution shows; whether the receipt was given before, the caller knows.
pub(crate) fn check(receipt: &[u8], exchange: &Exchange<'_>) -> Result<Receipt, WorkerFault> {
    use CheckName::{Decode, Executor, Model, Request, Response, Signature, Time};
    let policy = Policy {
        now: Some(exchange.now),
        tolerance_s: CLOCK_TOLERANCE_S,
        executor: Some(exchange.executor),
        network_key: None,
        required: vec![Decode, Signature, Time, Executor, Model, Request, Response],
    };
    let materials = Materials {
        model_id: Some(exchange.model_id),
        request: Some(exchange.request),
        response: Some(exchange.response),
        reexecutor: None,
    };
    let verdict = verify(receipt, &materials, &policy);
    if !verdict.verified() {
        let failed = verdict.checks().iter().find(|check| check.outcome.is_fail());
        let reason = failed.map_or_else(|| verdict.conclusion(), ToString::to_string);
        return Err(WorkerFault::WrongReceipt { reason });
    }
    let receipt =
        Receipt::decode(receipt).map_err(|e| WorkerFault::WrongReceipt { reason: e.to_string() })?;
    if receipt.claims().sequence.is_none() {
        return Err(WorkerFault::Unnumbered);
    }
    let age_s = exchange.now.saturating_sub(receipt.claims().issued_at);
    if age_s > CLOCK_TOLERANCE_S.saturating_add(exchange.took_s) {
        return Err(WorkerFault::OldReceipt { age_s });
    }
    // Evidence comes later, from the chain; what is in here was not checked.
    Ok(receipt.with_evidence(None))
}

#[cfg(test)]
mod tests {
    use veracity_receipt::{Claims, ExecutorKey, Run};

    use super::*;

    const REQUEST: Request<'_> =
        Request { protocol: "oip/2", model_name: "me/net", json_length: Some(2), body: b"{}tensor" };
    const RESPONSE: Response<'_> = Response { json_length: None, body: b"{\"ok\":1}" };
    const MODEL: ModelId = ModelId::from_bytes([7; 32]);
    const NOW: u64 = 1_795_000_000;

    fn key() -> ExecutorKey {
        ExecutorKey::from_seed(&[1; 32])
    }

    fn claims() -> Claims {
        let run =
            Run { samples: 1, macs: None, trace_root: None, software: "veracity/0.1.0", issued_at: NOW };
        Claims { sequence: Some(3), ..Claims::new(MODEL, &REQUEST, &RESPONSE, &run) }
    }

    fn exchange() -> Exchange<'static> {
        Exchange {
            executor: key().executor(),
            model_id: MODEL,
            request: REQUEST,
            response: RESPONSE,
            now: NOW,
            took_s: 0,
        }
    }

    fn signed(claims: Claims) -> Vec<u8> {
        Receipt::sign(claims, &key()).unwrap().encode()
    }

    #[test]
    fn a_receipt_of_the_exchange_is_accepted() {
        let receipt = check(&signed(claims()), &exchange()).unwrap();
        assert_eq!(receipt.claims().sequence, Some(3));
    }

    /// Each part of what went through matters, as does who signed and when.
    #[test]
    fn everything_else_is_a_lie() {
        let exchange = exchange();
        let other = ExecutorKey::from_seed(&[2; 32]);
        let mut flipped = signed(claims());
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        let wrong = [
            ("not a receipt", b"receipt".to_vec(), exchange),
            ("a flipped byte", flipped, exchange),
            ("another executor", Receipt::sign(claims(), &other).unwrap().encode(), exchange),
            (
                "another model",
                signed(Claims { model_id: ModelId::from_bytes([8; 32]), ..claims() }),
                exchange,
            ),
            (
                "another name",
                signed(claims()),
                Exchange { request: Request { model_name: "me/other", ..REQUEST }, ..exchange },
            ),
            (
                "another request",
                signed(claims()),
                Exchange { request: Request { body: b"{}tensoR", ..REQUEST }, ..exchange },
            ),
            (
                "another answer",
                signed(claims()),
                Exchange { response: Response { body: b"{\"ok\":2}", ..RESPONSE }, ..exchange },
            ),
            (
                "another split of the answer",
                signed(claims()),
                Exchange { response: Response { json_length: Some(8), ..RESPONSE }, ..exchange },
            ),
            ("from the future", signed(claims()), Exchange { now: NOW - CLOCK_TOLERANCE_S - 1, ..exchange }),
        ];
        for (what, receipt, exchange) in wrong {
            let fault = check(&receipt, &exchange).unwrap_err();
            assert!(matches!(fault, WorkerFault::WrongReceipt { .. }), "{what}: {fault}");
        }
        let late = Exchange { now: NOW + CLOCK_TOLERANCE_S + 1, ..exchange };
        assert_eq!(check(&signed(claims()), &late).unwrap_err(), WorkerFault::OldReceipt { age_s: 601 });
        let slow = Exchange { took_s: 1, ..late };
        assert!(check(&signed(claims()), &slow).is_ok(), "a run that takes long is no lie");
        let unnumbered = signed(Claims { sequence: None, ..claims() });
        assert_eq!(check(&unnumbered, &exchange).unwrap_err(), WorkerFault::Unnumbered);
    }
}
