#!/usr/bin/env bash
# Promise: a connection that is open is judged by the newest policies from its next request on: it goes on, what they
# deny is refused, and when they are gone it passes again. So a program need not be restarted, nor can it hold on to
# what it was allowed.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
echo fine | tee "$T/www/ok" >"$T/www/admin"
make_cgroup cart
agent_up
pods add --cgroup "$CGROUPS/cart" --name shop/cart --label app=cart
start_program cart cart "${IN_POD[@]}"

policy() { sallyport policy "$1" --runtime-dir "$T/run" "${@:2}" >"$T/said"; }
rules() { # APP PATH
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart, namespace: shop}' 'spec:' \
        "  podSelector: {matchLabels: {app: $1}}" '  egress:' '  - toCIDR: [203.0.113.0/24]' \
        '    toPorts: [{ports: [{port: "443"}, {port: "80"}], rules: {http: [{path: '"$2"'}]}}]' >"$T/cart.yaml"
}
asked() { awk '{ print $1 }' <<<"$(ask cart again "$1")"; }

for way in https http; do
    expect_eq "$way: before" "200 192.0.2.2" "$(ask cart open "$way-ok" "$way://203.0.113.10/ok")"
    expect_eq "$way: before" "200 192.0.2.2" "$(ask cart open "$way-admin" "$way://203.0.113.10/admin")"
done
rules cart /ok
policy apply "$T/cart.yaml"
for way in https http; do
    expect_eq "$way: what is allowed" 200 "$(asked "$way-ok")"
    expect_eq "$way: what is denied" 403 "$(asked "$way-admin")"
done
rules other /ok
policy apply "$T/cart.yaml"
expect_eq "for others" 200 "$(asked https-admin)"
rules cart /admin
policy apply "$T/cart.yaml"
expect_eq "other rules" "403 200" "$(asked https-ok) $(asked https-admin)"
policy remove shop/cart
expect_eq "none" "200 200" "$(asked https-ok) $(asked https-admin)"
expect_eq "all over the same connections" 4 "$(jq -r '.process_connect // empty | .socket.sport' "$EVENTS" | sort -u | wc -l)"
echo "ok: open connections follow"
