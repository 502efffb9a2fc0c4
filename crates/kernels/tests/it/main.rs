//! Every kernel against the operator it computes, on every instruction set of this machine.

mod linear;
mod local;
mod moving;
mod support;
