# Sourced by the clients that are shell scripts: `client` names them, `failed` is what they exit with.
failed=0

check() { # check SCENARIO EXPECTED FOUND
    if [ "$2" = "$3" ]; then
        echo "ok $client $1"
    else
        echo "FAILED $client $1: expected '$2', found '$(head -c 300 <<<"$3" | tr '\n' ' ')'"
        failed=1
    fi
}
