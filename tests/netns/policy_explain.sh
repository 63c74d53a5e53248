#!/usr/bin/env bash
# Promise: `policy explain` says of a request what becomes of it: verdict, point, policy and rule are those
# that are told when the request is made, whoever is asked: the agent, or files. It explains what it was
# asked about and nobody sends anything for it; what is no question is refused in a sentence.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 8443 origin
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
mkdir -p "$T/www"
echo ok >"$T/www/ok"
mkdir "$T/run"
mount -t tmpfs -o size=1m,mode=700 none "$T/run"
make_cgroup cart
CURL=$(readlink -f "$(command -v curl)")
cat >"$T/policy.yaml" <<POLICY
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  egress:
  - toCIDR: [203.0.113.0/24]
    toPorts:
    - ports: [{port: "443"}, {port: "80"}]
      rules:
        http:
        - {method: "GET|HEAD", path: "/ok(/.*)?"}
        - {method: DELETE, headers: ["x-tenant: a"]}
    - ports: [{port: "8443"}]
      serverNames: [origin.test]
  inspect: {consistency: deny}
---
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: curl, namespace: shop}
spec:
  matchBinaries: [{operator: In, values: [$CURL]}]
  egressDeny:
  - toCIDR: [203.0.113.10/32]
    toPorts: [{ports: [{port: "443"}], rules: {http: [{path: /ok/curl}]}}]
---
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: watch, namespace: shop}
spec:
  mode: monitor
  egressDeny: [{toPorts: [{ports: [{port: "80"}], rules: {http: [{path: /ok/watched}]}}]}]
POLICY
explain() { sallyport policy explain --runtime-dir "$T/run" --pod shop/cart --binary "$CURL" -o json "$@"; }
said() { jq -r '"\(.verdict) \(.point) \(.policy) \(.rule)"'; }
closed() { [ "$(told .process_close)" -ge "$1" ]; }
# What was told last: what denies or alerts, else who allowed the request.
happened() {
    tail -n "+$1" "$EVENTS" | jq -s -r '[.[] | .process_policy // empty | "\(.verdict) \(.point) \(.policy) \(.rule)"]
        + [.[] | .process_http // empty | "\(.verdict) http \(.policy) \(.rule)"] | .[0]'
}
# agree WANTED CURL-OPTIONS -- EXPLAIN-OPTIONS -- METHOD URL
agree() {
    local wanted=$1 curl=() options=() before closes
    shift
    while [ "$1" != -- ]; do curl+=("$1"); shift; done
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    expect_eq "$*: explained by the agent" "$wanted" "$(explain "${options[@]}" "$@" | said)"
    expect_eq "$*: by the file" "$wanted" "$(explain --policy "$T/policy.yaml" --label app=cart "${options[@]}" "$@" | said)"
    before=$(($(wc -l <"$EVENTS") + 1)) closes=$(told .process_close)
    "${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD[@]}" "${CLEAN[@]}" curl -sS -m 20 -o "$T/answer" --path-as-is \
        --cacert "$T/trusted.pem" "${curl[@]}" -X "$1" "$2" 2>"$T/client.err" || true
    wait_for 10 closed $((closes + 1))
    expect_eq "$*: what happened" "$wanted" "$(happened "$before")"
}

agent_up
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart --label app=cart
sallyport policy apply --runtime-dir "$T/run" "$T/policy.yaml" >/dev/null
A=203.0.113.10 RULES='egress[0].toPorts[0]'
agree "allow http shop/cart $RULES.rules.http[0]" -- -- GET https://$A/ok
agree "allow http shop/cart $RULES.rules.http[0]" -- -- GET http://$A/ok/b?/c
agree "deny http shop/cart $RULES" -- -- GET https://$A/
agree "deny http shop/cart $RULES" -- -- POST http://$A/ok
agree "deny http shop/cart $RULES" -- -- GET https://$A/ok/../secret
agree "deny http shop/curl egressDeny[0].toPorts[0].rules.http[0]" -- -- GET https://$A/ok/curl
agree "alert http shop/watch egressDeny[0].toPorts[0].rules.http[0]" -- -- GET http://$A/ok/watched
agree "allow http shop/cart $RULES.rules.http[1]" -H 'x-tenant: a' -- -H 'x-tenant: a' -- DELETE https://$A/x
agree "deny http shop/cart $RULES" -H 'x-tenant: b' -- -H 'x-tenant: b' -- DELETE https://$A/x
agree "deny tls shop/cart egress[0].toPorts[1]" -- -- GET https://$A:8443/ok
agree "deny tls shop/cart inspect.consistency" --resolve origin.test:443:$A -- --address $A --resolved x.test -- GET https://origin.test/ok

requests=$(wc -l <"$T/access")
expect_grep "for a person" "^deny at http by shop/cart egress\[0\].toPorts\[0\]: no rule allows GET /$" \
    <(sallyport policy explain --runtime-dir "$T/run" --pod shop/cart GET https://$A/)
expect_grep "another program is under other policies" ': its matchBinaries leave this program out' \
    <(sallyport policy explain --runtime-dir "$T/run" --pod shop/cart --binary /bin/wget GET https://$A/ok/curl)
expect_eq "a command is nobody's pod" "allow connect null null" \
    "$(sallyport policy explain --runtime-dir "$T/run" -o json connect $A:22 | said)"
expect_eq "another Host: explained" "deny http shop/cart inspect.consistency" \
    "$(explain --address $A -H 'Host: other.test' GET http://$A/ok | said)"
assumed() { sallyport policy explain --policy "$T/policy.yaml" --label app=cart --pod shop/x "$@" GET http://origin.test/; }
expect_grep "what is assumed is told" '^assumed, for want of --resolved: the pod was told that origin.test is at the address$' <(assumed)
expect_grep "... and what is not known" '^deny at connect by shop/cart egress: no rule allows an unknown address at port 80/TCP$' <(assumed)
expect_no_grep "... if it is" 'assumed' <(assumed --resolved a.test)
expect_grep "in the clear" 'no rule allows what is said in the clear to 203.0.113.10:8443/TCP' \
    <(sallyport policy explain --policy "$T/policy.yaml" --label app=cart --pod shop/x GET http://$A:8443/)
expect_status "no such pod" 1 explain --pod shop/nobody GET https://$A/ 2>"$T/err"
expect_grep "no such pod" "^sallyport: there is no pod shop/nobody$" "$T/err"
expect_status "no URL" 1 explain GET $A 2>"$T/err"
expect_grep "no URL" "begins neither with https:// nor" "$T/err"
expect_status "nothing" 2 explain 2>"$T/err"
expect_eq "nothing was sent" "$requests" "$(wc -l <"$T/access")"

# ---- at random -----------------------------------------------------------------------------------

sallyport policy remove --runtime-dir "$T/run" shop/cart shop/curl shop/watch >"$T/removed"
SEED=${SEED:-$RANDOM}
expect_status "random cases (SEED=$SEED)" 0 "${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 \
    "$HERE/policy_random.py" "$T/run" "$EVENTS" "$T/trusted.pem" cart 203.0.113.10 1000 "$SEED" >&9
agent_down
