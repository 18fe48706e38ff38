#!/usr/bin/env bash
# Apache Kafka's own command-line tools: each is run as an administrator would, and what it prints is compared.
set -uo pipefail
client=tools
topic=tools-$$
group=tools-group-$$
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# They live a second: they are not worth being compiled well.
export JDK_JAVA_OPTIONS=-XX:TieredStopAtLevel=1 KAFKA_HEAP=128m

tool() { # tool NAME ARGS...
    local name=$1
    shift
    timeout 60 tests/kafka/kafka run "$name" --bootstrap-server "$BOOTSTRAP" "$@" 2>"$dir/err" || cat "$dir/err" >&2
}

. "$(dirname "$0")/check.sh"

columns() { # columns FIRST NUMBERS: these columns of the row that begins with FIRST
    awk -v first="$1" -v numbers="$2" '$1 == first {
        count = split(numbers, wanted, " ")
        for (i = 1; i <= count; i++) printf "%s%s", $wanted[i], i < count ? " " : "\n"
    }'
}

# What `topics --describe` says of it in its first line: partitions, replicas, settings.
described() {
    tool topics --describe --topic "$topic" | sed -n 's/.*PartitionCount: \(.*\)\tReplicationFactor: \(.*\)\tConfigs: \(.*\)/\1 \2 \3/p'
}

check topics-create "Created topic $topic." "$(tool topics --create --topic "$topic" --partitions 1 --config retention.ms=100000000)"
check topics-create-again 1 "$(tool topics --create --topic "$topic" 2>&1 | grep -c 'ERROR.*TopicExistsException')"
check topics-describe "1 1 retention.ms=100000000" "$(described)"
check topics-list "$topic" "$(tool topics --list | grep -x "$topic")"

check console-producer "" "$(seq 100 | sed 's/.*/from:kafka\tkey&\tvalue&/' | tool console-producer --topic "$topic" --compression-codec zstd \
    --reader-property parse.key=true --reader-property parse.headers=true)"
check console-consumer "100 from:kafka|key1|value1|0 from:kafka|key100|value100|99" "$(
    tool console-consumer --topic "$topic" --from-beginning --max-messages 100 --formatter-property print.key=true \
        --formatter-property print.headers=true --formatter-property print.offset=true --formatter-property key.separator='|' |
        awk -F'|' '{row = $2 "|" $3 "|" $4 "|" substr($1, 8)} NR == 1 {first = row} END {print NR, first, row}'
)"
check console-consumer-group "40 value40" \
    "$(tool console-consumer --topic "$topic" --from-beginning --max-messages 40 --group "$group" | awk 'END {print NR, $0}')"
check console-consumer-group-goes-on "value41" "$(tool console-consumer --topic "$topic" --max-messages 1 --group "$group")"

check consumer-groups-list "$group" "$(tool consumer-groups --list | grep -x "$group")"
check consumer-groups-describe "$topic 0 41 100 59" "$(tool consumer-groups --describe --group "$group" | columns "$group" '2 3 4 5 6')"
check consumer-groups-reset "$topic 0 7" \
    "$(tool consumer-groups --reset-offsets --group "$group" --topic "$topic" --to-offset 7 --execute | columns "$group" '2 3 4')"
timeout 60 tests/kafka/kafka run console-consumer --bootstrap-server "$BOOTSTRAP" --topic "$topic" --group "$group" >"$dir/live" 2>&1 &
live=$!
for _ in $(seq 200); do
    [ "$(grep -c '^value' "$dir/live")" = 93 ] && break
    sleep 0.1
done
check console-consumer-from-reset "93 value8" "$(grep '^value' "$dir/live" | awk 'NR == 1 {first = $0} END {print NR, first}')"
check consumer-groups-members 1 "$(tool consumer-groups --describe --group "$group" --members --verbose | columns "$group" 5)"
check consumer-groups-state "range Stable 1" "$(tool consumer-groups --describe --group "$group" --state | columns "$group" '4 5 6')"
check consumer-groups-delete-live 1 "$(tool consumer-groups --delete --group "$group" 2>&1 | grep -c 'GroupNotEmptyException')"
kill $live
wait $live
check consumer-groups-delete-offsets "Successful" "$(tool consumer-groups --delete-offsets --group "$group" --topic "$topic" | columns "$topic" 3)"
check consumer-groups-delete "Deletion of requested consumer groups ('$group') was successful." "$(tool consumer-groups --delete --group "$group")"

check producer-perf-test "20000 records sent" \
    "$(tool producer-perf-test --topic "$topic-perf" --num-records 20000 --record-size 100 --throughput -1 --command-property acks=all |
        tail -1 | cut -d, -f1)"
check consumer-perf-test " 20000" "$(tool consumer-perf-test --topic "$topic-perf" --num-records 20000 --group "$group-perf" | tail -1 | cut -d, -f5)"
check verifiable-producer 500 "$(tool verifiable-producer --topic "$topic-verifiable" --max-messages 500 --acks -1 |
    sed -n 's/.*"name":"tool_data".*"acked":\([0-9]*\).*/\1/p')"
check verifiable-consumer 500 "$(tool verifiable-consumer --topic "$topic-verifiable" --max-messages 500 --group-id "$group-verifiable" |
    sed -n 's/.*"name":"records_consumed".*"count":\([0-9]*\),.*/\1/p' | awk '{sum += $1} END {print sum}')"

check get-offsets "$topic:0:100" "$(tool get-offsets --topic "$topic")"
echo "{\"partitions\": [{\"topic\": \"$topic\", \"partition\": 0, \"offset\": 30}], \"version\": 1}" >"$dir/delete.json"
check delete-records "partition: $topic-0 low_watermark: 30" "$(tool delete-records --offset-json-file "$dir/delete.json" | tail -1 | tr '\t' ' ')"
check get-offsets-earliest "$topic:0:30" "$(tool get-offsets --topic "$topic" --time earliest)"
check log-dirs "$topic-0 true 0" "$(tool log-dirs --describe --topic-list "$topic" | tail -1 |
    python3 -c 'import json, sys
one = json.load(sys.stdin)["brokers"][0]["logDirs"][0]["partitions"][0]
print(one["partition"], "true" if one["size"] > 0 else "false", one["offsetLag"])')"

entity=(--entity-type topics --entity-name "$topic")
check configs-alter "Completed updating config for topic $topic." \
    "$(tool configs --alter "${entity[@]}" --add-config 'max.message.bytes=5000,cleanup.policy=[delete,compact]' --delete-config retention.ms)"
check configs-describe "cleanup.policy=delete,compact max.message.bytes=5000 " \
    "$(tool configs --describe "${entity[@]}" | awk '/sensitive/ {print $1}' | tr '\n' ' ')"
check configs-unknown InvalidConfigurationException \
    "$(tool configs --alter "${entity[@]}" --add-config no.such.setting=1 2>&1 | grep -m1 -o 'InvalidConfigurationException')"
check configs-broker "log.retention.ms=604800000" \
    "$(tool configs --describe --entity-type brokers --entity-name 0 --all | awk '$1 ~ /^log.retention.ms=/ {print $1}')"
entity=(--entity-type clients --entity-name "quota-$$")
check configs-quota "Completed updating config for client quota-$$." \
    "$(tool configs --alter "${entity[@]}" --add-config producer_byte_rate=1048576,consumer_byte_rate=2097152)"
check configs-quota-describe "consumer_byte_rate=2097152.0 producer_byte_rate=1048576.0" \
    "$(tool configs --describe "${entity[@]}" | grep -o '[a-z]*_byte_rate=[0-9.]*' | sort | tr '\n' ' ' | sed 's/ $//')"
check topics-alter "3 1 cleanup.policy=delete,compact,max.message.bytes=5000" "$(tool topics --alter --topic "$topic" --partitions 3)$(described)"

check broker-api-versions "Fetch(1): 4 to 12 [usable: 12]" "$(tool broker-api-versions | grep -o 'Fetch(1): [^,]*')"
check leader-election 1 "$(tool leader-election --election-type preferred --topic "$topic" --partition 0 | grep -c 'Valid replica already elected')"
check reassign-partitions "No partition reassignments found." "$(tool reassign-partitions --list)"
check transactions-describe-producers "0 -1 19999 None" \
    "$(tool transactions describe-producers --topic "$topic-perf" --partition 0 | awk 'NR == 2 {print $2, $3, $4, $6}')"
check acls-refused "SecurityDisabledException" "$(tool acls --list 2>&1 | grep -m1 -o 'SecurityDisabledException')"
check topics-delete "" "$(tool topics --delete --topic "$topic"; tool topics --list | grep -x "$topic")"
exit $failed
