use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs `work` and panics if it allocated more than `most` bytes, all that it freed again counted.
pub fn check_allocated<T>(what: &str, most: usize, work: impl FnOnce() -> T) -> T {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let allocated = region.change().bytes_allocated;
    assert!(allocated <= most, "{what} allocated {allocated} bytes, at most {most} are allowed");
    result
}
