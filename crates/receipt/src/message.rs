//! Requests and responses as bytes, and their hashes (specification, section 3).

use std::fmt;

use blake3::Hasher;
use veracity_light::cbor::to_u64;

use crate::{
    RequestHash, ResponseHash,
    ids::{REQUEST_CONTEXT, RESPONSE_CONTEXT},
};

/// A request as the client sent it: the body, and everything that decides how the body is read.
///
/// A verifier fills this from what *it* sent. One who has only the body can ask the receipt how it was read, with
/// [`Claims::request`](crate::Claims::request), and then believes the receipt on that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Protocol of the request, for example `oip/2`.
    pub protocol: &'a str,
    /// Name under which the request asked for the model.
    pub model_name: &'a str,
    /// Value of the header `Inference-Header-Content-Length`: bytes of JSON before the binary tensors. `None` if the
    /// header was absent, that is, if the whole body is JSON.
    pub json_length: Option<u64>,
    /// The body, without HTTP transfer or content coding.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The hash that stands for this request in a receipt. Two requests that differ in any field have different
    /// hashes. Linear in the size of the body.
    #[must_use]
    pub fn hash(&self) -> RequestHash {
        let mut hasher = Hasher::new_derive_key(REQUEST_CONTEXT);
        for text in [self.protocol, self.model_name] {
            hasher.update(&to_u64(text.len()).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hash_body(&mut hasher, self.json_length, self.body);
        RequestHash::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// Without the body: prompts do not belong into logs.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("protocol", &self.protocol)
            .field("model_name", &self.model_name)
            .field("json_length", &self.json_length)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// A response as the executor gave it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// Value of the header `Inference-Header-Content-Length`, as in [`Request::json_length`].
    pub json_length: Option<u64>,
    /// The body, without HTTP transfer or content coding.
    pub body: &'a [u8],
}

impl Response<'_> {
    /// The hash that stands for this response in a receipt. Linear in the size of the body.
    #[must_use]
    pub fn hash(&self) -> ResponseHash {
        let mut hasher = Hasher::new_derive_key(RESPONSE_CONTEXT);
        hash_body(&mut hasher, self.json_length, self.body);
        ResponseHash::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// Without the body, as for requests.
impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("json_length", &self.json_length)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// The split between JSON and tensors, then the body, which ends the input and so needs no length.
fn hash_body(hasher: &mut Hasher, json_length: Option<u64>, body: &[u8]) {
    match json_length {
        None => hasher.update(&[0]),
        Some(length) => hasher.update(&[1]).update(&length.to_le_bytes()),
    };
    hasher.update(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'_> =
        Request { protocol: "oip/2", model_name: "digits", json_length: Some(2), body: b"{}tensor" };

    /// The input as the specification writes it, hashed in one go.
    #[test]
    fn hashes_are_those_of_the_specification() {
        let input = b"\x05\0\0\0\0\0\0\0oip/2\x06\0\0\0\0\0\0\0digits\x01\x02\0\0\0\0\0\0\0{}tensor";
        assert_eq!(REQUEST.hash().as_bytes(), &blake3::derive_key("veracity request v1", input));
        let response = Response { json_length: None, body: b"{}" };
        assert_eq!(response.hash().as_bytes(), &blake3::derive_key("veracity response v1", b"\0{}"));
    }

    #[test]
    fn debug_does_not_show_the_body() {
        assert_eq!(
            format!("{REQUEST:?}"),
            "Request { protocol: \"oip/2\", model_name: \"digits\", json_length: Some(2), body_bytes: 8 }"
        );
        let response = Response { json_length: None, body: b"secret" };
        assert_eq!(format!("{response:?}"), "Response { json_length: None, body_bytes: 6 }");
    }

    #[test]
    fn every_field_changes_the_hash() {
        let others = [
            Request { protocol: "oip/1", ..REQUEST },
            Request { model_name: "digit", ..REQUEST },
            Request { protocol: "oip/2d", model_name: "igits", ..REQUEST },
            Request { json_length: Some(3), ..REQUEST },
            Request { json_length: None, ..REQUEST },
            Request { json_length: None, body: b"\x02\0\0\0\0\0\0\0{}tensor", ..REQUEST },
            Request { body: b"{}tenso", ..REQUEST },
        ];
        for other in others {
            assert_ne!(other.hash(), REQUEST.hash(), "{other:?}");
        }
        let response = Response { json_length: Some(2), body: b"{}tensor" };
        assert_ne!(response.hash(), Response { json_length: None, ..response }.hash());
    }
}
