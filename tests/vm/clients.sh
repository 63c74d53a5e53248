#!/usr/bin/env bash
# Promise: `exec --ktls --route kernel` reads what a server says that lets the kernel encrypt only as we ask
# it to, and what Python and openssl say; of curl, which never does, TLS is told and that nobody reads it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
nginx_conf
for name in curl python openssl; do head -c 100000 /dev/urandom >"$T/www/$name"; done
background "${CLEAN[@]}" "$SALLYPORT" exec --ktls --route kernel --loopback --ports all -o json --events-file "$T/served" -- \
    nginx -c "$T/nginx.conf" -e "$T/nginx.log" 2>"$T/served.err"
server=${PIDS[-1]}
wait_for 30 listening 127.0.0.1 "$port"

cat >"$T/work.sh" <<WORK
cd $T && set -e
export SSL_CERT_FILE=$T/ca.pem
curl -sS -o got.curl https://127.0.0.1:$port/curl
/usr/bin/python3 -c 'import sys, urllib.request
open("got.python", "wb").write(urllib.request.urlopen(sys.argv[1]).read())' https://127.0.0.1:$port/python
printf 'GET /openssl HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' |
    openssl s_client -quiet -tls1_2 -connect 127.0.0.1:$port 2>s_client.err | tail -c 100000 >got.openssl
WORK
expect_status "the clients" 0 exec_local --ktls --route kernel -- bash "$T/work.sh" 2>"$T/client.err"
kill "$server"
expect_status "the server" 0 wait "$server"
for name in curl python openssl; do expect_same "what $name got" "$T/got.$name" "$T/www/$name"; done

told() { # FILE: of whom, the request, the answer, and how they were seen
    jq -r '.process_http // empty | "\(.process.binary | split("/")[-1] | sub("[.0-9]+$"; "")) \(.method // "-") \(.path // "-") \(.code // "-") \(.visibility) \(.route)"' "$1" | sort
}
# OpenSSL 3.0 has the kernel decrypt TLS 1.2 alone
expect_eq "what the clients said" "openssl GET /openssl 200 ktls kernel
python GET /python - ktls kernel" "$(told "$EVENTS")"
expect_eq "what the server said" "nginx - - 200 ktls kernel
nginx - - 200 ktls kernel
nginx GET /openssl 200 ktls kernel" "$(told "$T/served")"
expect_eq "of curl" "TLS1.3 opaque kernel" "$(events '.[].process_tls // empty | select(.process.binary | endswith("/curl")) | "\(.version) \(.visibility) \(.route)"')"
expect_all_seq
echo "ok: exec --ktls, on $(uname -r)"
