#!/usr/bin/env bash
# The example `port`: kcat meets the listener of an app, in records, in its group and in its commits.
set -uo pipefail
client=app
. "$(dirname "$0")/check.sh"

out=$(mktemp)
BROKER_PORT=0 "${CARGO_TARGET_DIR:-target}/debug/examples/port" >"$out" &
pid=$!
trap 'kill $pid 2>/dev/null; rm -f "$out"' EXIT
for _ in $(seq 200); do grep -q 'reach this app at' "$out" && break; sleep 0.05; done
address=$(sed -n 's/.*reach this app at //p' "$out")
broker() { timeout 20 kcat -b "$address" "$@" 2>/dev/null; }

for buyer in ann bob; do echo "$buyer:coffee" | broker -P -t orders -K:; done
check listener-answers "ann=1 coffee bob=1 coffee" "$(broker -C -t receipts -c2 -f '%k=%s ' -o beginning | sed 's/ $//')"
committed() {
    for _ in $(seq 100); do
        found=$(timeout 20 "${CARGO_TARGET_DIR:-target}/debug/broker" groups describe till -b "$address" --json | grep -c '"lag":0')
        [ "$found" = 2 ] && break
        sleep 0.05
    done
    echo "$found"
}
# Ann and Bob are in two partitions; for the third, nothing is committed.
check commits-seen 2 "$(committed)"
# A member from outside takes its share of the partitions, and gives it back when it leaves.
check mixed-group shared "$(timeout 20 kcat -b "$address" -G till -e orders 2>&1 >/dev/null | grep -q 'assigned: orders' && echo shared)"
echo "carl:tea" | broker -P -t orders -K:
check listener-goes-on "carl=1 tea" "$(broker -C -t receipts -o 2 -c1 -f '%k=%s')"
kill -TERM $pid
wait $pid
check stops 0 $?
exit $failed
