#!/usr/bin/env bash
# Promise: frames that cost who sends them nothing, by the ten thousand, from a client or a server, end the
# connection with GOAWAY (ENHANCE_YOUR_CALM) and are told with the reason; the agent's memory does not grow, and who uses
# a connection much, but honestly, notices nothing. The table is in http2_floods.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/crowd.sh
. "$(dirname "$0")/../harness/crowd.sh"

slack=24576
[ -z "$SANITIZED" ] || slack=65536
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
floods=("$PY" "$HERE/http2_floods.py")
background "${floods[@]}" origin "$T/origin.pem" "$T/origin.key" >"$T/ports" 2>"$T/origin.err"
origin=$!
wait_for 10 test -s "$T/ports"
read -ra ports <"$T/ports"
start_crowd "${floods[@]}" client "$T/went" "${ports[@]}"
said 60 '^ready'
early=$(rss_kb "$CROWD_AGENT")
step 120 '^done'
most=$(awk '/^VmHWM:/ { print $2 }' "/proc/$CROWD_AGENT/status")
end_crowd
wait_for 30 dead "$origin"
echo "ok: $(cat "$T/out"); RSS $early kB before, at most $most kB"
cat "$T/client.err" "$T/origin.err" >"$T/faults"
expect_eq "what was not as it must be" "" "$(cat "$T/faults")"
[ $((most - early)) -le $slack ] || fail "the agent grew from $early kB to $most kB"
"${floods[@]}" check "$T/went" "$EVENTS" || fail "see above"
expect_all_seq
