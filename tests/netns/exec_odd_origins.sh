#!/usr/bin/env bash
# Promise: an origin that cuts, resets, answers early, too much or unasked, speaks first or leaves
# HTTP is met by the program as it would be direct, and what is told is what happened.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
background /usr/bin/python3 "$(dirname "$0")/odd_server.py" "$T/origin.pem" "$T/origin.key" >"$T/ports"
all_listen() { [ "$(wc -l <"$T/ports")" = 13 ]; }
wait_for 10 all_listen
port() { awk -v name="$1" '$1 == name { print $2 }' "$T/ports"; }
http() { events '.[].process_http // empty | "\(.method) \(.path) \(.code) \(.verdict)"'; }
closes() { events '.[].process_close // empty | .error // "well"'; }

# ---- TLS that ends without close_notify ------------------------------------------
# as fast as it goes, and a reader that is slower than the origin
expect_status "a length that is kept" 0 exec_local -- sh -ec 'for rate in 1000M 20M; do
    curl -sS --limit-rate $rate -o "$0.$rate" "$1"; done' "$T/answer" "https://localhost:$(port tls_cut_length)/" 2>"$T/client.err"
expect_eq "bytes of it" "5000000 5000000" "$(stat -c %s "$T/answer.1000M" "$T/answer.20M" | xargs)"
# without a length a strict reader can tell the cut only by the missing close_notify
printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' | exec_local -- openssl s_client -quiet -servername localhost \
    -connect "localhost:$(port tls_cut_close)" >"$T/answer" 2>"$T/client.err" || true
expect_eq "bytes before the cut" 5000000 "$(tr -cd x <"$T/answer" | wc -c)"
expect_grep "a cut is a cut" 'unexpected eof' "$T/client.err"
echo "ok: close_notify missing"

# ---- plain HTTP -----------------------------------------------------------------
# a race of the bytes with the RST: either order must end at once
expect_eq "a reset behind bytes" "56 56 56 56 56" "$(exec_local -- sh -c 'for i in 1 2 3 4 5; do
    timeout 60 curl -s -o "$0" "$1"; echo $?; done' "$T/answer" "http://localhost:$(port reset_behind_bytes)/" | xargs)"
head -c 50000000 /dev/zero >"$T/upload"
expect_eq "an early answer to an upload" "413 413 413" "$(exec_local -- sh -c 'for i in 1 2 3; do
    curl -s -o /dev/null -w "%{http_code} " -T "$0" -H Expect: "$1"; done' "$T/upload" "http://localhost:$(port early_413)/up" | xargs)"
expect_eq "how it is told" "$(printf 'PUT /up 413 allow\n%.0s' 1 2 3)" "$(http)"
echo "ok: resets"

raw() { # PORT BYTES: all that comes back
    exec_local -- /usr/bin/python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
if len(sys.argv) > 3: s.shutdown(socket.SHUT_WR)
while d := s.recv(65536): sys.stdout.buffer.write(d)' "$@"
}
get='GET / HTTP/1.1\r\nHost: a\r\n\r\n'
expect_eq "bytes nobody asked for do not go on" "200" \
    "$(raw "$(port two_bytes_too_many)" "$get" end | awk '/^HTTP/ { print $2 }' | xargs)"
expect_eq "an answer nobody asked for does not go on" "200" \
    "$(raw "$(port unasked_answer)" "$get" end | awk '/^HTTP/ { print $2 }' | xargs)"
expect_eq "and the end is told with its reason" \
    "the upstream's answer was refused: an answer to no request" "$(closes)"
echo "ok: unasked answers"

# ---- no answer at all --------------------------------------------------------------
expect_eq "no answer" "52 52" "$(exec_local -- sh -c 'for url; do curl -s "$url"; echo $?; done' sh \
    "http://localhost:$(port closes)/none" "https://localhost:$(port tls_closes)/none" | xargs)"
expect_eq "is told" "$(printf '/none null the server closed without an answer\n%.0s' 1 2)" \
    "$(events '.[].process_http // empty | "\(.path) \(.code) \(.error)"')"
echo "ok: no answer"

# ---- not HTTP --------------------------------------------------------------------
expect_eq "half-close" dcba "$(raw "$(port echo_after_end)" '\x01abcd' end | tr -d '\001')"
expect_eq "the server speaks first" "220 hello you said hi" "$(raw "$(port speaks_first)" hi | tr -d '\r' | xargs)"
expect_eq "told" "opaque server first" "$(events '.[].process_close // empty | "\(.visibility) \(.visibility_reason)"')"
expect_eq "an upgrade" ABC "$(exec_local -- /usr/bin/python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
data = b""
while b"\r\n\r\n" not in data: data += s.recv(1000)
s.sendall(b"abc")
print(s.recv(10).decode())' "$(port upgrade)")"
expect_eq "told" "GET /ws 101 allow" "$(http)"
expect_eq "what it is from there on" "opaque other protocol" "$(events '.[].process_close // empty | "\(.visibility) \(.visibility_reason)"')"
echo "ok: not HTTP"

# ---- nothing said is nothing unread ------------------------------------------------
exec_local -- openssl s_client -connect "localhost:$(port tls_lenient)" -servername localhost \
    </dev/null >"$T/out" 2>"$T/client.err"
expect_eq "TLS, and not a byte in it" terminated "$(events '.[].process_close // empty | .visibility')"
exec_local -- /usr/bin/python3 -c 'import socket, sys
socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()' "$(port lenient)"
expect_eq "a connection without a byte" null "$(events '.[].process_close // empty | .visibility')"
echo "ok: nothing said"

# ---- what a lenient server takes cannot hide from the events ------------------------
hidden() { # plain | tls | alpn, BYTES...: the status that comes back, each over a connection of its own
    local name=tls_lenient
    [ "$1" != plain ] || name=lenient
    exec_local -- /usr/bin/python3 -c 'import socket, ssl, sys
for words in sys.argv[3:]:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    if sys.argv[2] != "plain":
        c = ssl.create_default_context()
        if sys.argv[2] == "alpn": c.set_alpn_protocols(["http/1.1"])
        s = c.wrap_socket(s, server_hostname="localhost")
    s.sendall(words.encode().decode("unicode_escape").encode("latin-1"))
    print(s.recv(1000).split()[1].decode())' "$(port $name)" "$@"
}
expect_eq "an empty line before a request" 200 "$(hidden tls '\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n')"
expect_eq "is told" "GET /hidden 200 allow" "$(http)"
expect_eq "a method nobody knows" 400 "$(hidden tls 'FOO /hidden HTTP/1.1\r\nHost: a\r\n\r\n')"
expect_eq "is told, too" "FOO /hidden 400 deny" "$(http)"
expect_eq "with its host" localhost "$(events '.[].process_http // empty | .host')"
expect_eq "a fold behind Host" 400 "$(hidden plain 'GET /a?b HTTP/1.1\r\nHost: folded\r\nX: y\r\n z\r\n\r\n')"
expect_eq "is told with what was read" "folded GET /a" "$(events '.[].process_http // empty | "\(.host) \(.method) \(.path)"')"
lines=('GET  /hidden HTTP/1.1' 'GET\t/hidden HTTP/1.1' 'GET\xa0/hidden HTTP/1.1'
       ' GET /hidden HTTP/1.1' 'GET hidden HTTP/1.1' 'FOO  /hidden HTTP/1.1')
for way in plain tls alpn; do
    expect_eq "$way: each of ${#lines[@]} odd lines" "$(printf '400\n%.0s' "${lines[@]}")" \
        "$(hidden $way "${lines[@]/%/\\r\\nHost: a\\r\\n\\r\\n}")"
    expect_eq "$way: each is told" "$(printf '400 deny true\n%.0s' "${lines[@]}")" \
        "$(events '.[].process_http // empty | "\(.code) \(.verdict) \(.error | length > 3)"')"
done
preface='PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
expect_eq "HTTP/2 where HTTP/1.1 was agreed" 400 "$(hidden alpn "$preface")"
expect_eq "is told" "an HTTP/2 preface on an HTTP/1 connection" "$(events '.[].process_http // empty | .error')"
echo "ok: nothing hides"
