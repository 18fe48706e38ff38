//! What the flights example computes, apart from how it gets there: reading the CSV, and the table of carriers.

pub mod input;
pub mod table;
