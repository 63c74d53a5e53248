#!/usr/bin/env bash
# Promise: WebSockets and gRPC-web over HTTP/1.1 come through as they were said, both ways, and each is told at its
# end: messages, bytes, frames, and how it ended, also when it was cut. The table is in http1_streams.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
streams=("/usr/bin/python3" "$(dirname "$0")/http1_streams.py")
background "${streams[@]}" origin "$T/origin.pem" "$T/origin.key" >"$T/port" 2>"$T/origin.err"
wait_for 10 test -s "$T/port"
exec_local -- "${streams[@]}" client "$(cat "$T/port")" 2>"$T/client.err" || fail "the client: $(cat "$T/client.err")"
expect_eq "what the server misses" "" "$(cat "$T/origin.err")"
"${streams[@]}" check "$EVENTS" || fail "see above"
expect_all_seq
