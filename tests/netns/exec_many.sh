#!/usr/bin/env bash
# Promise: 1000 requests by 50 parallel curls are 1000 http events, each told once and whole, with
# seq counting every line. --full: 10 000 requests.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
head -c 20000 /dev/urandom >"$T/www/file"

curls=50 each=20
[ -z "$FULL" ] || each=200
# Half of the curls keep their connection, the others open one for each request. By IPv4 alone: while
# a connect takes its time, they begin another by IPv6.
cat >"$T/curls.sh" <<SH
for c in \$(seq $curls); do
    close=''
    [ \$((c % 2)) = 0 ] || close='-H Connection:close'
    curl -sS -4 --fail \$close "https://localhost:$port/file?\$c-[1-$each]" >"$T/got.\$c" || echo "curl \$c: \$?" >&2 &
done
wait
SH
expect_status "$curls curls" 0 exec_local -- bash "$T/curls.sh" 2>"$T/client.err"
expect_eq "complaints" "" "$(cat "$T/client.err")"
for _ in $(seq $each); do cat "$T/www/file"; done >"$T/wanted"
for c in $(seq $curls); do expect_same "what curl $c got" "$T/got.$c" "$T/wanted"; done

total=$((curls * each))
connections=$((total / 2 + curls / 2))
expect_eq "requests the origin saw" $total "$(wc -l <"$T/access")"
expect_eq "what is told" "http $total
different requests $total
status $total times 200
curls $curls
connect $connections
tls $connections
close $connections
without process 0
lost 0
seq from 1 without a gap true" "$(events '
    def all(kind): map(.[kind] // empty);
    all("process_http") as $http |
    "http \($http | length)",
    "different requests \($http | map(.url) | unique | length)",
    "status \($http | map(select(.code == 200)) | length) times 200",
    "curls \($http | map(.process.pid) | unique | length)",
    "connect \(all("process_connect") | length)",
    "tls \(all("process_tls") | length)",
    "close \(all("process_close") | length)",
    "without process \(map(to_entries[] | select(.key | startswith("process_")) | .value | select(.process == null)) | length)",
    "lost \(all("lost_events") | length)",
    "seq from 1 without a gap \(map(.seq | tonumber) == [range(1; length + 1)])"')"
