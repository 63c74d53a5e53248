#!/usr/bin/env bash
# Promise: CONNECT to a plain HTTP proxy is told, and what goes through it is met as a flow of its own:
# its TLS is verified and read, its HTTP told, the rest passes as bytes; whoever speaks first, and however
# early. A refused CONNECT is an answer like any other.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_ca stranger
make_cert origin ca "$ORIGIN_SAN"
make_cert foreign stranger "$ORIGIN_SAN"
read -r port plain foreign tiny acme <<<"$(free_ports 5)"
nginx_server "$port" origin
nginx_server "$plain"
nginx_server "$foreign" foreign
start_nginx
start_s_server "$acme" origin -alpn acme-tls/1
head -c 300000 /dev/urandom >"$T/www/a"
background /usr/bin/python3 "$(dirname "$0")/connect_proxy.py" "$T/origin.pem" "$T/origin.key" >"$T/ports"
all_listen() { [ "$(wc -l <"$T/ports")" = 8 ]; }
wait_for 10 all_listen
port() { awk -v name="$1" '$1 == name { print $2 }' "$T/ports"; }
proxy=http://127.0.0.1:$(port proxy)

told() { # what, wanted lines of "stream method host path status visibility"
    expect_eq "told of $1" "$2" "$(events '.[].process_http // empty |
        "\(.stream) \(.method) \(.host) \(.path) \(.code) \(.visibility)"')"
    expect_all_seq
    echo "ok: $1"
}
tls() { events '[.[].process_tls // empty | "\(.sni) \(.visibility) \(.error // "fine")"] | join(", ")'; }
closes() { events '[.[].process_close // empty | "\(.visibility) \(.error // "well")"] | join(", ")'; }
curl_ok() { exec_local -- curl -sS --fail-with-body "$@" || fail "curl $*"; }

# ---- real clients -----------------------------------------------------------------

curl_ok -x "$proxy" -o "$T/1" "https://origin.test:$port/a" -o "$T/2" "https://origin.test:$port/a?q"
for i in 1 2; do expect_same "answer $i" "$T/$i" "$T/www/a"; done
expect_eq "tls" "origin.test terminated fine" "$(tls)"
expect_eq "how it ends" "terminated well" "$(closes)"
expect_eq "the server's certificate is told" "CN=test origin" "$(events '.[].process_tls // empty | .server.subject')"
told "two requests inside TLS" "1 CONNECT origin.test origin.test:$port 200 plaintext
2 GET origin.test /a 200 terminated
3 GET origin.test /a 200 terminated"

curl_ok -p -x "$proxy" -o "$T/1" "http://origin.test:$plain/a" -o "$T/2" "http://origin.test:$plain/a"
for i in 1 2; do expect_same "answer $i" "$T/$i" "$T/www/a"; done
expect_eq "how it ends" "plaintext well" "$(closes)"
told "two requests in the clear" "1 CONNECT origin.test origin.test:$plain 200 plaintext
2 GET origin.test /a 200 plaintext
3 GET origin.test /a 200 plaintext"

# no SNI for an address: the one that CONNECT asks for counts, not the proxy's
curl_ok -x "$proxy" -o "$T/1" "https://[::1]:$port/a"
expect_same "the answer" "$T/1" "$T/www/a"
told "a proxy by IPv4, a server by IPv6" "1 CONNECT [::1] [::1]:$port 200 plaintext
2 GET [::1] /a 200 terminated"
curl_ok -x "http://[::1]:$(port length)" -o "$T/1" "https://127.0.0.1:$port/a"
expect_same "the answer" "$T/1" "$T/www/a"
told "a proxy by IPv6, a server by IPv4" "1 CONNECT 127.0.0.1 127.0.0.1:$port 200 plaintext
2 GET 127.0.0.1 /a 200 terminated"

printf 'Port %s\nListen 127.0.0.1\nUser root\nGroup root\nTimeout 60\nPidFile "%s"\nLogFile "%s"\n' \
    "$tiny" "$T/tiny.pid" "$T/tiny.log" >"$T/tiny.conf"
background "${CLEAN[@]}" tinyproxy -d -c "$T/tiny.conf" >"$T/tiny.out" 2>&1
wait_for 20 listening 127.0.0.1 "$tiny"
curl_ok -x "http://127.0.0.1:$tiny" -o "$T/1" "https://localhost:$port/a" -o "$T/2" "http://localhost:$plain/a"
for i in 1 2; do expect_same "answer $i" "$T/$i" "$T/www/a"; done
expect_eq "tinyproxy is told" "1 CONNECT 200, 2 GET 200, 1 GET 200" \
    "$(events '[.[].process_http // empty | "\(.stream) \(.method) \(.code)"] | join(", ")')"
exec_local -- env https_proxy="http://127.0.0.1:$tiny" /usr/bin/python3 -c 'import sys, urllib.request as u
sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())' "https://localhost:$port/a" >"$T/1"
expect_same "python's answer" "$T/1" "$T/www/a"
told "python through tinyproxy" "1 CONNECT localhost localhost:$port 200 plaintext
2 GET localhost /a 200 terminated"
wget_env=(env "https_proxy=http://127.0.0.1:$tiny")
exec_local -- "${wget_env[@]}" wget -q -O "$T/1" "https://localhost:$port/a" || fail "wget"
expect_same "wget's answer" "$T/1" "$T/www/a"
told "wget through tinyproxy" "1 CONNECT localhost localhost:$port 200 plaintext
2 GET localhost /a 200 terminated"

# ---- verification is of what is inside ----------------------------------------------

: >"$T/access"
expect_status "a server under a foreign root" 35 exec_local -- curl -sS -x "$proxy" "https://localhost:$foreign/a" \
    2>"$T/client.err"
expect_grep "its reason" "certificate for localhost was refused: .*(issuer|self)" <(tls)
expect_status "a name that its certificate lacks" 35 exec_local -- curl -sS -x "$proxy" "https://wrong.test:$port/a" \
    2>"$T/client.err"
expect_grep "its reason" "certificate for wrong.test was refused: it is not for" <(tls)
expect_eq "requests that the servers saw" 0 "$(wc -l <"$T/access")"
echo "ok: certificates inside"

# ---- other protocols inside ---------------------------------------------------------

cat >"$T/raw.py" <<'PY'
"""raw.py PORT: runs the code on stdin, which speaks to that proxy by these. Bytes that are not known
for HTTP or something else wait for 10 s."""
import socket, ssl, sys, time
begun = time.monotonic()
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
def lead(to, early=b"", field=""):
    s.sendall(f"CONNECT {to} HTTP/1.1\r\nHost: x\r\n{field}\r\n".encode() + early)
    return answer()
def get(url):
    s.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return answer()
def secure():
    return ssl.create_default_context().wrap_socket(s, server_hostname="localhost")
def answer():
    data = b""
    while b"\r\n\r\n" not in data:
        got = s.recv(1)
        if not got: break
        data += got
    return int(data.split()[1])
def everything():
    data = b""
    while got := s.recv(65536): data += got
    return data
exec(sys.stdin.read())
if time.monotonic() - begun > 9: print("bytes waited for a time-out")
PY
raw() { exec_local -- timeout 20 /usr/bin/python3 "$T/raw.py" "$(port "$1")"; }

expect_eq "a server that speaks first" "200 SSH-2.0-test you are me" "$(raw proxy <<PY
print(lead("ssh.test:$(port ssh)"), s.recv(100).decode().strip(), end=" ")
s.sendall(b"me"); print(s.recv(100).decode())
PY
)"
told "SSH" "1 CONNECT ssh.test ssh.test:$(port ssh) 200 plaintext"
expect_eq "how it ends" "opaque well" "$(closes)"
expect_eq "its greeting beside the answer" "200 SSH-2.0-eager b'abc'" "$(raw eager <<PY
print(lead("x.test:$(port echo)"), s.recv(15).decode().strip(), end=" ")
s.sendall(b"abc"); print(s.recv(3))
PY
)"
expect_eq "how it ends" "opaque well" "$(closes)"
expect_eq "bytes that are nothing known, early, and half-close" "200 b'\x00\x01early and late'" "$(raw proxy <<PY
print(lead("x.test:$(port echo)", b"\\x00\\x01early"), end=" ")
s.sendall(b" and late"); s.shutdown(1); print(everything())
PY
)"
expect_eq "how it ends" "opaque well" "$(closes)"
exec_local -- timeout 20 openssl s_client -proxy "127.0.0.1:$(port proxy)" -connect "six.test:$acme" -servername localhost \
    -alpn acme-tls/1 -CAfile "$T/ca.pem" -verify_return_error </dev/null >"$T/out" 2>"$T/client.err" || true
expect_grep "an ACME server's question passes untouched" 'issuer=CN = test ca' "$T/out"
expect_eq "and its name is told" "localhost opaque fine" "$(tls)"
expect_eq "the route of what passes" '"passthrough"' "$(jq -c 'select(.process_close) | .process_close.route' "$EVENTS")"
echo "ok: other protocols"

# ---- early bytes ---------------------------------------------------------------------

expect_eq "a request behind CONNECT" "200 200" "$(raw proxy <<PY
print(lead("localhost:$plain",
    b"GET /a?1 HTTP/1.1\\r\\nHost: b\\r\\nConnection: close\\r\\n\\r\\n"), end=" ")
s.shutdown(1); print(answer()); assert everything() == open("$T/www/a", "rb").read()
PY
)"
told "a request that did not wait" "1 CONNECT localhost localhost:$plain 200 plaintext
2 GET b /a 200 plaintext"
raw proxy <<PY >"$T/1"
inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = ssl.create_default_context().wrap_bio(inbox, outbox, server_hostname="origin.test")
def run(what):
    while True:
        try: return what()
        except ssl.SSLWantReadError:
            if hello := outbox.read(): s.sendall(hello)
            inbox.write(s.recv(65536))
try: tls.do_handshake()
except ssl.SSLWantReadError: pass
assert lead("localhost:$port", outbox.read()) == 200
run(tls.do_handshake)
tls.write(b"GET /a HTTP/1.1\\r\\nHost: origin.test\\r\\nConnection: close\\r\\n\\r\\n")
data = b""
while True:
    got = run(lambda: tls.read(65536))
    if not got: break
    data += got
sys.stdout.buffer.write(data.split(b"\\r\\n\\r\\n", 1)[1])
PY
expect_same "the answer" "$T/1" "$T/www/a"
expect_eq "tls" "origin.test terminated fine" "$(tls)"
told "a ClientHello that did not wait" "1 CONNECT localhost localhost:$port 200 plaintext
2 GET origin.test /a 200 terminated"
expect_eq "a tunnel in a tunnel" "200 200 200" "$(raw proxy <<PY
print(lead("localhost:$(port proxy)"), lead("localhost:$port"), end=" ")
s = secure()
print(get("/a"))
PY
)"
told "a tunnel in a tunnel" "1 CONNECT localhost localhost:$(port proxy) 200 plaintext
2 CONNECT localhost localhost:$port 200 plaintext
3 GET localhost /a 200 terminated"

# ---- refused --------------------------------------------------------------------------

expect_status "a proxy that forbids" 56 exec_local -- curl -sS -x "http://localhost:$(port forbids)" \
    "https://localhost:$port/a" 2>"$T/client.err"
expect_grep "what curl saw" '403' "$T/client.err"
told "403" "1 CONNECT localhost localhost:$port 403 plaintext"
curl_ok -x "http://localhost:$(port asks_password)" --proxy-anyauth -U me:geheim -o "$T/1" "https://localhost:$port/a"
expect_same "the answer" "$T/1" "$T/www/a"
expect_eq "what was refused, then allowed" "407 200 200" "$(events '[.[].process_http // empty | .code] | join(" ")')"
expect_no_grep "the password" "$(printf me:geheim | base64)" "$EVENTS"
expect_eq "again on the same connection" "407 200 200" "$(raw asks_password <<PY
print(lead("localhost:$port"), end=" ")
assert s.recv(6) == b"secret"
print(lead("localhost:$port", field="Proxy-Authorization: x\\r\\n"), end=" ")
s = secure()
print(get("/a"))
PY
)"
told "407, then the password" "1 CONNECT localhost localhost:$port 407 plaintext
2 CONNECT localhost localhost:$port 200 plaintext
3 GET localhost /a 200 terminated"

# ---- a proxy reached by TLS: its tunnels stay bytes (README, limits) ------------------------

curl_ok -p -x "https://localhost:$(port tls_proxy)" -o "$T/1" "http://localhost:$plain/a"
expect_same "the answer" "$T/1" "$T/www/a"
told "a proxy by TLS" "1 CONNECT localhost localhost:$plain 200 terminated"
