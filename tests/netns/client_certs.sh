#!/usr/bin/env bash
# Promise: to a server that asks for a client certificate the one kept for its name is shown, with its
# chain, once it has proven to be that server, and what is said is read as ever; a server without one
# there is left to the program, as before; that a server refuses it is told; a directory that is not
# whole is refused, with the file.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "DNS:one.test,DNS:other.test,DNS:*.wild.test"
make_ca clients
make_client between clients CA:TRUE
make_client one between CA:FALSE
make_client wild between CA:FALSE
make_client own between CA:FALSE
make_ca strangers
make_cert false strangers DNS:one.test
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

read -r asks demands false <<<"$(free_ports 3)"
nginx_server "$asks" origin "ssl_client_certificate $T/clients.pem; ssl_verify_client on; ssl_verify_depth 2;
    location /who { return 200 \"\$ssl_client_s_dn \$ssl_client_verify\"; }"
nginx_server "$false" false "ssl_client_certificate $T/clients.pem; ssl_verify_client on; ssl_verify_depth 2;"
start_nginx
start_s_server "$demands" origin -Verify 2 -verify_return_error -CAfile "$T/clients.pem" -www

# Each line of its input: NAME PORT PATH CURL_OPTIONS...; the answer's code, then the answer, in $T/NAME.PORT.
cat >"$T/fetch" <<'SH'
while read -r name port path options; do
    code=0
    # shellcheck disable=SC2086 # several
    curl -sS $2 $options --resolve "$name:$port:[::1]" -o "$1/$name.$port" -w '%{http_code}' \
        "https://$name:$port$path" >"$1/$name.$port.code" 2>"$1/client.err" || code=$?
    echo " $code" >>"$1/$name.$port.code"
done
SH
# fetch DIR CURL_OPTIONS LINES: all of them in one run.
fetch() {
    exec_local --client-certificates "$T/$1" -- bash "$T/fetch" "$T" "$2" <<<"$3"
}
got() { echo "$(cat "$T/$1.code") $(cat "$T/$1")"; } # NAME.PORT
# told NAME PORT FIELD: of the last of the tls events about it
told() {
    events "[.[].process_tls | select(. and .sni == \"$1\" and .socket.dport == $2)][-1].$3"
}

for version in 1.2 1.3; do
    only="--tls-max $version --tlsv$version"
    fetch certs "$only" "one.test $asks /who
a.wild.test $asks /who
one.test $demands /
one.test $false /
other.test $asks /who
other.test $demands / --cacert $T/ca.pem --cert $T/own-chain.pem --key $T/own.key"
    expect_eq "a certificate for the name, TLS $version" "200 0 CN=client one SUCCESS" "$(got "one.test.$asks")"
    expect_eq "is told" "CN=client one TLS$version terminated" "$(told one.test "$asks" client_certificate) \
$(told one.test "$asks" version) $(told one.test "$asks" visibility)"
    expect_eq "and the request seen" "GET /who 200" \
        "$(events '[.[].process_http // empty | select(.host == "one.test")][0] | "\(.method) \(.path) \(.code)"')"
    expect_eq "one for all below a name, TLS $version" "200 0 CN=client wild SUCCESS" "$(got "a.wild.test.$asks")"
    expect_grep "who demands it, TLS $version" 'client one' "$T/one.test.$demands"
    expect_eq "is looked into" terminated "$(told one.test "$demands" visibility)"
    expect_eq "who only says that he is that server" "000 35" "$(cat "$T/one.test.$false.code")"
    expect_eq "is shown nothing" "null the certificate for one.test was refused" \
        "$(told one.test "$false" client_certificate) $(told one.test "$false" error | cut -d: -f1)"

    # as it was without the option
    expect_eq "another name, asked, TLS $version" "400 0" "$(cat "$T/other.test.$asks.code")"
    expect_eq "is shown nothing" null "$(told other.test "$asks" client_certificate)"
    expect_grep "another name, demanded, TLS $version: the program's own" 'client own' "$T/other.test.$demands"
    expect_eq "is left alone" "opaque client certificate" \
        "$(told other.test "$demands" visibility) $(told other.test "$demands" visibility_reason)"

    fetch foreign "$only" "one.test $demands /"
    expect_eq "one that the server refuses, TLS $version" "000 35" "$(cat "$T/one.test.$demands.code")"
    expect_eq "is told" "CN=client stranger" "$(told one.test "$demands" client_certificate)"
    expect_grep "with the server's word" 'the server refused the client certificate for one.test: alert' "$EVENTS"
    rm "$T"/*.test.*
    echo "ok: TLS $version"
done

refused() { # DIR FILE
    expect_status "--client-certificates $1" 125 fetch "$1" '' '' >"$T/out" 2>"$T/client.err"
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
