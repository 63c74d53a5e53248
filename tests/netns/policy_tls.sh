#!/usr/bin/env bash
# Promise: rules about TLS are kept before anything of a request leaves: serverNames, minVersion on both legs, ciphers,
# trustedCA in the place of what the program trusts, clientCertificate; what cannot be kept to is refused by an alert.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_ca private
make_cert origin ca "$ORIGIN_SAN"
make_cert theirs private "$ORIGIN_SAN"
make_client mine private CA:FALSE
mkdir -p "$T/www" "$T/client"
cp "$T/mine.pem" "$T/client/tls.crt"
install -m 600 "$T/mine.key" "$T/client/tls.key"
echo fine >"$T/www/ok"
read -r NEW OLD PRIVATE ASKS PLAIN <<<"$(free_ports 5)"
nginx_server "$NEW" origin
nginx_server "$OLD" origin 'ssl_protocols TLSv1.2;'
nginx_server "$PRIVATE" theirs
nginx_server "$ASKS" origin "ssl_verify_client on; ssl_client_certificate $T/private.pem;"
nginx_server "$PLAIN"
start_nginx

# policy ENTRY: of toPorts
policy() {
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' \
        'spec:' '  egress:' '  - toCIDR: [127.0.0.0/8]' "    toPorts: [{$1}]" >"$T/policy.yaml"
}
run() { "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- "$@"; }
asks() { # NAME:PORT CURL-ARGS...
    : >"$T/access"
    run curl -s -4 --resolve "$1:127.0.0.1" -w '%{http_code}' -o /dev/null "${@:2}" "https://$1/ok" || true
}
decided() { events '[.[] | .process_policy // empty | "\(.verdict) \(.action) \(.point): \(.reason)"] | join(", ")'; }
refused() { # WHAT TOLD NAME:PORT CURL-ARGS...
    expect_eq "$1: curl" 000 "$(asks "${@:3}")"
    expect_eq "$1: the server" 0 "$(wc -l <"$T/access")"
    expect_eq "$1: told" "deny reject $2" "$(decided)"
}
passes() { # WHAT NAME:PORT CURL-ARGS...
    expect_eq "$1: curl" 200 "$(asks "${@:2}")"
    expect_eq "$1: told" "" "$(decided)"
}

policy 'serverNames: [origin.test]'
passes "serverNames: its name" "origin.test:$NEW"
refused "serverNames: another" "tls: no rule allows the name localhost" "localhost:$NEW"
expect_eq "its tls event" "deny cart egress[0].toPorts[0]" "$(events '.[] | .process_tls // empty | "\(.verdict) \(.policy) \(.rule)"')"
run openssl s_client -connect "127.0.0.1:$NEW" -noservername </dev/null >"$T/out" 2>&1 || true
expect_grep "no name: the alert" 'alert access denied' "$T/out"
expect_eq "in the clear" 403 "$(run curl -s -4 -w '%{http_code}' -o /dev/null "http://localhost:$PLAIN/ok")"
expect_eq "in the clear: told" "deny reject http: no rule allows GET /ok" "$(decided)"
echo "ok: serverNames"

policy 'tls: {minVersion: "1.3"}'
passes "minVersion" "localhost:$NEW"
refused "minVersion: the program's" "tls: no rule allows the name localhost" "localhost:$NEW" --tls-max 1.2
expect_eq "minVersion: the server's: curl" 000 "$(asks "localhost:$OLD")"
expect_eq "minVersion: the server's: it" 0 "$(wc -l <"$T/access")"
policy 'tls: {maxVersion: "1.2"}'
passes "maxVersion" "localhost:$NEW"
expect_eq "maxVersion: with the server" TLSv1.2 "$(grep -oE 'TLSv1\.[0-9]' "$T/access")"
echo "ok: versions"

policy 'tls: {ciphers: [TLS_CHACHA20_POLY1305_SHA256]}'
passes "ciphers" "localhost:$NEW"
expect_eq "ciphers: with the server" TLS_CHACHA20_POLY1305_SHA256 "$(events '.[] | .process_tls // empty | .cipher')"
refused "ciphers: none of the program's" "tls: the program offers none of the cipher suites that the rule wants" "localhost:$NEW" \
    --tls13-ciphers TLS_AES_128_GCM_SHA256
echo "ok: ciphers"

policy "tls: {trustedCA: $T/private.pem}"
passes "trustedCA" "localhost:$PRIVATE"
refused "trustedCA: another's" "certificate: the server's certificate was refused: the rule's trustedCA does not vouch for it" "localhost:$NEW"
expect_eq "trustedCA: another's: its tls event" "deny cart egress[0].toPorts[0].tls" "$(events '.[] | .process_tls // empty | "\(.verdict) \(.policy) \(.rule)"')"
# what one program's rules verified is not resumed for another's, which trust others
cp "$(command -v curl)" "$T/curl-1"
cp "$(command -v curl)" "$T/curl-2"
for n in 1 2; do
    policy "$([ "$n" = 1 ] && echo "tls: {trustedCA: $T/private.pem}" || echo "ports: [{port: '$NEW'}]")"
    sed "s/name: cart/name: cart-$n/; s|^spec:|spec:\n  matchBinaries: [{operator: In, values: [$T/curl-$n]}]|" "$T/policy.yaml"
    echo ---
done >"$T/both.yaml"
"${EXEC_LOCAL[@]}" --policy "$T/both.yaml" -- bash -s "$T" "https://localhost:$NEW/ok" >"$T/out" <<'SH' || true
for n in 2 2 1; do "$1/curl-$n" -s -4 -w '%{http_code}\n' -o /dev/null "$2"; done
SH
expect_eq "trustedCA: a session of another program's" "200 200 000" "$(paste -sd' ' "$T/out")"
expect_eq "trustedCA: its own are resumed" "false true" "$(events '[.[] | .process_tls // empty | select(.error | not) | .resumed // false] | join(" ")')"
policy "tls: {trustedCA: $T/none.pem}"
refused "trustedCA: no file" "tls: cannot read $T/none.pem: No such file or directory" "localhost:$NEW"
policy "tls: {clientCertificate: $T/client}"
passes "clientCertificate" "localhost:$ASKS"
echo "ok: files"
