#!/usr/bin/env bash
# Counts the instructions of appending and of walking a batch of 500 records, and fails if they are more than 3 % over what
# tests/instructions.txt says. A machine's speed does not matter to it, so it can be a gate where benchmarks cannot.
#
#   tests/instructions.sh             compares
#   tests/instructions.sh --update    writes what it finds, for this compiler
#
# Without valgrind it says that it was skipped; as root with CI set it installs it first. Another compiler than the one that the
# counts are from makes other code: then they are printed, and nothing is compared.
set -euo pipefail
cd "$(dirname "$0")/.."
known=tests/instructions.txt

. tests/apt.sh
command -v valgrind >/dev/null || apt_install valgrind || true
command -v valgrind >/dev/null || { echo "instruction counts: SKIPPED, they need valgrind"; exit 0; }

. tests/build.sh
build_release
program=$built/release/instructions

collected() { # collected WORK ROUNDS
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$@" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

compiler=$(rustc --version | cut -d' ' -f2)-$(uname -m)
found=$(
    echo "compiler $compiler"
    for work in append iterate; do
        few=$(collected "$work" 100)
        many=$(collected "$work" 300)
        echo "$work $(((many - few) / 200))"
    done
)
echo "$found" | sed 's/$/ instructions a batch of 500 records/; s/^\(compiler [^ ]*\).*/\1/'

if [ "${1:-}" = --update ]; then
    echo "$found" >"$known"
    exit
fi
if [ "$(head -1 "$known")" != "compiler $compiler" ]; then
    echo "instruction counts: NOT COMPARED, those in $known are of $(head -1 "$known")"
    exit 0
fi
failed=0
while read -r work count; do
    before=$(sed -n "s/^$work //p" "$known")
    if [ $((count * 100)) -gt $((before * 103)) ]; then
        echo "$work: $count instructions, more than 3 % over $before; if that is wanted, run tests/instructions.sh --update"
        failed=1
    fi
done < <(echo "$found" | tail -n +2)
exit $failed
