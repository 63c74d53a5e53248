#!/usr/bin/env bash
# Promise: on this kernel `sallyport exec` steers, terminates and tells requests by IPv4 and IPv6, in
# the clear and by TLS; with --ktls a program lets the kernel encrypt; and nothing is left behind. One
# command for all, for the guest takes long to load the kernel's programs.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port plain <<<"$(free_ports 2)"
nginx_server "$port" origin
nginx_server "$plain"
start_nginx
head -c 1000000 /dev/urandom >"$T/www/file"
leftovers >"$T/before"

# before anybody has used it the module's counters may not be there
encrypted() { { cat /proc/net/tls_stat 2>/dev/null || true; } | awk '$1 == "TlsTxSw" { n = $2 } END { print n + 0 }'; }
before=$(encrypted)
cat >"$T/work.sh" <<WORK
cd $T && set -e
curl -sS -o v6 https://[::1]:$port/file
curl -sS -o v4 http://127.0.0.1:$plain/file
exec /usr/bin/python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' https://127.0.0.1:$port/ktls
WORK
: >"$T/www/ktls"
expect_status "the command" 0 exec_local --ktls -- bash "$T/work.sh" 2>"$T/client.err"
[ "$(encrypted)" -gt "$before" ] || fail "exec --ktls: the kernel has not encrypted"
expect_same "by IPv6" "$T/v6" "$T/www/file"
expect_same "by IPv4" "$T/v4" "$T/www/file"
expect_eq "the origin's log" "GET /file HTTP/1.1 200
GET /file HTTP/1.1 200
GET /ktls HTTP/1.1 200" "$(cut -d ' ' -f 2-5 "$T/access")"

told() { # PROGRAM: what is told of its processes
    events "[.[] | to_entries[] | select(.value | objects | .process.binary // \"\" | test(\"/$1[^/]*\$\"))
        | .key | sub(\"process_\"; \"\")] | join(\" \")"
}
expect_eq "events of curl" "exec connect tls http close exit exec connect http close exit" "$(told curl)"
expect_eq "events of Python" "exec connect tls http close exit" "$(told python)"
expect_eq "requests" "GET /file 200 proxy terminated
GET /file 200 proxy plaintext
GET /ktls 200 proxy terminated" "$(events '.[].process_http // empty | "\(.method) \(.path) \(.code) \(.route) \(.visibility)"')"
expect_all_seq
expect_leftovers "$T/before"
echo "ok: exec, on $(uname -r)"
