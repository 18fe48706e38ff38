#!/usr/bin/env bash
# Kafka's own dump-log reads the folders that the embedded broker has written: every batch must be valid, every index entry must
# fit its log. Without arguments it judges the flights example's folder.
#
#   tests/dump_log.sh [DATA_FOLDER...]
#
# Without Java 17 and Maven it says that it was skipped; as root with CI set it installs them first.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/kafka/need.sh
need_kafka "dump-log"

if [ $# = 0 ]; then
    data=target/dump-log
    rm -rf "$data"
    cargo run --release --quiet -p examples --example flights -- --keep "$data/clean" >/dev/null
    set -- "$data/clean"
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
# One comma-separated list of all files below the folders with one of these endings.
files() { local endings=$1; shift; find "$@" -regextype posix-extended -regex ".*/[0-9]{20}\.($endings)" -size +0 | sort | paste -sd,; }

logs=$(files log "$@")
[ -n "$logs" ] || { echo "dump-log: no log files below $*" >&2; exit 1; }
tests/kafka/kafka run dump-log --deep-iteration --files "$logs" >"$out" 2>&1 || { tail -20 "$out" >&2; exit 1; }
sed -i '/^| /d' "$out" # the records themselves: headers may hold any word
batches=$(grep -c '^baseOffset:' "$out" || true)
valid=$(grep -c '^baseOffset:.* isvalid: true' "$out" || true)
if [ "$batches" = 0 ] || [ "$batches" != "$valid" ] || grep -qiE 'non-consecutive|found [0-9]+ invalid|exception|corrupt' "$out"; then
    echo "dump-log: $valid of $batches batches are valid" >&2
    grep -iE 'isvalid: false|non-consecutive|invalid|exception|corrupt' "$out" | head -20 >&2
    exit 1
fi

# The tool opens the offset index beside a time index, and cannot open an empty one.
openable() {
    tr , '\n' | while read -r file; do
        case $file in *.timeindex) [ -s "${file%.timeindex}.index" ] || continue ;; esac
        echo "$file"
    done | paste -sd,
}
indexes=$(files 'index|timeindex' "$@" | openable)
entries=none
if [ -n "$indexes" ]; then
    tests/kafka/kafka run dump-log --index-sanity-check --files "$indexes" >"$out" 2>&1 || { tail -20 "$out" >&2; exit 1; }
    tests/kafka/kafka run dump-log --verify-index-only --files "$indexes" >>"$out" 2>&1 || { tail -20 "$out" >&2; exit 1; }
    if grep -qiE 'mismatch|out of order|found|exception|corrupt' "$out"; then
        grep -iE 'mismatch|out of order|found|exception|corrupt' "$out" | head -20 >&2
        exit 1
    fi
    entries=$(tr , '\n' <<<"$indexes" | wc -l)
fi
echo "dump-log: $(tr , '\n' <<<"$logs" | wc -l) logs, $batches batches, all valid; index files checked: $entries"
