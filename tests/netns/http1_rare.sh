#!/usr/bin/env bash
# Promise: what is valid, but rare, in HTTP/1.1 comes through byte by byte as it was sent, both ways, and is told
# as what it was; a body that was cut is seen to be cut. The scripts are in http1_rare.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
rare=("/usr/bin/python3" "$(dirname "$0")/http1_rare.py")
background "${rare[@]}" origin "$T/origin.pem" "$T/origin.key" >"$T/origin.ports" 2>"$T/origin.err"
origin=$!
wait_for 10 test -s "$T/origin.ports"
read -r tls plain <"$T/origin.ports"
exec_local -- "${rare[@]}" client "$tls" "$plain" "$T/ports" 2>"$T/client.err"
wait_for 30 dead "$origin"
expect_eq "what the client misses" "" "$(cat "$T/client.err")"
expect_eq "what the server misses" "" "$(cat "$T/origin.err")"
"${rare[@]}" check "$T/ports" "$EVENTS" || fail "see above"
expect_all_seq
