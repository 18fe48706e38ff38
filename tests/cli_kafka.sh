#!/usr/bin/env bash
# The program's subcommands against a real Apache Kafka: the same tests that `cargo test` runs against the embedded broker.
#
# Without Java 17 and Maven it says that it was skipped; as root with CI set it installs them first.
set -euo pipefail
cd "$(dirname "$0")/.."

have() { command -v java >/dev/null && command -v mvn >/dev/null; }
if ! have && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq openjdk-17-jre-headless maven >/dev/null
fi
if ! have; then
    echo "subcommands on Apache Kafka: SKIPPED, it needs Java 17 or newer and Maven"
    exit 0
fi

data=$(mktemp -d)
trap 'tests/kafka/kafka stop -d "$data/kafka" >/dev/null 2>&1 || true; rm -rf "$data"' EXIT
CLI_BOOTSTRAP=$(tests/kafka/kafka start -p "${KAFKA_PORT:-19692}" -d "$data/kafka" | tail -1)
export CLI_BOOTSTRAP
cargo test -p broker-core --features cli --test cli --quiet
