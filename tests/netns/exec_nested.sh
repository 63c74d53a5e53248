#!/usr/bin/env bash
# Promise: `exec` inside `exec` works, loopback and all ports included: each tells its part, the inner
# one the program's requests, the outer one the inner one's, and the origin is reached through both.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
INNER=$T/inner
told() { jq -r '.process_http // empty | "\(.process.binary) \(.method) \(.path) \(.code)"' "$1"; }

# nested WHAT OUTER... -- CURL...: OUTER is what starts the outer one
nested() {
    local what=$1 outer=()
    shift
    while [ "$1" != -- ]; do outer+=("$1"); shift; done
    shift
    : >"$INNER"
    expect_status "$what" 0 timeout 20 "${outer[@]}" "${EXEC_LOCAL[@]}" -- \
        "$SALLYPORT" exec -o json --events-file "$INNER" --loopback --ports all -- \
        curl -sS -o "$T/answer" "$@" 2>"$T/client.err"
    expect_same "$what" "$T/answer" "$T/www/file"
    expect_eq "$what: told by the inner one" "$(type -P curl) GET /file 200" "$(told "$INNER")"
    expect_eq "$what: told by the outer one" "$SALLYPORT GET /file 200" "$(told "$EVENTS")"
    expect_all_seq
    echo "ok: $what"
}

# ---- on loopback -------------------------------------------------------------------

read -r tls plain <<<"$(free_ports 2)"
mkdir "$T/www"
head -c 1000000 /dev/urandom >"$T/www/file"
nginx_server "$tls" origin
nginx_server "$plain"
start_nginx
for at in localhost 127.0.0.1 '[::1]'; do
    nested "https, $at" -- "https://$at:$tls/file"
    nested "http, $at" -- "http://$at:$plain/file"
done

kill "${PIDS[-1]}"
wait_for 10 dead "${PIDS[-1]}"

# ---- to elsewhere: the inner listener has an address of the namespace's own -----------

make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
NGINX_SERVERS='' NGINX_PORTS=()
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
for at in 203.0.113.10 '[2001:db8:2::10]'; do
    nested "https, $at" "${IN_POD[@]}" -- "https://$at/file"
done
