//! Take a job, run it, return a receipt; run the jobs of others again to audit them.
//!
//! `docs/spec/inference-protocol.md` says how request bytes become tensors and tensors become response bytes, exactly:
//! [`execute`] is a pure function of model and request, so [`Worker`] can sign what it gives and [`Auditor`] can check
//! what others signed. There is no clock and no I/O in here.

#![forbid(unsafe_code)]

mod audit;
mod error;
mod execute;
mod float_text;
mod loaded;
mod object;
pub mod protocol;
mod refusal;
mod response;
mod tensor_json;
mod worker;

pub use audit::Auditor;
pub use error::{LoadError, RequestError};
pub use execute::{Answer, Limits, execute};
pub use loaded::{CheckedModel, LoadedModel, TensorInfo};
pub use object::Object;
pub use refusal::{REFUSALS, Refusal};
pub use response::ResponseBytes;
pub use worker::{Inference, Worker};
