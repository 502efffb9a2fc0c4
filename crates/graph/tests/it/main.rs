//! The model format from outside: bytes, rules, numbers, and the fixtures that hold for ever.

#![expect(clippy::cast_possible_truncation, reason = "numbers drawn are small, or meant to be any bits")]
#![expect(clippy::redundant_clone, reason = "each line of a table stands alone")]
#![expect(clippy::type_complexity, reason = "a table's type is read off its lines")]

#[path = "../../../ops/tests/it/draw.rs"]
mod draw;

mod bounds;
mod bundle;
mod bytes;
mod checkpoints;
mod examples;
mod fixtures;
mod graphs;
mod hostile;
mod numbers;
mod rules;
