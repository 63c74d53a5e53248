#!/usr/bin/env bash
# Promise: HTTP/1.1 as real clients speak it comes through unchanged: keep-alive, pipelining,
# chunked both ways, answers without a body, large uploads, plain HTTP; each request is one event.
# What two servers could read differently gets 400. A slow reader's body waits at the origin.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port plain <<<"$(free_ports 2)"
nginx_server "$port" origin
nginx_server "$plain"
start_nginx
url=https://localhost:$port
head -c 300000 /dev/urandom >"$T/www/a"
head -c 10485760 /dev/urandom >"$T/upload"
: >"$T/www/empty"
truncate -s 200M "$T/www/huge"

told() { # what, wanted lines of "method host path status"
    expect_eq "told of $1" "$2" "$(events '.[].process_http // empty | "\(.method) \(.host) \(.path) \(.code)"')"
    expect_all_seq
    echo "ok: $1"
}
connections() { events '[.[].process_connect // empty] | length'; }
curl_ok() { exec_local -- curl -sS --fail-with-body "$@" || fail "curl $*"; }

# ---- keep-alive -----------------------------------------------------------------

curl_ok -o "$T/1" "$url/a" -o "$T/2" "$url/a?q=1" -o "$T/3" "$url/empty" -o "$T/4" "$url/a"
for i in 1 2 4; do expect_same "answer $i" "$T/$i" "$T/www/a"; done
told "keep-alive" $'GET localhost /a 200\nGET localhost /a 200\nGET localhost /empty 200\nGET localhost /a 200'
expect_eq "connections for four requests" 1 "$(connections)"
expect_eq "url keeps its query" '/a?q=1' "$(events '[.[].process_http // empty][1].url')"
expect_eq "numbers on the connection" "1 2 3 4" "$(events '[.[].process_http // empty | .stream] | join(" ")')"
expect_eq "bytes told" 300000 "$(events '[.[].process_http // empty] | .[0].response_bytes')"

# ---- answers without a body, and the one after them ------------------------------

curl_ok -o /dev/null -I "$url/a" --next -sS -o "$T/1" "$url/a" --next -sS -o /dev/null "$url/204" \
    --next -sS -o /dev/null -w '%{http_code}' -z "$T/www/a" "$url/a" --next -sS -o "$T/2" "$url/a" >"$T/out"
for i in 1 2; do expect_same "an answer after one without a body" "$T/$i" "$T/www/a"; done
told "HEAD, 204, 304" $'HEAD localhost /a 200\nGET localhost /a 200\nGET localhost /204 204\nGET localhost /a 304\nGET localhost /a 200'
expect_status "a file that is not there" 22 exec_local -- curl -sS -f -o /dev/null "$url/none" 2>"$T/client.err"
told "404" 'GET localhost /none 404'

# ---- chunked ---------------------------------------------------------------------

curl_ok -D "$T/head" -o "$T/1" "$url/chunked/a"
expect_grep "chunked answer" '^Transfer-Encoding: chunked' "$T/head"
expect_same "the chunked answer" "$T/1" "$T/www/a"
told "chunked answer" 'GET localhost /chunked/a 200'
exec_local -- curl -sS -f -T - "$url/put/chunked" <"$T/upload" || fail "chunked upload"
expect_same "the chunked upload" "$T/put/chunked" "$T/upload"
told "chunked upload" 'PUT localhost /put/chunked 201'

# ---- uploads ---------------------------------------------------------------------

curl_ok --data-binary "@$T/upload" "$url/post/ten" # curl asks for 100 Continue
expect_same "10 MB by POST" "$T/put/ten" "$T/upload"
told "10 MB by POST" 'POST localhost /post/ten 201'
expect_grep "length at the origin" ' length=1048[56][0-9]{3} ' <(grep -F /post/ten "$T/access")

# ---- plain HTTP ------------------------------------------------------------------

curl_ok -o "$T/1" "http://127.0.0.1:$plain/a" -o "$T/2" "http://[::1]:$plain/a"
for i in 1 2; do expect_same "plain HTTP" "$T/$i" "$T/www/a"; done
expect_eq "plain HTTP is told" "/a 200 plaintext /a 200 plaintext" \
    "$(events '[.[].process_http // empty | "\(.path) \(.code) \(.visibility)"] | join(" ")')"
expect_eq "tls events of plain HTTP" 0 "$(events '[.[].process_tls // empty] | length')"

# ---- raw requests over TLS: pipelining, and what is refused ----------------------------

cat >"$T/raw.py" <<'PY'
"""raw.py PORT: what stdin holds up to each NUL goes over a connection of its own; what comes back, to stdout."""
import socket, ssl, sys
for words in sys.stdin.buffer.read().split(b"\0"):
    t = ssl.create_default_context().wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20),
                                                 server_hostname="localhost")
    t.sendall(words)
    while True:
        try:
            got = t.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            break
        if not got:
            break
        sys.stdout.buffer.write(got)
    t.close()
PY
raw() { exec_local -- /usr/bin/python3 "$T/raw.py" "$port" >"$T/answer"; }
statuses() { grep -ao 'HTTP/1.1 [0-9][0-9][0-9]' "$T/answer" | cut -d' ' -f2 | xargs; }

for i in {1..20}; do printf 'GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n' "$( ((i % 3)) && echo empty || echo a)"; done >"$T/request"
printf 'GET /204 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >>"$T/request"
raw <"$T/request"
expect_eq "answers to 21 pipelined requests" "$(printf '200 %.0s' {1..20})204" "$(statuses)"
expect_eq "events of 21 pipelined requests" "$(seq -s ' ' 21)" \
    "$(events '[.[].process_http // empty | .stream] | join(" ")')"
expect_eq "paths in their order" "/empty /empty /a /empty" \
    "$(events '[.[].process_http // empty | .path][0:4] | join(" ")')"

refused=(
    'two lengths' 'POST /post/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde'
    'length and chunked' 'POST /post/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    'chunked not last' 'POST /post/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n'
    'no Host' 'GET /a HTTP/1.1\r\n\r\n'
    'two Hosts' 'GET /a HTTP/1.1\r\nHost: localhost\r\nHost: other.test\r\n\r\n'
    'a folded header' 'GET /a HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n'
    'a bare LF' 'GET /a HTTP/1.1\nHost: localhost\n\n'
    'a blank before the colon' 'GET /a HTTP/1.1\r\nHost : localhost\r\n\r\n'
    'no such version' 'GET /a HTTP/1.7\r\nHost: localhost\r\n\r\n')
: >"$T/access"
: >"$T/request"
for ((i = 1; i < ${#refused[@]}; i += 2)); do
    [ $i = 1 ] || printf '\0' >>"$T/request"
    printf '%b' "${refused[i]}" >>"$T/request"
done
raw <"$T/request"
expect_eq "answers to nine that two servers could read differently" "400 400 400 400 400 400 400 400 400" "$(statuses)"
expect_eq "requests of theirs that reached the origin" '' "$(cat "$T/access")"
for ((i = 0; i < ${#refused[@]}; i += 2)); do echo "ok: ${refused[i]}"; done

# ---- a slow reader: 200 MB wait at the origin, not in us -------------------------------

cat >"$T/slow.py" <<'PY'
import hashlib, socket, ssl, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
t = ssl.create_default_context().wrap_socket(s, server_hostname="localhost")
t.sendall(b"GET /huge HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
body = t.recv(65536).split(b"\r\n\r\n", 1)[1]
open(sys.argv[2], "w").close()
while True:
    time.sleep(0.05)
    try:
        open(sys.argv[2] + ".go").close()
        break
    except FileNotFoundError:
        pass
digest = hashlib.sha256(body)
while True:
    got = t.recv(1 << 20)
    if not got:
        break
    digest.update(got)
print(digest.hexdigest())
PY
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
background "${EXEC_LOCAL[@]}" -- /usr/bin/python3 "$T/slow.py" "$port" "$T/waiting" >"$T/out" 2>"$T/client.err"
agent=$!
wait_for 20 test -e "$T/waiting"
before=$(memory "$agent")
sleep 3
after=$(memory "$agent")
expect_eq "requests for /huge that the origin is done with" 0 "$(grep -c /huge "$T/access" || true)"
touch "$T/waiting.go"
expect_status "the slow reader" 0 wait "$agent"
expect_eq "sha256 of the slow reader's body" "$(sha256sum <"$T/www/huge" | cut -d' ' -f1)" "$(cat "$T/out")"
# a quarter of the body: AddressSanitizer holds back for a while what was freed
[ $((after - before)) -lt 51200 ] || fail "the agent grew by $((after - before)) kB while 200 MB waited"
expect_eq "told of the slow reader" "/huge 200" "$(events '.[].process_http // empty | "\(.path) \(.code)"')"
