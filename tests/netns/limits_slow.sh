#!/usr/bin/env bash
# Promise: 300 who send a handshake, a head or a body byte by byte do not slow an honest client down, and
# who never comes to the end of a head is closed after 60 s (--full).
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/crowd.sh
. "$(dirname "$0")/../harness/crowd.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin 'keepalive_timeout 600s; client_header_timeout 600s; client_body_timeout 600s;'
start_nginx

cat >"$T/slow.sh" <<SH
"$PY" "$CROWD" slow "$port" 300 <&0 &
"$PY" "$CROWD" probe "$port" 50 <"$T/honest"
wait
SH
start_crowd bash "$T/slow.sh"
said 20 begun
said 20 ready
holds "$CROWD_AGENT" >"$T/held"
step 60 '^open 300'
cpu=$(cpu_ms "$CROWD_AGENT") rss=$(rss_kb "$CROWD_AGENT")
probe 60
slowest=$(sed -n 's/^slowest \([0-9]*\) .*/\1/p' "$T/out")
echo "ok: an honest client's $(grep slowest "$T/out") ms; the agent: $(($(cpu_ms "$CROWD_AGENT") - cpu)) ms of CPU, $rss kB"
most=1000 # with a sanitizer, beside other tests
[ -z "$FULL" ] || [ -n "$SANITIZED" ] || most=100
[ "$slowest" -lt $most ] || fail "an honest client waited $slowest ms"
[ -z "$FULL" ] || said 90 '^ended 100 after'
step 20 '^slow for'
expect_holds "after the slow ones" "$T/held"
end_crowd
expect_eq "complaints" '' "$(complaints)"
expect_all_seq
[ -z "$FULL" ] || expect_eq "heads that did not end" 100 \
    "$(events 'map(.process_close.error // empty | select(. == "the program took over 60 s for a head")) | length')"
