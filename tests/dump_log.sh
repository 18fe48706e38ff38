#!/usr/bin/env bash
# Kafka's own dump-log reads the folders that the embedded broker has written: every batch must be valid, offsets must follow one
# another where nothing was compacted, every index entry must fit its log, every snapshot of producers and every index of aborted
# transactions must be sound. Without
# arguments it judges the flights example's folder, and what the program `folders` writes: every codec, compaction, a torn tail,
# indexes and snapshots made anew, deleted records, transactions, transactional ids.
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
    . tests/build.sh
    build_release
    "$built/release/examples/flights" --keep "$data/clean" >/dev/null
    "$built/release/folders" "$data"
    set -- "$data"
fi

out=$(mktemp)
trap 'rm -f "$out"' EXIT
# One comma-separated list of all files below the folders with one of these endings.
files() { local endings=$1; shift; find "$@" -regextype posix-extended -regex ".*/[0-9]{20}\.($endings)" -size +0 | sort | paste -sd,; }
# What the tool says goes to $out.
dumped() { tests/kafka/kafka run dump-log "$@" >"$out" 2>&1 || { tail -20 "$out" >&2; exit 1; }; }
# It must say none of these words.
free_of() {
    if grep -qiE "$1" "$out"; then
        grep -iE -m 20 "$1" "$out" >&2
        exit 1
    fi
}

logs=$(files log "$@")
[ -n "$logs" ] || { echo "dump-log: no log files below $*" >&2; exit 1; }
dumped --deep-iteration --files "$logs"
sed -i '/^| /d' "$out" # the records themselves: headers may hold any word
batches=$(grep -c '^baseOffset:' "$out" || true)
valid=$(grep -c '^baseOffset:.* isvalid: true' "$out" || true)
if [ "$batches" = 0 ] || [ "$batches" != "$valid" ] || grep -qiE 'found [0-9]+ invalid|exception|corrupt' "$out"; then
    echo "dump-log: $valid of $batches batches are valid" >&2
    grep -iE 'isvalid: false|invalid|exception|corrupt' "$out" | head -20 >&2
    exit 1
fi

# Whether the data folder says that a log was compacted: then offsets may be missing.
is_compacted() {
    local partition; partition=$(basename "$(dirname "$1")")
    local checkpoint; checkpoint=$(dirname "$(dirname "$1")")/cleaner-offset-checkpoint
    [ -f "$checkpoint" ] && awk -v wanted="$partition" '$1 "-" $2 == wanted { found = 1 } END { exit !found }' "$checkpoint"
}
# Where offsets do not follow one another. The tool begins each file at -1, which says nothing.
wrong=0 gaps=0
while read -r file before after; do
    [ "$before" != -1 ] || continue
    if is_compacted "$file" && [ "$before" -lt "$after" ]; then gaps=$((gaps + 1)); continue; fi
    echo "dump-log: $file: $before is followed by $after" >&2
    wrong=$((wrong + 1))
done < <(awk '/^Non-consecutive offsets in / { file = $NF } / is followed by / { print file, $1, $NF }' "$out")
[ "$wrong" = 0 ] || exit 1

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
    for check in --index-sanity-check --verify-index-only; do
        dumped "$check" --files "$indexes"
        free_of 'mismatch|out of order|found|exception|corrupt'
    done
    entries=$(tr , '\n' <<<"$indexes" | wc -l)
fi
snapshots=$(files snapshot "$@")
producers=0
if [ -n "$snapshots" ]; then
    dumped --files "$snapshots"
    free_of 'corrupt|exception|unknown'
    producers=$(grep -c '^producerId:' "$out" || true)
    snapshots=$(tr , '\n' <<<"$snapshots" | wc -l)
fi
aborted=$(files txnindex "$@")
transactions=0
if [ -n "$aborted" ]; then
    dumped --files "$aborted"
    free_of 'corrupt|exception|unknown'
    transactions=$(grep -c '^version: 0 producerId:' "$out" || true)
    # An entry of the tool's output is one of 34 bytes.
    bytes=$(tr , '\n' <<<"$aborted" | xargs cat | wc -c)
    [ "$bytes" = $((34 * transactions)) ] || { echo "dump-log: $transactions aborted transactions in $bytes bytes" >&2; exit 1; }
fi
# What the coordinator of transactions wrote, as Kafka's would read it back.
states=$(files log "$@" | tr , '\n' | grep '/__transaction_state-[0-9]*/' | paste -sd, || true)
ids=none
if [ -n "$states" ]; then
    dumped --transaction-log-decoder --files "$states"
    free_of 'exception|decode error|unknown'
    records=$(grep -c '^| offset:' "$out" || true)
    read_back=$(grep -cE '^\| offset:.* key: \{"type":"0",.* payload: (<DELETE>|null|\{"version":"[01]",)' "$out" || true)
    [ "$records" = "$read_back" ] || { echo "dump-log: $read_back of $records records of transactions are read" >&2; exit 1; }
    ids=$(grep -oE '"transactionalId":"[^"]*"' "$out" | sort -u | wc -l)
fi
# What the coordinator of groups wrote, within transactions and outside.
groups=$(files log "$@" | tr , '\n' | grep '/__consumer_offsets-[0-9]*/' | paste -sd, || true)
commits=none
if [ -n "$groups" ]; then
    dumped --offsets-decoder --files "$groups"
    free_of 'exception|decode error|unknown'
    commits=$(grep -cE '^\| offset:.* key: \{"type":"1",' "$out" || true)
    ends=$(grep -cE '^\| offset:.* endTxnMarker: ' "$out" || true)
    metadata=$(grep -cE '^\| offset:.* key: \{"type":"2",' "$out" || true)
    records=$(grep -c '^| offset:' "$out" || true)
    [ "$records" = $((commits + ends + metadata)) ] || { echo "dump-log: $commits of $records records of groups are offsets" >&2; exit 1; }
    commits="$commits, $ends ends of transactions"
fi
echo "dump-log: offsets of groups: $commits; transactional ids: $ids; $(tr , '\n' <<<"$logs" | wc -l) logs, $batches batches, all valid, $gaps gaps where compacted; index files checked: $entries; snapshots: ${snapshots:-none}, of $producers producers; $transactions aborted transactions"
