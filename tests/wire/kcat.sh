#!/usr/bin/env bash
# kcat (librdkafka): what one does with it on a command line.
set -uo pipefail
client=kcat
topic=kcat-$$
broker() { timeout 20 kcat -b "$BOOTSTRAP" "$@" 2>>"${err:-/dev/stderr}"; }

. "$(dirname "$0")/check.sh"

check produce 0 "$(seq 1000 | sed 's/.*/key&:value&/' | broker -P -t "$topic" -K: -H from=kcat >/dev/null; echo $?)"
check consume "1000 key1=value1@0 key1000=value1000@999" \
    "$(broker -C -t "$topic" -e -q -f '%k=%s@%o\n' | awk 'NR == 1 {first = $0} {last = $0} END {print NR, first, last}')"
check headers from=kcat "$(broker -C -t "$topic" -c1 -q -f '%h\n')"
check seek "990" "$(broker -C -t "$topic" -o -10 -c1 -q -f '%o\n')"
check offsets "$topic [0] offset 1000" "$(broker -Q -t "$topic:0:-1" | head -1)"
check metadata 1 "$(broker -L -t "$topic" | grep -c "topic \"$topic\" with 1 partitions")"
for codec in gzip snappy lz4 zstd; do
    found=$(seq 500 | broker -P -t "$topic-$codec" -z "$codec" >/dev/null; broker -C -t "$topic-$codec" -e -q | sha256sum)
    check "codec-$codec" "$(seq 500 | sha256sum)" "$found"
done
check group "1000" "$(broker -G "group-$$" -X auto.offset.reset=earliest -e -q "$topic" | wc -l)"
check group-goes-on "0" "$(broker -G "group-$$" -X auto.offset.reset=earliest -e -q "$topic" | wc -l)"
exit $failed
