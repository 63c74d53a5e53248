#!/usr/bin/env bash
# Promise: whom a plain proxy is asked to lead to, and what goes through, is judged like what is asked directly: CONNECT
# to another name never reaches the proxy, another SNI inside ends there, requests inside are judged one by one, what
# cannot be read does not pass. Who allows the proxy without conditions allows what goes through it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN,DNS:evil.test"
mkdir -p "$T/www"
echo fine | tee "$T/www/a" >"$T/www/b"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
background /usr/bin/python3 "$HERE/connect_proxy.py" "$T/origin.pem" "$T/origin.key" >"$T/ports"
has_proxy() { grep -q ^proxy "$T/ports"; }
wait_for 10 has_proxy
proxy=$(awk '$1 == "proxy" { print $2 }' "$T/ports")

policy() { # LINES OF SPEC...
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }" >"$T/policy.yaml"
}
asks() { # NAMES/PATHS...: the statuses of CONNECT and of the request
    local urls=() url
    for url in "$@"; do urls+=(-o "$T/body" "https://${url/\//:$port/}"); done
    : >"$T/access"
    "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- curl -s -x "http://127.0.0.1:$proxy" -w '%{http_connect} %{http_code}\n' "${urls[@]}" || true
}
saw() { cut -d' ' -f2,3 "$T/access"; }
decided() { events '[.[] | .process_policy // empty | "\(.verdict) \(.point): \(.reason)"] | join(", ")'; }
lines() { printf '%s\n' "$@"; }

to_proxy="- toCIDR: [127.0.0.1/32]"
rules=('egress:' "$to_proxy" "  toPorts: [{ports: [{port: \"$proxy\"}], rules: {http: [{method: CONNECT}]}}]"
       '- toFQDNs: [{matchName: origin.test}]' "  toPorts: [{ports: [{port: \"$port\"}], rules: {http: [{path: /a}]}}]")
policy "${rules[@]}"
expect_eq "inside" "$(lines '200 200' '000 403')" "$(asks origin.test/a origin.test/b)"
expect_eq "inside: the server" "GET /a" "$(saw)"
expect_eq "inside: told" "deny http: no rule allows GET /b" "$(decided)"
expect_eq "another name" "403 000" "$(asks evil.test/a)"
expect_eq "another name: told" "deny http: no rule allows CONNECT evil.test:$port" "$(decided | sed 's/the name evil.test/CONNECT evil.test:'"$port"'/')"
expect_eq "another name: the server" "" "$(saw)"
"${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- openssl s_client -proxy "127.0.0.1:$proxy" -connect "origin.test:$port" \
    -servername evil.test </dev/null >"$T/out" 2>&1 || true
expect_grep "another SNI inside" 'alert access denied' "$T/out"
"${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- bash -c "exec 3<>/dev/tcp/127.0.0.1/$proxy
    printf 'CONNECT origin.test:$port HTTP/1.1\r\nHost: origin.test\r\n\r\n' >&3; read -r line <&3; read -r line <&3
    echo 'the secret word' >&3; ! read -r line <&3" 2>"$T/out" || true
expect_eq "what cannot be read" "deny visibility: it is neither TLS nor HTTP" "$(decided)"
echo "ok: a tunnel is judged by whom it leads to, and by what goes through"

policy 'egress:' "$to_proxy" "  toPorts: [{ports: [{port: \"$proxy\"}]}]"
expect_eq "a proxy without conditions" "200 200" "$(asks evil.test/b)"
policy 'egress:' "$to_proxy" "  toPorts: [{ports: [{port: \"$proxy\"}]}]" 'egressDeny: [{toFQDNs: [{matchName: evil.test}]}]'
expect_eq "... but for what is denied" "403 000" "$(asks evil.test/b)"
echo "ok: a proxy without conditions"
