# Sourced by the scripts that need programs: each is built by the same command wherever it is needed. With another choice of packages
# cargo finds other features wanted, and compiles most of it once more.
build_release() { cargo build --release --quiet -p examples --example flights -p integration-tests --bins; }
build_debug() { cargo build --quiet --workspace --bins --examples; }
built=${CARGO_TARGET_DIR:-target}
