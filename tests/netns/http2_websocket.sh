#!/usr/bin/env bash
# Promise: a WebSocket over HTTP/2 (RFC 8441) comes through as it was said, beside other streams of its connection,
# and is told at its end as one over HTTP/1.1 is, also when its stream is reset. What is said: http2_websocket.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
sockets=("/usr/bin/python3" "$(dirname "$0")/http2_websocket.py")
background "${sockets[@]}" origin "$T/origin.pem" "$T/origin.key" >"$T/port" 2>"$T/origin.err"
wait_for 10 test -s "$T/port"
exec_local -- "${sockets[@]}" client "$(cat "$T/port")" 2>"$T/client.err" || fail "the client: $(cat "$T/client.err")"
expect_eq "what the server misses" "" "$(cat "$T/origin.err")"
"${sockets[@]}" check "$EVENTS" || fail "see above"
expect_all_seq
