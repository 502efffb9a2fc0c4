//! The operators from outside: values computed by hand, laws, refusals, extremes, and attributes made to break them.

#![expect(clippy::cast_possible_truncation, reason = "numbers drawn are small, or meant to be any bits")]
#![expect(clippy::redundant_clone, reason = "each line of a table stands alone")]
#![expect(clippy::type_complexity, reason = "a table's type is read off its lines")]

mod draw;
mod extremes;
mod hostile;
mod laws;
mod movement;
mod refusals;
mod support;
mod tables;
