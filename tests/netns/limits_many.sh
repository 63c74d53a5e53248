#!/usr/bin/env bash
# Promise: 5 000 TLS connections at once, and 10 000 that come and go in a burst, are served and told; an
# honest client beside them is served, too; each holds 48 kB at most, and afterwards nothing is held.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/crowd.sh
. "$(dirname "$0")/../harness/crowd.sh"

many=1000 burst=2000
[ -z "$FULL" ] || many=5000 burst=10000
ulimit -n 20000 2>/dev/null || skip "the hard limit of $(ulimit -Hn) open files is too low, and cannot be raised"
NGINX_CONNECTIONS=16000
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin 'keepalive_timeout 600s; client_header_timeout 600s;'
start_nginx

# ---- many at once ----------------------------------------------------------------------------------

start_crowd "$PY" "$CROWD" many "$port" $many
said 20 begun
holds "$CROWD_AGENT" >"$T/held"
rss=$(rss_kb "$CROWD_AGENT") cpu=$(cpu_ms "$CROWD_AGENT")
step 300 '^open '
open_rss=$(rss_kb "$CROWD_AGENT")
echo "ok: $(grep open "$T/out") s to open; the agent: $(($(cpu_ms "$CROWD_AGENT") - cpu)) ms of CPU, $(files "$CROWD_AGENT") files," \
    "$(((open_rss - rss) / many)) kB a connection"
[ "$(files "$CROWD_AGENT")" -ge $((2 * many)) ] || fail "they are not all open at once"
[ -n "$SANITIZED" ] || [ $(((open_rss - rss) / many)) -le 48 ] || fail "$open_rss kB for $many connections"
step 120 '^asked '
echo "ok: $(grep asked "$T/out") s for a request on each; $(rss_kb "$CROWD_AGENT") kB"
step 60 '^closed'
expect_holds "after $many connections" "$T/held"
echo "ok: RSS $rss kB before, $open_rss kB with $many, $(rss_kb "$CROWD_AGENT") kB after"
end_crowd
expect_eq "complaints" '' "$(complaints)"
expect_all_seq
expect_eq "what is told" "connect $many tls $many http $many close $many with an error 0 lost 0" "$(events '
    def count(kind): map(.[kind] // empty) | length;
    "connect \(count("process_connect")) tls \(count("process_tls")) http \(count("process_http")) close \(count("process_close")) with an error \(
    map(select(.process_close.error)) | length) lost \(count("lost_events"))"')"

# ---- a burst, and an honest client beside it ------------------------------------------------------------

cat >"$T/burst.sh" <<SH
"$PY" "$CROWD" burst "$port" $burst <&0 &
"$PY" "$CROWD" probe "$port" 20 <"$T/honest"
wait
SH
start_crowd bash "$T/burst.sh"
said 20 begun
said 20 ready
holds "$CROWD_AGENT" >"$T/held"
echo >&4
probe 120
said 120 '^done'
expect_holds "after $burst connects and closes" "$T/held"
echo "ok: $(grep "^done" "$T/out") s for as many connects and closes, an honest client's $(grep slowest "$T/out") ms;" \
    "$(rss_kb "$CROWD_AGENT") kB"
end_crowd
expect_eq "complaints" '' "$(complaints)"
expect_all_seq
expect_eq "what is told" "connect $((burst + 20)) close $((burst + 20)) http 20 lost 0" "$(events '
    def count(kind): map(.[kind] // empty) | length;
    "connect \(count("process_connect")) close \(count("process_close")) http \(count("process_http")) lost \(count("lost_events"))"')"
