#!/usr/bin/env bash
# Promise: a rule about requests decides on each of them, over TLS and in the clear, HTTP/1 and HTTP/2: what is refused
# never reaches the server, is answered 403 with the policy, the rule and why, and is told; its connection goes on.
# onDeny, mode, consistency and a changed policy do what they say.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
mkdir -p "$T/www"
echo fine >"$T/www/ok"
echo secret >"$T/www/admin"
read -r H1 H2 PLAIN <<<"$(free_ports 3)"
nginx_server "$H1" origin
NGINX_SPEAKS=http2 nginx_server "$H2" origin
nginx_server "$PLAIN"
start_nginx

# policy SPEC-LINES...: policy shop/cart; the rules about requests stand in $RULES
policy() {
    {
        printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }"
        printf '  egress:\n  - toCIDR: [127.0.0.0/8]\n    toPorts:\n'
        printf '    - ports: [{port: "%s", protocol: TCP}, {port: "%s", protocol: TCP}, {port: "%s", protocol: TCP}]\n' "$H1" "$H2" "$PLAIN"
        printf '      rules: {http: [%s]}\n' "${RULES:-{method: \"GET|HEAD\", path: /ok.*\}, {method: POST, path: /ok\}}"
    } >"$T/policy.yaml"
}
run() { "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- "$@"; }
CURL=(curl -s -4)
# asks PORT ARGS... URL-PATHS: what came of each, a line each: status, connections made for it
asks() {
    local url=https://localhost:$1 args=("${@:2}") path paths=() n=0
    [ "$1" != "$PLAIN" ] || url=http://localhost:$1
    for path in $PATHS; do paths+=("$url$path" -o "$T/body$((++n))"); done
    : >"$T/access"
    run "${CURL[@]}" "${args[@]}" --path-as-is -w '%{http_code} %{num_connects}\n' "${paths[@]}"
}
saw() { cut -d' ' -f2,3 "$T/access"; }
told() { events "[.[] | .process_http // empty | \"\(.path) \(.code // 0) \(.verdict) \(.policy // \"-\") \(.rule // \"-\")\"] | join(\", \")"; }
decided() { events "[.[] | .process_policy // empty | \"\(.verdict) \(.action) \(.mode) \(.point): \(.reason)\"] | join(\", \")"; }

policy
where='egress[0].toPorts[0]'
for way in "$H1 --http1.1" "$H2 --http2" "$PLAIN --http1.1"; do
    read -r port http <<<"$way"
    PATHS='/ok /admin /ok?2'
    expect_eq "$way: the answers" "200 1"$'\n'"403 0"$'\n'"200 0" "$(asks "$port" "$http")"
    expect_eq "$way: what the server saw" "GET /ok"$'\n'"GET /ok?2" "$(saw)"
    expect_eq "$way: why" "sallyport: denied by policy cart, $where: no rule allows GET /admin" "$(cat "$T/body2")"
    expect_eq "$way: told of each" "/ok 200 allow cart $where.rules.http[0], /admin 403 deny cart $where, /ok 200 allow cart $where.rules.http[0]" "$(told)"
    expect_eq "$way: told of the policy" "deny reject enforce http: no rule allows GET /admin" "$(decided)"
    PATHS='/ok%2f../admin /ok'
    expect_eq "$way: a path that two could read differently" "400" "$(asks "$port" "$http" | head -c 3)"
    expect_eq "$way: a path that leads elsewhere" "403" "$(PATHS=/ok/../admin asks "$port" "$http" | head -c 3)"
    PATHS='/admin /ok'
    expect_eq "$way: a body goes nowhere" "403 1"$'\n'"405 0" "$(asks "$port" "$http" -d "$(printf 'x%.0s' {1..5000})")"
    expect_eq "$way: a body goes nowhere" "POST /ok" "$(saw)"
    head -c 100000 /dev/zero >"$T/large"
    expect_eq "$way: nor does a large one" "403" "$(PATHS=/admin asks "$port" "$http" --data-binary "@$T/large" -H Expect: | head -c 3)"
    expect_eq "$way: nor does a large one" "" "$(saw)"
done
echo "ok: requests are refused, and told"

PATHS=/admin asks "$H2" --http2 -H 'content-type: application/grpc' -d x -D "$T/head" >"$T/out"
expect_grep "gRPC: its status" '^grpc-status: 7' "$T/head"
expect_grep "gRPC: why" '^grpc-message: sallyport: denied by policy cart' "$T/head"
expect_grep "gRPC: HTTP went well" '^200 ' "$T/out"
echo "ok: gRPC"

for way in "$H1 --http1.1" "$H2 --http2"; do
    read -r port http <<<"$way"
    policy 'onDeny: reset'
    PATHS=/admin expect_status "$way, reset: curl" 56 asks "$port" "$http" >"$T/out"
    expect_eq "$way, reset: the server" "" "$(saw)"
    expect_eq "$way, reset: told" "/admin 0 deny cart $where" "$(told)"
    policy 'mode: monitor'
    expect_eq "$way, monitor: the answer" "200 1" "$(PATHS=/admin asks "$port" "$http")"
    expect_eq "$way, monitor: told" "/admin 200 alert cart $where" "$(told)"
    expect_eq "$way, monitor: told" "alert reject monitor http: no rule allows GET /admin" "$(decided)"
done
echo "ok: reset, and monitor"
