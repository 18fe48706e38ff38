#!/usr/bin/env bash
# The program's subcommands against a real Apache Kafka: the same tests that `cargo test` runs against the embedded broker.
#
# Without Java 17 and Maven it says that it was skipped; as root with CI set it installs them first.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/kafka/need.sh
need_kafka "subcommands on Apache Kafka"

data=$(mktemp -d)
trap 'tests/kafka/kafka stop -d "$data/kafka" >/dev/null 2>&1 || true; rm -rf "$data"' EXIT
CLI_BOOTSTRAP=$(tests/kafka/kafka start -p "${KAFKA_PORT:-19692}" -d "$data/kafka" | tail -1)
export CLI_BOOTSTRAP
cargo test -p broker-core --features cli --test cli --quiet
