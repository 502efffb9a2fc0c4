//! The client against a real chain in this process, and against servers that are none.

mod dev_chain;
mod live;
mod server;
mod servers;
