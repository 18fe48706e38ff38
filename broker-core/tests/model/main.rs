//! A partition against a plain list of records: whatever is done to it, and wherever the machine stops, it holds what the list
//! holds.
//!
//! `MODEL_CASES=1000000 cargo test --release -p broker-core --test model` for more than the 10,000 cases of a usual run.

mod list;
mod operation;
mod run;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use operation::{operation, settings};
use run::run;

/// What one of the tests looks at: together ten thousand.
fn cases() -> u32 {
    let all = std::env::var("MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    all / SHARES
}

const SHARES: u32 = 2;

fn check(share: u32) {
    // The same cases every time, others for each share; a failing one is made small and told.
    let seed = [share as u8 + 1; 32];
    let random = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let config = ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
    let cases = config.cases;
    let cases_of = (settings(), proptest::collection::vec(operation(), 1..36));
    let mut counts = run::Counts::default();
    let told = std::cell::RefCell::new(&mut counts);
    let result = TestRunner::new_with_rng(config, random).run(&cases_of, |(settings, operations)| {
        run(&settings, &operations, &mut told.borrow_mut()).map_err(TestCaseError::fail)
    });
    result.unwrap_or_else(|error| panic!("{error}"));
    println!("{cases} cases: {counts:?}");
    assert!(cases < 1000 || counts.all_happened(), "something never happened: {counts:?}");
}

#[test]
fn a_partition_is_as_a_list() {
    check(0);
}

#[test]
fn a_partition_is_as_a_list_in_other_cases() {
    check(1);
}
