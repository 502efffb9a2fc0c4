//! The model format from outside: bytes, rules, numbers, and the fixtures that hold for ever.

#[path = "../../../ops/tests/it/draw.rs"]
mod draw;

mod bounds;
mod bundle;
mod bytes;
mod examples;
mod fixtures;
mod graphs;
mod hostile;
mod numbers;
mod rules;
