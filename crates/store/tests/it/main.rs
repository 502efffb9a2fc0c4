//! The store through its public doors: damage, references, uploads, writers side by side, receipts.

mod damage;
mod fixture;
mod receipts;
mod upload;
mod writers;
