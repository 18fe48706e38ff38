//! Listeners that are written wrongly, and what the compiler says of them: see the test.
