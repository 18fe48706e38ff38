//! Cross-crate suites and benchmarks.
