#!/usr/bin/env bash
# Promise: what a client or a server says against RFC 9113, sections 3 to 8, ends its stream or its connection with
# the code that the RFC says; nothing of it goes on to the other side; its neighbours, where it ends but a stream,
# notice nothing; and it is told with a reason. The tables are in http2_errors_pod.py and http2_errors_origin.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
for side in pod origin; do
    errors=("/usr/bin/python3" "$HERE/http2_errors_$side.py")
    background "${errors[@]}" origin "$T/origin.pem" "$T/origin.key" >"$T/ports" 2>"$T/origin.err"
    origin=$!
    wait_for 10 test -s "$T/ports"
    read -ra ports <"$T/ports"
    exec_local -- "${errors[@]}" client "$T/went" "${ports[@]}" 2>"$T/client.err" ||
        fail "the client: $(cat "$T/client.err")"
    wait_for 30 dead "$origin"
    cat "$T/client.err" "$T/origin.err" >"$T/faults"
    expect_eq "what was against the table" "" "$(cat "$T/faults")"
    "${errors[@]}" check "$T/went" "$EVENTS" || fail "see above"
    expect_eq "events that tell a password" '' "$(grep hunter2 "$EVENTS" || true)"
    expect_all_seq
    rm "$T/ports"
done
