#!/usr/bin/env bash
# Promise: a client that refuses our certificate is told apart from one whose connection failed, with
# how it said so, on its `tls` and its `close`. (Runtimes as they are installed: runtimes.sh.)
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_ca pinned
make_cert origin ca "$ORIGIN_SAN"
read -r good <<<"$(free_ports 1)"
nginx_server "$good" origin
start_nginx
echo small >"$T/www/small"

how() { events "[.[].$1 // empty | .client_refused // \"-\"] | unique | join(\" \")"; }
why() { events "[.[].$1 // empty | .error // \"-\"] | unique | join(\" \")"; }
refused() { # WHAT WORD SENTENCE ON-TLS CMD...
    local what=$1 word=$2 sentence=$3 tls=$4
    shift 4
    ! exec_local -- "$@" >"$T/out" 2>"$T/client.err" || fail "$what: it did not mind"
    expect_eq "$what: on close" "$word" "$(how process_close)"
    expect_eq "$what: why" "$sentence" "$(why process_close)"
    expect_eq "$what: on tls" "$tls" "$(how process_tls)"
    [ "$tls" = - ] || expect_eq "$what: why, on tls" "$sentence" "$(why process_tls)"
    expect_eq "$what: requests" 0 "$(events '[.[].process_http // empty] | length')"
    echo "ok: $what: $word"
}
refused "curl with a root of its own" unknown_ca 'client refused our certificate: unknown ca' unknown_ca \
    curl -sS --cacert "$T/pinned.pem" "https://localhost:$good/small"
refused "the same, TLS 1.2" unknown_ca 'client refused our certificate: unknown ca' unknown_ca \
    curl -sS --tls-max 1.2 --cacert "$T/pinned.pem" "https://localhost:$good/small"
# a name that it did not tell us, so our certificate is for another
refused "s_client with a name of its own" bad_certificate 'client refused our certificate: bad certificate' bad_certificate \
    openssl s_client -connect "localhost:$good" -servername localhost -verify_hostname www.test -verify_return_error

# in the middle of the handshake, without a word: by FIN and by RST
cat >"$T/leave.py" <<'PY'
import socket, ssl, struct, sys
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
how, port = sys.argv[1], int(sys.argv[2])
tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
conn = socket.create_connection(("127.0.0.1", port))
if how == "early":  # half a hello, and no more
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    conn.sendall(outgoing.read()[:100])
    conn.close()
    sys.exit(1)
while True:
    try:
        tls.do_handshake()
        break
    except ssl.SSLWantReadError:
        conn.sendall(outgoing.read())
        incoming.write(conn.recv(65536))
if how == "silent":
    conn.sendall(outgoing.read())
elif how == "reset":
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
conn.close()
sys.exit(1)
PY
leave=(/usr/bin/python3 "$T/leave.py")
refused "FIN instead of Finished" closed 'client refused our certificate: closed without an alert' closed "${leave[@]}" fin "$good"
refused "RST instead of Finished" closed 'client refused our certificate: closed without an alert' closed "${leave[@]}" reset "$good"
refused "not a word after Finished" silent "client left without a word after it saw our certificate" - "${leave[@]}" silent "$good"

# what is none
none() { # WHAT CMD...
    local what=$1
    shift
    exec_local -- "$@" >"$T/out" 2>"$T/client.err" || true
    expect_eq "$what" - "$(how process_close)"
    [ -z "$(how process_tls)" ] || expect_eq "$what, on tls" - "$(how process_tls)"
    echo "ok: $what: none"
}
none "a request" curl -sS "https://localhost:$good/small"
none "a hello that does not end" "${leave[@]}" early "$good"
