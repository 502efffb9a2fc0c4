//! The store through its public doors: damage, references, uploads, writers side by side, receipts and their sequences.

mod damage;
mod fixture;
mod groups;
mod receipts;
mod sequences;
mod upload;
mod writers;
