#!/usr/bin/env bash
# Promise: what the pod would not have trusted, it is not shown as trusted: a bad upstream
# certificate is a TLS alert for the client and a reason in the event, and no byte of the request
# leaves. TLS 1.2 works on either side. What we cannot speak passes through untouched.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_ca stranger
make_cert origin ca "$ORIGIN_SAN"
make_cert expired ca "$ORIGIN_SAN" -1
make_cert wrong ca DNS:other.test,IP:192.0.2.99
make_cert self self "$ORIGIN_SAN"
make_cert unknown stranger "$ORIGIN_SAN"
read -r good old expired wrong self unknown acme optional <<<"$(free_ports 8)"
nginx_server "$good" origin
nginx_server "$old" origin 'ssl_protocols TLSv1.2;'
nginx_server "$expired" expired
nginx_server "$wrong" wrong
nginx_server "$self" self
nginx_server "$unknown" unknown
nginx_server "$optional" origin "ssl_verify_client optional; ssl_client_certificate $T/ca.pem;"
start_nginx
echo small >"$T/www/small"

# ---- refused --------------------------------------------------------------------

refused() { # port, words in the reason, curl's exit status for such an alert
    local port=$1 words=$2
    : >"$T/access"
    expect_status "curl: $words" "$3" exec_local -- curl -sS "https://localhost:$port/small" >"$T/out" 2>"$T/client.err"
    expect_eq "requests that reached the origin: $words" 0 "$(wc -l <"$T/access")"
    expect_eq "http events: $words" 0 "$(events '[.[].process_http // empty] | length')"
    expect_eq "tls events: $words" 1 "$(events '[.[].process_tls // empty] | length')"
    events '.[].process_tls // empty | .error' >"$T/reason"
    expect_grep "reason" "$words" "$T/reason"
    expect_status "openssl s_client: $words" 1 exec_local -- openssl s_client \
        -connect "localhost:$port" -servername localhost </dev/null >"$T/out" 2>"$T/client.err"
    expect_grep "alert for openssl: $words" 'alert' "$T/client.err"
    expect_no_grep "certificates shown: $words" 'BEGIN CERTIFICATE' "$T/out"
    expect_status "wget: $words" 4 exec_local -- wget -q -t 1 -O /dev/null "https://localhost:$port/small"
    echo "ok: $(cat "$T/reason")"
}
refused "$expired" 'expired' 60
refused "$wrong" '[Hh]ostname mismatch|name' 35
refused "$self" 'self.signed' 35
refused "$unknown" 'unable to get (local )?issuer|unknown|self.signed' 35

# a client certificate: who demands one is left alone (upstream_certs.sh)
expect_status "one that can do without" 0 exec_local -- curl -sS -o "$T/answer" "https://localhost:$optional/small"
expect_eq "told" 200 "$(events '.[].process_http // empty | .code')"

# without --upstream-ca the pod trusts what it did before, which is not our CA
expect_status "no --upstream-ca" 35 sallyport exec --loopback --ports all --events-file "$EVENTS" -- \
    curl -sS "https://localhost:$good/small" 2>"$T/client.err"
# and what the caller's own variable adds is trusted as before
expect_status "SSL_CERT_FILE of the command" 0 clean SSL_CERT_FILE="$T/ca.pem" "$SALLYPORT" exec --loopback --ports all \
    --events-file "$EVENTS" -- curl -sS -o "$T/answer" "https://localhost:$good/small"

# and roots in a directory that stands for the system's, beside a file that is none
mkdir "$T/roots"
cp "$T/ca.pem" "$T/roots/$(openssl x509 -noout -hash -in "$T/ca.pem").0"
for file in /nonexistent /dev/null; do
    expect_status "SSL_CERT_DIR with SSL_CERT_FILE=$file" 0 clean SSL_CERT_DIR="$T/roots" SSL_CERT_FILE=$file \
        "$SALLYPORT" exec --loopback --ports all --events-file "$EVENTS" -- /usr/bin/python3 -c \
        'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "https://localhost:$good/small"
    expect_grep "it is told" 'http .* GET /small 200' "$EVENTS"
done

# what another program's variable adds is no business of a program that does not read it
for variable in NODE_EXTRA_CA_CERTS DENO_CERT REQUESTS_CA_BUNDLE; do
    expect_status "curl with $variable" 60 clean $variable="$T/ca.pem" "$SALLYPORT" exec --loopback --ports all \
        --events-file "$EVENTS" -- curl -sS "https://localhost:$good/small" 2>"$T/client.err"
    expect_grep "it is told" 'client refused our certificate: unknown ca' "$EVENTS"
done
expect_status "REQUESTS_CA_BUNDLE with an SSL_CERT_FILE that is none" 1 clean SSL_CERT_FILE=/nonexistent \
    REQUESTS_CA_BUNDLE="$T/ca.pem" "$SALLYPORT" exec --loopback --ports all --events-file "$EVENTS" -- \
    /usr/bin/python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' \
    "https://localhost:$good/small" 2>"$T/client.err"
expect_grep "it says" 'CERTIFICATE_VERIFY_FAILED' "$T/client.err"

# ---- versions -------------------------------------------------------------------

version() { # what, port, version the client ends up with, upstream's version, curl options...
    local what=$1 port=$2 pod=$3 upstream=$4
    shift 4
    : >"$T/access"
    expect_status "$what" 0 exec_local -- curl -sSv -o "$T/answer" "$@" "https://localhost:$port/small" 2>"$T/client.err"
    expect_eq "$what" small "$(cat "$T/answer")"
    expect_grep "$what, pod leg" "SSL connection using $pod " "$T/client.err"
    expect_grep "$what, upstream leg" " $upstream " "$T/access"
    expect_eq "$what, events" 1 "$(events '[.[].process_http // empty] | length')"
}
version "TLS 1.3 on both legs" "$good" TLSv1.3 TLSv1.3
version "a client with TLS 1.2 only" "$good" TLSv1.2 'TLSv1[.][23]' --tls-max 1.2
version "a server with TLS 1.2 only" "$old" 'TLSv1[.][23]' TLSv1.2
version "both with TLS 1.2 only" "$old" TLSv1.2 TLSv1.2 --tls-max 1.2

# ---- passed through: TLS that is more than a wrapping ------------------------------

start_s_server "$acme" origin -alpn acme-tls/1 -quiet
(sleep 1 && echo hello) | exec_local -- timeout 20 openssl s_client -connect "[::1]:$acme" -alpn acme-tls/1 \
    -servername origin.test -CAfile "$T/ca.pem" -verify_return_error -showcerts \
    -no_ign_eof >"$T/seen" 2>"$T/client.err" || fail "s_client: $(cat "$T/client.err")"
expect_grep "ALPN" '^ALPN protocol: acme-tls/1' "$T/seen"
openssl x509 -in "$T/seen" -out "$T/leaf.pem"
expect_eq "the origin's own certificate" "$(openssl x509 -in "$T/origin.pem")" "$(cat "$T/leaf.pem")"
wait_for 5 grep -q hello "$T/s_server.$acme.out"
expect_eq "how it is told" "origin.test opaque" "$(events '.[].process_tls // empty | "\(.sni) \(.visibility)"')"
expect_eq "how its close is told" "opaque other protocol" "$(events '.[].process_close // empty | "\(.visibility) \(.visibility_reason)"')"
expect_eq "http events of it" 0 "$(events '[.[].process_http // empty] | length')"
