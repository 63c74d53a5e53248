#!/usr/bin/env bash
# Promise: to a server that asks for a client certificate the one kept for its name is shown, with its
# chain, and what is said is read as ever; a server without one there is left to the program, as
# before; that a server refuses it is told; a directory that is not whole is refused, with the file.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "DNS:one.test,DNS:other.test,DNS:*.wild.test"
make_ca clients
make_client() { # NAME CA BASIC: a client's certificate, or a CA between
    {
        openssl req -config "$T/openssl.cnf" -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -keyout "$T/$1.key" -out "$T/$1.csr" -subj "/CN=client $1" &&
        openssl x509 -req -in "$T/$1.csr" -CA "$T/$2.pem" -CAkey "$T/$2.key" -CAcreateserial -days 20 \
            -out "$T/$1.pem" -extfile - <<<"basicConstraints=critical,$3"
    } 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
}
make_client between clients CA:TRUE
make_client one between CA:FALSE
make_client wild between CA:FALSE
make_client own between CA:FALSE
make_ca strangers
make_client stranger strangers CA:FALSE

put() { # DIR NAME CERT
    mkdir -p "$T/$1/$2"
    cat "$T/$3.pem" "$T/between.pem" >"$T/$1/$2/tls.crt"
    install -m 600 "$T/$3.key" "$T/$1/$2/tls.key"
}
put certs one.test one
mkdir -p "$T/certs"
cat "$T/wild.pem" "$T/between.pem" >"$T/certs/*.wild.test.crt"
install -m 600 "$T/wild.key" "$T/certs/*.wild.test.key"
put foreign one.test stranger
cat "$T/own.pem" "$T/between.pem" >"$T/own-chain.pem"

read -r asks demands <<<"$(free_ports 2)"
nginx_server "$asks" origin "ssl_client_certificate $T/clients.pem; ssl_verify_client on; ssl_verify_depth 2;
    location /who { return 200 \"\$ssl_client_s_dn \$ssl_client_verify\"; }"
start_nginx
start_s_server "$demands" origin -Verify 2 -verify_return_error -CAfile "$T/clients.pem" -www

# fetch DIR NAME PORT PATH CURL_OPTIONS...
fetch() {
    local dir=$1 name=$2 port=$3 path=$4
    shift 4
    exec_local --client-certificates "$T/$dir" -- curl -sS "$@" --resolve "$name:$port:[::1]" \
        "https://$name:$port$path"
}
told() { events "[.[].process_tls // empty][0].$1"; }

for version in 1.2 1.3; do
    only=(--tlsv1.2 --tls-max "$version" "--tlsv$version")
    expect_eq "a certificate for the name, TLS $version" "CN=client one SUCCESS" \
        "$(fetch certs one.test "$asks" /who "${only[@]}")"
    expect_eq "is told" "CN=client one TLS$version terminated" \
        "$(told client_certificate) $(told version) $(told visibility)"
    expect_eq "and the request seen" "GET /who 200" \
        "$(events '.[].process_http // empty | "\(.method) \(.path) \(.code)"')"
    expect_eq "one for all below a name, TLS $version" "CN=client wild SUCCESS" \
        "$(fetch certs a.wild.test "$asks" /who "${only[@]}")"
    expect_status "who demands it, TLS $version" 0 fetch certs one.test "$demands" / "${only[@]}" >"$T/answer"
    expect_grep "has seen it" 'client one' "$T/answer"
    expect_eq "and is looked into" terminated "$(told visibility)"

    # as it was without the option
    expect_eq "another name, asked, TLS $version" 400 \
        "$(fetch certs other.test "$asks" /who -o "$T/answer" -w '%{http_code}' "${only[@]}")"
    expect_eq "is shown nothing" null "$(told client_certificate)"
    expect_status "another name, demanded, TLS $version" 0 fetch certs other.test "$demands" / "${only[@]}" \
        --cacert "$T/ca.pem" --cert "$T/own-chain.pem" --key "$T/own.key" >"$T/answer"
    expect_grep "sees the program's own" 'client own' "$T/answer"
    expect_eq "and is left alone" "opaque client certificate" "$(told visibility) $(told visibility_reason)"

    expect_status "one that the server refuses, TLS $version" 35 fetch foreign one.test "$demands" / "${only[@]}" \
        2>"$T/client.err"
    expect_eq "is told" "CN=client stranger" "$(told client_certificate)"
    expect_grep "with the server's word" 'the server refused the client certificate for one.test: alert' "$EVENTS"
    echo "ok: TLS $version"
done

refused() { # DIR FILE
    expect_status "--client-certificates $1" 125 fetch "$1" one.test "$asks" /who >"$T/out" 2>"$T/client.err"
    expect_eq "sentences" 1 "$(wc -l <"$T/client.err")"
    expect_grep "names the file" "^sallyport: .*$T/$1/?$2" "$T/client.err"
    echo "ok: $(cat "$T/client.err")"
}
put readable one.test one; chmod 640 "$T/readable/one.test/tls.key"
refused readable one.test/tls.key
put mixed one.test one; cat "$T/wild.key" >"$T/mixed/one.test/tls.key"
refused mixed one.test/tls.key
put half one.test one; rm "$T/half/one.test/tls.crt"
refused half one.test/tls.crt
put odd one.test one; touch "$T/odd/two.test.pem"
refused odd two.test.pem
refused nowhere ''
