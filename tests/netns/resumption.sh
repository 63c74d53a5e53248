#!/usr/bin/env bash
# Promise: TLS sessions go on, on both legs, where they would have gone on without us: for the same
# pod, name and offers, while upstream shows the same certificate. Nothing that is told changes by
# it. A session that a server does not take, or cannot bear, becomes a full handshake.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r t13 t12 none13 none12 staples bad speaks <<<"$(free_ports 7)"
nginx_server "$t13" origin 'ssl_protocols TLSv1.3;'
nginx_server "$t12" origin 'ssl_protocols TLSv1.2;'
# so nginx keeps nothing, and says that it does
nginx_server "$none13" origin 'ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache none;'
nginx_server "$none12" origin 'ssl_protocols TLSv1.2; ssl_session_tickets off; ssl_session_cache none;'
start_nginx
echo small >"$T/www/small"

# as the origin has seen it, connection by connection ("r": resumed, ".": not)
seen() { sed -n 's/.* reused=//p' "$T/access" | xargs; }
told() { events '[.[].process_tls // empty | select(.error == null) | .resumed]
                 | map(if . then "r" else "." end) | join(" ")'; }
facts() { events '[.[].process_tls // empty | [.version, .cipher, .alpn, .server]] | unique | length'; }

# ask.py PORT NAME VERSION COUNT: connections one after the other, each with the session of the one
# before, as browsers do; prints which the program saw go on.
cat >"$T/ask.py" <<'PY'
import socket, ssl, sys
port, name, version, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
context = ssl.create_default_context()
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
context.set_alpn_protocols(["http/1.1"])
session, seen = None, []
for i in range(count):
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=name,
                             session=session) as tls:
        tls.sendall(b"GET /small HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name.encode())
        answer = b""
        while chunk := tls.recv(4096):
            answer += chunk
        assert answer.endswith(b"small\n"), answer
        seen.append("r" if tls.session_reused else ".")
        session = tls.session
print(*seen)
PY
ask() { exec_local -- /usr/bin/python3 "$T/ask.py" "$@"; }
ask_direct() { clean SSL_CERT_FILE="$T/ca.pem" /usr/bin/python3 "$T/ask.py" "$@"; }

both() { # WHAT PORT VERSION EXPECTED-AT-THE-PROGRAM EXPECTED-AT-THE-SERVER
    local what=$1 port=$2 version=$3
    expect_eq "$what, direct" "$4" "$(ask_direct "$port" localhost "$version" 3)"
    : >"$T/access"
    expect_eq "$what, the program sees" "$4" "$(ask "$port" localhost "$version" 3)"
    expect_eq "$what, the server sees" "$5" "$(seen)"
    expect_eq "$what, told" "$5" "$(told)"
    expect_eq "$what, what is told of TLS" 1 "$(facts)"
    expect_eq "$what, requests told" "200 200 200" "$(events '.[].process_http // empty | .code' | xargs)"
    echo "ok: $what: $4"
}
both "TLS 1.3" "$t13" TLSv1_3 ". r r" ". r r"
both "TLS 1.2" "$t12" TLSv1_2 ". r r" ". r r"
both "TLS 1.2, given and not taken back" "$none12" TLSv1_2 ". . ." ". . ."
both "TLS 1.3, given and not taken back" "$none13" TLSv1_3 ". . ." ". . ."

# ---- other programs of the pod, which share the leg upstream but know nothing of each other ------
: >"$T/access"
exec_local -- sh -c 'for i in 1 2 3; do curl -sS -o /dev/null "$0"; done' "https://localhost:$t13/small"
expect_eq "curl thrice, the server sees" ". r r" "$(seen)"
expect_eq "told" ". r r" "$(told)"
: >"$T/access"
exec_local -- sh -c 'curl -sS -o /dev/null "$0"; curl -sS -o /dev/null --tls-max 1.2 "$1"; curl -sS -o /dev/null --tls-max 1.2 "$1"
    curl -sS -o /dev/null --tls-max 1.2 --ciphers ECDHE-ECDSA-AES128-GCM-SHA256 "$1"' \
    "https://localhost:$t13/small" "https://localhost:$t12/small"
expect_eq "other offers do not go on with it" ". . r ." "$(seen)"

# ---- not for another run (and all else that has a say: tests/unit/flow/resume.c) -----------------
# a ticket of ours is worth nothing in another run, nor is a server's
talk() { # SESSION-OPTIONS...: the words of s_client on the session, and the answer
    printf 'GET /small HTTP/1.0\r\n\r\n' | "${through[@]}" openssl s_client -connect "localhost:$t13" -servername localhost \
        -ign_eof -verify_return_error "$@" 2>&1 | grep -aE '^(New|Reused), |^small' | xargs
}
through=("${EXEC_LOCAL[@]}" --)
expect_eq "s_client" "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384 small" "$(talk -sess_out "$T/ours")"
expect_eq "with the ticket of another run" "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384 small" "$(talk -sess_in "$T/ours")"
through=("${CLEAN[@]}" "SSL_CERT_FILE=$T/ca.pem")
talk -sess_out "$T/theirs" >"$T/out"
expect_eq "direct" "Reused, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384 small" "$(talk -sess_in "$T/theirs")"
through=("${EXEC_LOCAL[@]}" --)
expect_eq "with the server's own ticket" "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384 small" "$(talk -sess_in "$T/theirs")"
# within one run both go on
: >"$T/access"
exec_local -- sh -c 'for i in -sess_out -sess_in; do printf "GET /small HTTP/1.0\r\n\r\n" | openssl s_client -connect "localhost:$0" \
    -servername localhost -ign_eof "$i" "$1"; done' "$t13" "$T/session" >"$T/out" 2>&1
expect_eq "one run: s_client" "New Reused" "$(grep -aoE '^(New|Reused), TLS' "$T/out" | cut -d, -f1 | xargs)"
expect_eq "one run: the server" ". r" "$(seen)"
echo "ok: for whom"

# ---- what is spoken is agreed anew each time ------------------------------------------------------
# speak.py PORT VERSION OFFER...: a connection for each offer, with the session of the one before
cat >"$T/speak.py" <<'PY'
import socket, ssl, sys
session = None
for offer in sys.argv[3:]:
    context = ssl.create_default_context() if session is None else tls.context
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, sys.argv[2])
    context.set_alpn_protocols(offer.split(","))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", sys.argv[1])), server_hostname="localhost",
                             session=session) as tls:
        tls.sendall(b"a")
        assert tls.recv(1) == b"a"
        print(tls.selected_alpn_protocol(), "r" if tls.session_reused else ".", end=" ")
        session = tls.session
PY
# echoes, and speaks what the file says, with the next connection what stands behind the next bar
echo x >"$T/speaks"
: >"$T/spoken"
background "${CLEAN[@]}" /usr/bin/python3 - "$speaks" "$T" <<'PY'
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + "/origin.pem", sys.argv[2] + "/origin.key")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    conn, _ = listener.accept()
    speaks = open(sys.argv[2] + "/speaks").read().split("|")
    context.set_alpn_protocols(speaks[min(len(open(sys.argv[2] + "/spoken").read()), len(speaks) - 1)].split())
    try:
        with context.wrap_socket(conn, server_side=True) as tls:
            open(sys.argv[2] + "/spoken", "a").write("r" if tls.session_reused else ".")
            tls.sendall(tls.recv(1))
            tls.recv(1)
    except OSError:
        pass
PY
wait_for 20 listening 127.0.0.1 "$speaks"
spoken() { # WHAT VERSION SPEAKS PROGRAM-SEES SERVER-SEES OFFER...
    local what="$1, $2" version=$2
    echo "$3" >"$T/speaks"
    : >"$T/spoken"
    expect_eq "$what" "$4" "$(exec_local -- /usr/bin/python3 "$T/speak.py" "$speaks" "$version" "${@:6}" | xargs)"
    expect_eq "$what, the server sees" "$5" "$(cat "$T/spoken")"
    echo "ok: $what: $4"
}
for version in TLSv1_2 TLSv1_3; do
    spoken "the same offer" $version "x y" "x . x r" .r x,y x,y
    spoken "the same protocol of another offer" $version "x y" "x . x r" .. x,y x
    spoken "another protocol" $version "x y" "x . y ." .. x,y y
    spoken "none any more" $version "x" "x . None ." .. x y
    spoken "a server that changed its mind" $version "x|y" "x . y ." .r x,y x,y
    spoken "a server that has none any more" $version "x|" "x . None ." .r x,y x,y
done

# ---- what was stapled is said again, as there is no certificate to staple to ---------------------
printf 'V\t361231000000Z\t\t%s\tunknown\t/CN=test origin\n' \
    "$(openssl x509 -noout -serial -in "$T/origin.pem" | cut -d= -f2)" >"$T/index"
openssl ocsp -issuer "$T/ca.pem" -cert "$T/origin.pem" -no_nonce -reqout "$T/request.der" 2>"$T/openssl.log"
openssl ocsp -index "$T/index" -CA "$T/ca.pem" -rsigner "$T/ca.pem" -rkey "$T/ca.key" -reqin "$T/request.der" \
    -respout "$T/staple.der" -ndays 1 >"$T/openssl.log" 2>&1
start_s_server "$staples" origin -status_file "$T/staple.der" -www
exec_local -- sh -c 'for i in 1 2; do printf "GET / HTTP/1.0\r\n\r\n" | openssl s_client -connect "[::1]:$0" \
    -servername localhost -status -ign_eof; done' "$staples" >"$T/out" 2>&1
expect_eq "told" ". r" "$(told)"
expect_eq "stapled to both" 2 "$(grep -ac 'Cert Status: good' "$T/out")"
echo "ok: stapled"

# ---- upstream's certificate changes: the program's own ticket is worth nothing ------------------
cat >"$T/change.sh" <<'SH'
for i in -sess_out -sess_in; do
    printf 'GET /small HTTP/1.0\r\n\r\n' | openssl s_client -connect "localhost:$1" -servername localhost -ign_eof "$i" "$2"
    [ "$i" = -sess_in ] || { cp "$3/other.pem" "$3/origin.pem"; cp "$3/other.key" "$3/origin.key"; kill -HUP "$(cat "$3/nginx.pid")"
        until openssl s_client -connect "localhost:$1" -servername localhost </dev/null 2>/dev/null |
              openssl x509 -noout -enddate | grep -qv "$4"; do sleep 0.1; done; }
done
SH
before=$(openssl x509 -noout -enddate -in "$T/origin.pem")
make_cert other ca "$ORIGIN_SAN" 10
: >"$T/access"
exec_local -- sh "$T/change.sh" "$t13" "$T/session" "$T" "${before#*=}" >"$T/out" 2>&1
expect_eq "a new certificate" "New New" "$(grep -aoE '^(New|Reused), TLS' "$T/out" | cut -d, -f1 | xargs)"
echo "ok: a new certificate"

# ---- a server that cannot bear to be reminded ----------------------------------------------------
background "${CLEAN[@]}" /usr/bin/python3 - "$bad" "$T" <<'PY'
import socket, ssl, sys, threading
# gives sessions, and hangs up on who comes back with one: such a hello ends in pre_shared_key
def reminds(hello):
    return any(hello[at:at + 2] == b"\x00\x29" and at + 4 + int.from_bytes(hello[at + 2:at + 4], "big") == len(hello)
               for at in range(40, len(hello)))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2] + "/origin.pem", sys.argv[2] + "/origin.key")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    conn, _ = listener.accept()
    hello = conn.recv(4096, socket.MSG_PEEK)
    if reminds(hello):
        open(sys.argv[2] + "/reminded", "a").write("came back\n")
        conn.close()
        continue
    try:
        with context.wrap_socket(conn, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsmall\n")
    except OSError:
        pass
PY
wait_for 20 listening 127.0.0.1 "$bad"
expect_eq "three times" ". . ." "$(ask "$bad" localhost TLSv1_3 1 >"$T/out"; exec_local -- sh -c 'for i in 1 2 3; do
    curl -sS "$0"; done' "https://localhost:$bad/small" >"$T/out"; told)"
expect_eq "answers" "small small small" "$(xargs <"$T/out")"
[ -s "$T/reminded" ] || fail "that server was never reminded"
echo "ok: who cannot bear it"
