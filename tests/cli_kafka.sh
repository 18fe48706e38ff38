#!/usr/bin/env bash
# The program's subcommands against a real Apache Kafka: the same tests that `cargo test` runs against the embedded broker, in the
# clear and after a login under TLS; and each other protocol and mechanism once.
#
# Without Java 17 and Maven it says that it was skipped; as root with CI set it installs them first.
set -euo pipefail
cd "$(dirname "$0")/.."

. tests/kafka/need.sh
need_kafka "subcommands on Apache Kafka"
. tests/build.sh
build_debug

data=$(mktemp -d)
trap 'tests/kafka/kafka stop -d "$data/kafka" >/dev/null 2>&1 || true; rm -rf "$data"' EXIT
port=${KAFKA_PORT:-19692}

authority() { # authority NAME: a key and a certificate that signs
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$data/$1.key" -out "$data/$1.pem" \
        -addext basicConstraints=critical,CA:TRUE 2>>"$data/openssl.log"
}
signed() { # signed NAME: a key and a certificate for this machine, in one file
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$data/$1.key" -out "$data/$1.csr" 2>>"$data/openssl.log"
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >"$data/ext"
    openssl x509 -req -in "$data/$1.csr" -CA "$data/ours.pem" -CAkey "$data/ours.key" -CAcreateserial -days 2 \
        -extfile "$data/ext" -out "$data/$1.crt" 2>>"$data/openssl.log"
    cat "$data/$1.key" "$data/$1.crt" >"$data/$1.pem"
}
authority ours
authority others
signed broker
signed ann

declare -A at=(
    [PLAINTEXT]=127.0.0.1:$port [SASL_PLAINTEXT]=127.0.0.1:$((port + 10))
    [SSL]=127.0.0.1:$((port + 20)) [SASL_SSL]=127.0.0.1:$((port + 30))
)
listeners=PLAINTEXT://${at[PLAINTEXT]}
for protocol in SASL_PLAINTEXT SSL SASL_SSL; do listeners+=,$protocol://${at[$protocol]}; done
module=org.apache.kafka.common.security
settings=(
    listeners="$listeners,CONTROLLER://127.0.0.1:$((port + 101))"
    advertised.listeners="$listeners"
    listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
    sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
    ssl.keystore.type=PEM ssl.keystore.location="$data/broker.pem"
    ssl.truststore.type=PEM ssl.truststore.location="$data/ours.pem"
    listener.name.ssl.ssl.client.auth=required
)
for name in sasl_plaintext sasl_ssl; do
    settings+=("listener.name.$name.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_ann=\"secret\";")
    for mechanism in scram-sha-256 scram-sha-512; do
        settings+=("listener.name.$name.$mechanism.sasl.jaas.config=$module.scram.ScramLoginModule required;")
    done
done
flags=()
for setting in "${settings[@]}"; do flags+=(-s "$setting"); done
tests/kafka/kafka start -p "$port" -d "$data/kafka" "${flags[@]}" >/dev/null
for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
    tests/kafka/kafka run configs --bootstrap-server "${at[PLAINTEXT]}" --alter --entity-type users --entity-name ann \
        --add-config "$mechanism=[password=secret]" >/dev/null
done

properties() { # properties PROTOCOL [MECHANISM [PASSWORD]]: the name of a client's file
    local file="$data/client-$*.properties" login=scram.ScramLoginModule
    [ "${2:-}" = PLAIN ] && login=plain.PlainLoginModule
    {
        echo "security.protocol=$1"
        case $1 in *SSL) printf 'ssl.truststore.type=PEM\nssl.truststore.location=%s\n' "$data/${AUTHORITY:-ours}.pem" ;; esac
        case $1 in SSL) printf 'ssl.keystore.type=PEM\nssl.keystore.location=%s\n' "$data/ann.pem" ;; esac
        case $1 in SASL_*)
            echo "sasl.mechanism=$2"
            echo "sasl.jaas.config=$module.$login required username=\"ann\" password=\"${3:-secret}\";"
            ;;
        esac
    } >"$file"
    echo "$file"
}
suite() { # suite PROTOCOL FILE [FILTER]
    echo "subcommands on Apache Kafka over $(basename "$2")"
    CLI_BOOTSTRAP=${at[$1]} CLI_COMMAND_CONFIG=$2 cargo test --workspace --test cli --quiet -- "${@:3}"
}
suite PLAINTEXT "$(properties PLAINTEXT)"
suite SASL_SSL "$(properties SASL_SSL SCRAM-SHA-512)" --skip security
suite SSL "$(properties SSL)" topics_are_made
for mechanism in PLAIN SCRAM-SHA-256 SCRAM-SHA-512; do
    suite SASL_PLAINTEXT "$(properties SASL_PLAINTEXT $mechanism)" topics_are_made
done

refused() { # refused PROTOCOL FILE WHAT: the error says so
    local told
    if told=$("$built/debug/broker" topics list -b "${at[$1]}" --command-config "$2" 2>&1); then
        echo "$(basename "$2") is served: $told"
        exit 1
    fi
    grep -qF "$3" <<<"$told" || { echo "$(basename "$2"): expected '$3': $told"; exit 1; }
}
for mechanism in PLAIN SCRAM-SHA-256 SCRAM-SHA-512; do
    refused SASL_SSL "$(properties SASL_SSL $mechanism guess)" "login as 'ann' with $mechanism: SASL_AUTHENTICATION_FAILED (58)"
done
refused SASL_SSL "$(AUTHORITY=others properties SASL_SSL PLAIN)" "its certificate is not trusted"
refused SSL "$(properties PLAINTEXT)" "security.protocol=PLAINTEXT"
refused SASL_PLAINTEXT "$(properties PLAINTEXT)" "security.protocol=PLAINTEXT"
