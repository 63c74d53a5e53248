#!/usr/bin/env bash
# Promise: what two servers could read differently is refused: with 400, "Connection: close" and the
# connection's end; nothing of it reaches the server, all before it does; and the event names the reason. An
# answer like that becomes 502, or a cut where a part of it went on; so does the answer to a request whose rest was
# refused. The table is in http1_strict.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
mkdir "$T/brought"
strict=("/usr/bin/python3" "$(dirname "$0")/http1_strict.py")
background "${strict[@]}" origin "$T/origin.pem" "$T/origin.key" "$T/brought" >"$T/port"
wait_for 10 test -s "$T/port"
exec_local -- "${strict[@]}" client "$(cat "$T/port")" "$T/seen"
wait_for 10 dead $!
"${strict[@]}" check "$T/brought" "$T/seen" "$EVENTS" || fail "see above"
expect_all_seq
