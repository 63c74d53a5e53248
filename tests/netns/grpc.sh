#!/usr/bin/env bash
# Promise: gRPC works as it does direct, between a client and a server of @grpc/grpc-js: calls of all four
# kinds, errors, deadlines, cancelling, metadata and trailers, gzip, 4 MB messages, keepalive, many PINGs, without TLS.
# Nothing is gathered: of 10 000 messages each is sent when the answer to the one before has come. Each
# call is told: what was called, how many messages and bytes went each way, and its status.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

MODULES=$(realpath -m "$HERE/../../build/cache/grpc")
"$HERE/grpc/fetch" "$MODULES" 9>&- || skip "there is no gRPC for Node.js"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port plain <<<"$(free_ports 2)"
talk=10000

# round NAME CMD...: the client, run by CMD, against a server of its own; what each said is in
# $T/NAME.client and $T/NAME.server, where the server's words stand in no order.
round() {
    local name=$1 server
    shift
    background "${CLEAN[@]}" MODULES="$MODULES" node "$HERE/grpc/server.mjs" "$port" "$plain" "$T/origin.key" "$T/origin.pem" \
        >"$T/server.out" 2>"$T/$name.server.err"
    server=$!
    wait_for 20 grep -q ready "$T/server.out"
    "$@" node "$HERE/grpc/client.mjs" "$port" "$plain" "$talk" "$T/$name.us" >"$T/$name.client" 2>"$T/$name.err" ||
        fail "the client, $name: $(tail -n 5 "$T/$name.err")"
    kill "$server"
    wait "$server" || true
    # at the deadline both ends give up: who is first is chance
    grep -v 'Wait: reset' "$T/server.out" | sort | uniq -c | sed 's/^ *//' >"$T/$name.server"
    expect_eq "complaints, $name" '' "$(cat "$T/$name.err" "$T/$name.server.err")"
}

round direct timeout 120 "${CLEAN[@]}" MODULES="$MODULES" NODE_EXTRA_CA_CERTS="$T/ca.pem"
round through timeout 240 "${CLEAN[@]}" MODULES="$MODULES" "${EXEC_LOCAL[@]:${#CLEAN[@]}}" --

# ---- what client and server saw ---------------------------------------------------------------------------

sed -E 's/ sha256 [0-9a-f]{16}/ sha256 …/; s/(asked with).*/\1 …/' "$T/direct.client" >"$T/seen"
diff - "$T/seen" >&9 <<'SAID' || fail "direct (>) the client did not see what it is to see (<)"
unary: 'hello' 0 OK 'OK'
unary, first metadata: {"first-x-word":"a word","first-x-raw-bin":"000a0d7f80ff"}
unary, last metadata: {"last-x-word":"a word","last-x-raw-bin":"000a0d7f80ff"}
unary, nothing in it: ''
client streaming: '100 4950'
server streaming: 100 messages, 4950 bytes, 0 OK 'OK'
bidirectional: 5 messages, 50 bytes, 0 OK 'OK', 0 wrong
error: 5 NOT_FOUND 'no such thing: Käse, 100 %' {"x-why":"it was asked to"}
error: 13 INTERNAL 'no such thing: Käse, 100 %' {"x-why":"it was asked to"}
error: 16 UNAUTHENTICATED 'no such thing: Käse, 100 %' {"x-why":"it was asked to"}
error behind messages: 3 messages, 3 bytes, 10 ABORTED 'as was asked'
no such method: 12 UNIMPLEMENTED 
deadline: 4 DEADLINE_EXCEEDED 
cancel: 1 CANCELLED 'Cancelled on client'
4 MB: 4194304 bytes, sha256 …
100 at once: 100
gzip: 100000 bytes, sha256 … asked with …
kept alive: 2 messages, 20 bytes, 0 OK 'OK', 0 wrong
measured: 2500 messages, 25000 bytes, 0 OK 'OK', 0 wrong
measured, PINGs answered: 2500
without TLS: 'in the clear'
in turn: 10000 messages, 1000000 bytes, 0 OK 'OK', 0 wrong
SAID
diff "$T/direct.client" "$T/through.client" >&9 || fail "through (>) the client saw other things than direct (<)"
expect_eq "what the server saw, direct" "1 Produce: cancelled
1 Produce: reset with 8
1 Wait: cancelled
1 Wait: deadline ahead
1 ready
4 session h2
1 session h2c" "$(grep -v ping "$T/direct.server")"
for name in direct through; do expect_grep "PINGs that came to the server, $name" '^25[0-9]{2} ping$' "$T/$name.server"; done
diff <(grep -v ping "$T/direct.server") <(grep -v ping "$T/through.server") >&9 || fail "through (>) the server saw other things than direct (<)"
echo "ok: the same calls, direct and through"

# ---- what is told -----------------------------------------------------------------------------------------

expect_all_seq
# Two calls end by chance with more or less: at its deadline the server fails a call, and the client cancels
# it; and of one that is cancelled some answers are on their way. A method that is missing fails at once.
gzip=$(grep -oP '(?<=asked with )\d+' "$T/through.client")
events '.[].process_grpc // empty | select(.service == "test.v1.Parrot" and .host == "localhost" or .host == "127.0.0.1") |
    if .method == "Wait" then .status = "-" elif .method == "Missing" then .request_messages = "-" | .request_bytes = "-"
    elif .method == "Produce" and .status == null then .response_messages = "-" | .response_bytes = "-" else . end |
    "\(.method) \(.status) \(.request_messages) \(.request_bytes) \(.response_messages) \(.response_bytes)"' |
    LC_ALL=C sort >"$T/told"
{
    for _ in {1..100}; do echo "Echo 0 1 1000 1 1000"; done
    cat <<TOLD
Collect 0 100 4950 1 8
Echo 0 1 $gzip 1 100000
Echo 0 1 0 1 0
Echo 0 1 12 1 12
Echo 0 1 4194304 1 4194304
Echo 0 1 5 1 5
Fail 13 1 2 0 0
Fail 16 1 2 0 0
Fail 5 1 1 0 0
Missing 12 - - 0 0
Produce 0 1 5 100 4950
Produce 10 1 4 3 3
Produce null 1 3 - -
Talk 0 2 20 2 20
Talk 0 2500 25000 2500 25000
Talk 0 5 50 5 50
Talk 0 $talk $((talk * 100)) $talk $((talk * 100))
Wait - 1 8 0 0
TOLD
} | LC_ALL=C sort >"$T/wanted"
diff "$T/wanted" "$T/told" >&9 || fail "not told (<), or told but not done (>): method, status, messages and bytes each way"
expect_eq "a status with its name and message" "NOT_FOUND 'no such thing: Käse, 100 %'" \
    "$(events '.[].process_grpc // empty | select(.status == 5) | "\(.status_name) '\''\(.status_message)'\''"')"

expect_eq "requests told" "$(wc -l <"$T/wanted")" "$(events '[.[].process_http // empty] | length')"
expect_eq "how they are told" '["POST","HTTP/2",200,"allow","node"]' "$(events '[.[].process_http // empty | select(.path != "/test.v1.Parrot/Wait") |
    [.method, .protocol, .code, .verdict, (.process.binary | sub(".*/"; ""))]] | unique[] | tojson')"
expect_eq "what is told of whom with TLS and without" '[["localhost","terminated"],["127.0.0.1","plaintext"]]' \
    "$(events '[.[].process_http // empty | [.host, .visibility]] | unique | sort_by(.[1]) | reverse | tojson')"
expect_eq "streams of the first connection" true "$(events '[.[].process_http // empty] | .[0].socket.cookie as $cookie |
    [.[] | select(.socket.cookie == $cookie) | .stream] | length > 100 and sort == [range(length) | 1 + 2 * .]')"
expect_eq "agreed by TLS" h2 "$(events '[.[].process_tls // empty | .alpn] | unique | join(" ")')"
expect_eq "calls told behind their requests" true "$(events '
    def key: "\(.socket.cookie) \(.stream)";
    [to_entries[] | {at: .key, http: (.value.process_http // empty | key)}] as $http |
    [to_entries[] | {at: .key, grpc: (.value.process_grpc // empty | key)}] as $grpc |
    ($http | map({key: .http, value: .at}) | from_entries) as $began |
    $grpc | all(.at > $began[.grpc])')"
echo "ok: $(wc -l <"$T/told") calls told"

paste "$T/direct.us" "$T/through.us" | awk -v n="$talk" '{
    printf "ok: %d messages in turn: %.0f us each direct, %.0f through: adds %.0f us (%.1f x)\n", n, $1, $2, $2 - $1, $2 / $1 }'
