//! The engine against its plain definition, and its refusals.

mod builder;
mod equality;
mod packing;
mod refusals;
mod traces;
