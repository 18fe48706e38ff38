#!/usr/bin/env bash
# TLS and a login over it, with kcat (librdkafka) and Kafka's own topics tool (Java), against a broker of its own.
set -uo pipefail
client=tls
. "$(dirname "$0")/check.sh"

dir=$(mktemp -d)
broker=
trap '[ -n "$broker" ] && kill $broker 2>/dev/null; rm -rf "$dir"' EXIT
authority() { # authority NAME: a key and a certificate that signs
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$dir/$1.key" -out "$dir/$1.pem" \
        -addext basicConstraints=critical,CA:TRUE 2>>"$dir/openssl.log"
}
signed() { # signed NAME AUTHORITY: a key and a certificate for this machine, in one file
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>>"$dir/openssl.log"
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >"$dir/ext"
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/$2.pem" -CAkey "$dir/$2.key" -CAcreateserial -days 2 -extfile "$dir/ext" \
        -out "$dir/$1.crt" 2>>"$dir/openssl.log"
    cat "$dir/$1.key" "$dir/$1.crt" >"$dir/$1.pem"
}
authority ours
authority others
signed broker ours
signed ann ours
signed eve others
echo "secret" >"$dir/password"

"$BROKER" --listen SASL_SSL://127.0.0.1:0,SSL://127.0.0.1:0 --set ssl.keystore.location="$dir/broker.pem" \
    --set ssl.truststore.location="$dir/ours.pem" --set ssl.client.auth=requested \
    --add-scram "SCRAM-SHA-512=[name=ann,password-file=$dir/password]" >"$dir/ready" 2>"$dir/log" &
broker=$!
for _ in $(seq 200); do grep -q '^ready at' "$dir/ready" && break; sleep 0.05; done
sasl=$(sed -n 's/^ready at \([^ ]*\) .*/\1/p' "$dir/ready")
ssl=$(sed 's/\x1b\[[0-9]*m//g' "$dir/log" | sed -n 's/.*address=\([^ ]*\) protocol="SSL".*/\1/p')
logged_in=(-b "$sasl" -X security.protocol=SASL_SSL -X ssl.ca.location="$dir/ours.pem"
    -X sasl.mechanism=SCRAM-SHA-512 -X sasl.username=ann -X sasl.password=secret)
kc() { timeout 30 kcat -q "$@" 2>>"$dir/kcat.log"; }

seq 1000 | kc "${logged_in[@]}" -P -t t
check login-under-tls "$(seq 1000 | sha256sum)" "$(kc "${logged_in[@]}" -C -t t -e | sha256sum)"
check certificate-of-client 1000 \
    "$(kc -b "$ssl" -X security.protocol=SSL -X ssl.ca.location="$dir/ours.pem" -X ssl.certificate.location="$dir/ann.crt" \
        -X ssl.key.location="$dir/ann.key" -C -t t -e | wc -l)"
refused() { timeout 8 kcat "$@" -m 4 -L >/dev/null 2>>"$dir/kcat.log" && echo served || echo refused; }
check foreign-authority refused "$(refused -b "$ssl" -X security.protocol=SSL -X ssl.ca.location="$dir/others.pem")"
check foreign-certificate refused \
    "$(refused -b "$ssl" -X security.protocol=SSL -X ssl.ca.location="$dir/ours.pem" -X ssl.certificate.location="$dir/eve.crt" \
        -X ssl.key.location="$dir/eve.key")"
check in-the-clear refused "$(refused -b "$ssl")"
check wrong-password refused "$(refused "${logged_in[@]}" -X sasl.password=guess)"
if command -v java >/dev/null && command -v mvn >/dev/null; then
    cat >"$dir/client.properties" <<END
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$dir/ours.pem
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="ann" password="secret";
END
    check java t "$(tests/kafka/kafka run topics --bootstrap-server "$sasl" --command-config "$dir/client.properties" --list 2>>"$dir/java.log" | grep -x t)"
fi
[ "$failed" = 0 ] || { cat "$dir/openssl.log" "$dir/kcat.log" "$dir/log" "$dir/java.log"; } >&2 2>/dev/null
exit $failed
