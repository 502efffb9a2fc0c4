//! The operators from outside: values computed by hand, laws, refusals, extremes, and attributes made to break them.

mod draw;
mod extremes;
mod hostile;
mod laws;
mod movement;
mod refusals;
mod support;
mod tables;
