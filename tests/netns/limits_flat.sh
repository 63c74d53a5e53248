#!/usr/bin/env bash
# Promise: 1 GB (--full: 10 GB) through one connection costs no memory, and who reads nothing, or sends to
# a server that reads nothing, costs a window and stops his sender, no more.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/crowd.sh
. "$(dirname "$0")/../harness/crowd.sh"

size=1 slack=4096
[ -z "$FULL" ] || size=10
[ -z "$SANITIZED" ] || slack=32768
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port deaf <<<"$(free_ports 2)"
nginx_server "$port" origin
start_nginx
truncate -s ${size}G "$T/www/big"
background "$PY" -c "import socket, signal; s = socket.create_server(('127.0.0.1', $deaf), backlog=64); signal.pause()"
wait_for 10 grep -q "$(printf ':%04X 00000000:0000 0A' "$deaf")" /proc/net/tcp

# ---- one long flow ------------------------------------------------------------------------------------

start_crowd bash -c "curl -sS 'https://localhost:$port/big' | '$PY' -c '
import os
whole, told = $size << 30, 0
seen = 0
while data := os.read(0, 1 << 20):
    seen += len(data)
    if seen * 10 >= whole * (told + 1):
        told += 1
        print(\"tenths\", told, flush=True)
'"
start=$(date +%s%N)
said 300 '^tenths 1$'
early=$(rss_kb "$CROWD_AGENT")
most=$early
while ! grep -q '^tenths 10' "$T/out" && alive "$CROWD_AGENT"; do
    now=$(rss_kb "$CROWD_AGENT")
    [ "${now:-0}" -le "$most" ] || most=$now
    sleep 0.1
done
end_crowd
expect_grep "all of it" '^tenths 10' "$T/out"
echo "ok: $size GB in $((($(date +%s%N) - start) / 1000000)) ms; RSS $early kB after a tenth, at most $most kB"
[ $((most - early)) -le $slack ] || fail "the agent grew from $early kB to $most kB"
expect_eq "what is told" "200 $((size << 30))" "$(events 'map(.process_http // empty)[0] | "\(.code) \(.response_bytes)"')"

# ---- nobody reads -------------------------------------------------------------------------------------

cat >"$T/stall.sh" <<SH
"$PY" "$CROWD" stall "$port" 50 <&0 &
"$PY" "$CROWD" push "$deaf" 50 <&0 &
"$PY" "$CROWD" probe "$port" 20 <"$T/honest"
wait
SH
start_crowd bash "$T/stall.sh"
said 20 ready
said 20 '^stalled'
said 60 '^pushed'
rss=$(rss_kb "$CROWD_AGENT")
cpu=$(cpu_ms "$CROWD_AGENT")
sleep 1 # of their silence
cpu=$(($(cpu_ms "$CROWD_AGENT") - cpu))
[ $cpu -lt 300 ] || fail "the agent used $cpu ms of a second in which nobody read"
probe 60
echo "ok: 100 whose peers do not read: $rss kB, $cpu ms of CPU in a second, $(grep pushed "$T/out") each; others: $(grep slowest "$T/out") ms"
[ -n "$SANITIZED" ] || [ "$rss" -lt 50000 ] || fail "$rss kB for 100 connections"
echo >&4
end_crowd
expect_eq "complaints" '' "$(complaints)"
expect_all_seq
