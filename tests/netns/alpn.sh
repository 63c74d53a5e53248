#!/usr/bin/env bash
# Promise: what program and server speak is agreed as it would be without us, and is the same on both legs:
# h2 stays h2, http/1.1 stays http/1.1, none stays none; by ALPN, by prior knowledge, by Upgrade, and
# through a proxy's tunnel. Other protocols pass as bytes and are told; a server that shares none says so.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r h2 h1 prior plain none imap upgrade tiny early early_tls hears <<<"$(free_ports 11)"
NGINX_SPEAKS=http2 nginx_server "$h2" origin
NGINX_SPEAKS=http2 nginx_server "$prior"
nginx_server "$h1" origin
nginx_server "$plain"
start_nginx
head -c 300000 /dev/urandom >"$T/www/page"
echo small >"$T/www/small"
start_s_server "$none" origin -www
start_s_server "$imap" origin -alpn imap,pop3 -quiet

seen() { awk '{ print $4 }' "$T/access" | sort -u | xargs; } # how it was spoken, as the origin has it
alpn() { events '[.[].process_tls // empty | "\(.version) \(.alpn // "none") \(.error // "fine")"] | join(", ")'; }
requests() { events '[.[].process_http // empty | "\(.method) \(.protocol) \(.code)"] | join(", ")'; }
close_of() { events ".[].process_close // empty | select(.socket.dport == $1) | \"\\(.visibility) \\(.visibility_reason // \"\")\""; }

# ---- curl -------------------------------------------------------------------------------

# WHAT PORT: curl's version, what is told of TLS, what the origin saw, requests told; curl's OPTIONS
spoken() {
    local what=$1 port=$2
    : >"$T/access"
    expect_eq "$what, the program" "$3" "$(exec_local -- curl -sS -o "$T/answer" -w '%{http_version}' "${@:7}" "https://localhost:$port/page")"
    expect_same "$what: the page" "$T/answer" "$T/www/page"
    expect_eq "$what, told" "$4" "$(alpn)"
    expect_eq "$what, the origin" "$5" "$(seen)"
    expect_eq "$what, requests" "$6" "$(requests)"
    expect_all_seq
    echo "ok: $what"
}
spoken "h2" "$h2" 2 "TLS1.3 h2 fine" HTTP/2.0 "GET HTTP/2 200" --http2
spoken "h2 in TLS 1.2" "$h2" 2 "TLS1.2 h2 fine" HTTP/2.0 "GET HTTP/2 200" --http2 --tls-max 1.2
spoken "a client with http/1.1 only" "$h2" 1.1 "TLS1.3 http/1.1 fine" HTTP/1.1 "GET HTTP/1.1 200" --http1.1
spoken "... in TLS 1.2" "$h2" 1.1 "TLS1.2 http/1.1 fine" HTTP/1.1 "GET HTTP/1.1 200" --http1.1 --tls-max 1.2
spoken "a server with http/1.1 only" "$h1" 1.1 "TLS1.3 http/1.1 fine" HTTP/1.1 "GET HTTP/1.1 200" --http2
spoken "a client without ALPN" "$h2" 1.1 "TLS1.3 none fine" HTTP/1.1 "GET HTTP/1.1 200" --no-alpn
expect_eq "a server without ALPN" 1 "$(exec_local -- curl -sS -o "$T/answer" -w '%{http_version}' -g "https://[::1]:$none/")"
expect_eq "told" "TLS1.3 none fine, GET HTTP/1.1 200" "$(alpn), $(requests)"

# ---- as OpenSSL's client sees it, with and without us -------------------------------------

# what it sees of ALPN: its word, or the alert
asks() { # ADDRESS:PORT OFFER COMMAND...
    "${@:3}" openssl s_client -connect "$1" -servername localhost -CAfile "$T/ca.pem" -alpn "$2" </dev/null >"$T/out" 2>&1 || true
    grep -aoE 'ALPN protocol: .*|No ALPN negotiated|alert no application protocol' "$T/out" | xargs
}
direct_too() { # WHAT ADDRESS:PORT OFFER WANTED TOLD
    expect_eq "$1, direct" "$4" "$(asks "$2" "$3" clean)"
    expect_eq "$1" "$4" "$(asks "$2" "$3" exec_local --)"
    expect_grep "$1, told" "$5" <(alpn)
    echo "ok: $1: $4"
}
direct_too "the server's choice" "127.0.0.1:$h2" foo,http/1.1,h2 "ALPN protocol: h2" '^TLS1.3 h2 fine$'
direct_too "h2, where there is http/1.1 only" "127.0.0.1:$h1" h2 "alert no application protocol No ALPN negotiated" "^null none the upstream's side: TLS alert 'no application protocol'$"
direct_too "another protocol of many" "[::1]:$imap" foo,h2,pop3,imap "ALPN protocol: imap" '^TLS1.3 imap fine$'
direct_too "none in common" "[::1]:$imap" h2 "alert no application protocol No ALPN negotiated" 'no application protocol'
direct_too "a server without ALPN" "[::1]:$none" h2,foo "No ALPN negotiated" '^TLS1.3 none fine$'

# the whole offer, in its order
background "${CLEAN[@]}" /usr/bin/python3 - "$hears" "$T/hello" <<'PY'
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    conn, _ = listener.accept()
    open(sys.argv[2], "wb").write(conn.recv(65536))
    conn.close()
PY
wait_for 20 listening 127.0.0.1 "$hears"
expect_eq "a server that says nothing" "No ALPN negotiated" "$(asks "127.0.0.1:$hears" x,http/1.1,x/2,h2 exec_local --)"
expect_eq "the offer arrives" 1 "$(LC_ALL=C grep -cPa '\x00\x10\x00\x14\x00\x12\x01x\x08http/1\.1\x03x/2\x02h2' "$T/hello")"

# ---- another protocol: bytes --------------------------------------------------------------

exec_local -- timeout 20 bash -c '(echo "a1 NOOP"; until grep -qs "a1 OK" "$1"; do sleep 0.05; done) |
    openssl s_client -connect "[::1]:$2" -servername localhost -CAfile "$3" -alpn imap -quiet -no_ign_eof >"$1" 2>"$1.err"' \
    - "$T/imap" "$imap" "$T/ca.pem" &
wait_for 20 grep -q 'a1 NOOP' "$T/s_server.$imap.out"
echo "a1 OK" >"$T/s_server.$imap.in"
wait "$!"
expect_grep "its answer" '^a1 OK$' "$T/imap"
expect_eq "how its TLS is told" "imap opaque other protocol proxy" \
    "$(events '.[].process_tls // empty | "\(.alpn) \(.visibility) \(.visibility_reason) \(.route)"')"
expect_eq "how its close is told" "opaque other protocol" "$(close_of "$imap")"
echo "ok: bytes of another protocol"

# ---- nghttp -------------------------------------------------------------------------------

: >"$T/access"
exec_local -- nghttp "https://localhost:$h2/page" >"$T/answer"
expect_same "nghttp's page" "$T/answer" "$T/www/page"
expect_eq "told, and the origin" "TLS1.3 h2 fine, GET HTTP/2 200, HTTP/2.0" "$(alpn), $(requests), $(seen)"
echo "ok: nghttp"

# ---- in the clear -------------------------------------------------------------------------

for client in "curl -sS --http2-prior-knowledge" nghttp; do
    : >"$T/access"
    # shellcheck disable=SC2086 # its options
    exec_local -- $client "http://localhost:$prior/page" >"$T/answer"
    expect_same "$client: the page" "$T/answer" "$T/www/page"
    expect_eq "$client: the origin" HTTP/2.0 "$(seen)"
    expect_eq "$client: told" "GET HTTP/2 200, plaintext " "$(requests), $(close_of "$prior")"
done
background "${CLEAN[@]}" nghttpx --conf=/dev/null --workers=1 --errorlog-file="$T/nghttpx.err" \
    -f "127.0.0.1,$upgrade;no-tls" -b "127.0.0.1,$plain" >"$T/nghttpx.out" 2>&1
wait_for 20 listening 127.0.0.1 "$upgrade"
for client in "curl -sS --http2" "nghttp -u"; do
    # shellcheck disable=SC2086 # its options
    exec_local -- $client "http://127.0.0.1:$upgrade/small" >"$T/answer" # curl has room for 32 kB behind a 101
    expect_same "$client: the page" "$T/answer" "$T/www/small"
    expect_eq "$client: what is told" "101, opaque other protocol" \
        "$(events '.[].process_http // empty | .code'), $(close_of "$upgrade")"
done
echo "ok: in the clear"

# ---- a server that sends its SETTINGS before the client has said a word ---------------------

cat >"$T/early.py" <<'PY'
"""early.py serve DIR PORT TLS-PORT | ask DIR PORT [tls]: HTTP/2 by prior knowledge; the client waits until
the server, which does not, has spoken."""
import h2.config, h2.connection, h2.events, os, socket, ssl, sys, threading, time
T = sys.argv[2]
def run(conn, server, on_event):
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=not server))
    http2.initiate_connection()
    if not server: http2.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")], True)
    conn.sendall(http2.data_to_send())
    if server: open(T + "/spoke", "w").close()
    while data := conn.recv(65536):
        for event in http2.receive_data(data):
            if on_event(http2, event): return
        conn.sendall(http2.data_to_send())
def serve(port, context):
    def answer(http2, event):
        if isinstance(event, h2.events.RequestReceived):
            http2.send_headers(event.stream_id, [(":status", "204")], True)
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        conn, _ = listener.accept()
        try: run(context.wrap_socket(conn, server_side=True) if context else conn, True, answer)
        except OSError: pass
if sys.argv[1] == "serve":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(T + "/origin.pem", T + "/origin.key")
    threading.Thread(target=serve, args=(int(sys.argv[3]), None)).start()
    serve(int(sys.argv[4]), context)
conn = socket.create_connection(("127.0.0.1", int(sys.argv[3])), 20)
if sys.argv[4:]: conn = ssl.create_default_context().wrap_socket(conn, server_hostname="localhost")
while not os.path.exists(T + "/spoke"): time.sleep(0.01)
time.sleep(0.2) # so that who stands between has heard it, too
run(conn, False, lambda http2, event: isinstance(event, h2.events.ResponseReceived) and [print(event.headers[0][1].decode())])
PY
background "${CLEAN[@]}" /usr/bin/python3 "$T/early.py" serve "$T" "$early" "$early_tls" 2>"$T/early.err"
wait_for 20 listening 127.0.0.1 "$early"
wait_for 20 listening 127.0.0.1 "$early_tls"
early() { # PORT VISIBILITY [tls]
    rm -f "$T/spoke"
    expect_eq "a server that does not wait, $2" 204 "$(exec_local -- timeout 20 /usr/bin/python3 "$T/early.py" ask "$T" "$1" "${@:3}")"
    expect_eq "told" "GET HTTP/2 204, $2 " "$(requests), $(close_of "$1")"
}
early "$early" plaintext
early "$early_tls" terminated tls
echo "ok: SETTINGS before the preface"

# ---- through a tunnel -----------------------------------------------------------------------

printf 'Port %s\nListen 127.0.0.1\nUser root\nGroup root\nTimeout 60\nPidFile "%s"\nLogFile "%s"\n' \
    "$tiny" "$T/tiny.pid" "$T/tiny.log" >"$T/tiny.conf"
background "${CLEAN[@]}" tinyproxy -d -c "$T/tiny.conf" >"$T/tiny.out" 2>&1
wait_for 20 listening 127.0.0.1 "$tiny"
spoken "h2 through a tunnel" "$h2" 2 "TLS1.3 h2 fine" HTTP/2.0 "CONNECT HTTP/1.1 200, GET HTTP/2 200" --http2 -x "http://127.0.0.1:$tiny"
spoken "http/1.1 through a tunnel" "$h1" 1.1 "TLS1.3 http/1.1 fine" HTTP/1.1 "CONNECT HTTP/1.1 200, GET HTTP/1.1 200" --http2 -x "http://127.0.0.1:$tiny"
: >"$T/access"
exec_local -- curl -sS -p -x "http://127.0.0.1:$tiny" --http2-prior-knowledge -o "$T/answer" "http://localhost:$prior/page"
expect_same "the page, in the clear through a tunnel" "$T/answer" "$T/www/page"
expect_eq "told, and the origin" "CONNECT HTTP/1.1 200, GET HTTP/2 200, HTTP/2.0" "$(requests), $(seen)"
echo "ok: tunnels"
