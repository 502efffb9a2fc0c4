//! The client against a real chain in this process, and against servers that are none.

mod live;
mod servers;
mod support;
