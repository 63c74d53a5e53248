#!/usr/bin/env bash
# Promise: a rule about requests decides on each of them, over TLS and in the clear, HTTP/1 and HTTP/2: what is refused
# never reaches the server, is answered 403 with the policy, the rule and why, and is told; its connection goes on.
# onDeny: reset, mode: monitor and consistency do what they say.
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

# policy SPEC-LINES...: policy cart
policy() {
    {
        printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }"
        printf '  egress:\n  - toCIDR: [127.0.0.0/8]\n    toPorts:\n'
        printf '    - ports: [{port: "%s", protocol: TCP}, {port: "%s", protocol: TCP}, {port: "%s", protocol: TCP}]\n' "$H1" "$H2" "$PLAIN"
        printf '      rules: {http: [{method: "GET|HEAD", path: /ok.*}, {method: POST, path: /post/.*}]}\n'
    } >"$T/policy.yaml"
}
# asks PORT ARGS... PATHS: what came of each, a line each: status, connections made for it; the bodies in $T/body1, ...
asks() {
    local url=https://localhost:$1 args=("${@:2:$#-2}") path paths=() n=0
    [ "$1" != "$PLAIN" ] || url=http://localhost:$1
    for path in ${!#}; do paths+=("$url$path" -o "$T/body$((++n))"); done
    : >"$T/access"
    "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- curl -s -4 --path-as-is -w '%{http_code} %{num_connects}\n' "${args[@]}" "${paths[@]}"
}
lines() { printf '%s\n' "$@"; }
saw() { cut -d' ' -f2,3 "$T/access"; }
told() { events "[.[] | .process_http // empty | \"\(.path) \(.code // 0) \(.verdict) \(.policy // \"-\") \(.rule // \"-\")\"] | join(\", \")"; }
decided() { events "[.[] | .process_policy // empty | \"\(.verdict) \(.action) \(.mode) \(.point): \(.reason)\"] | join(\", \")"; }

policy
rules='egress[0].toPorts[0]'
head -c 100000 /dev/zero >"$T/large"
for way in "$H1 --http1.1" "$H2 --http2" "$PLAIN --http1.1"; do
    read -r port http <<<"$way"
    expect_eq "$way: the answers" "$(lines '200 1' '403 0' '200 0' '403 0' '400 0')" "$(asks "$port" "$http" '/ok /admin /ok?2 /ok/../admin /ok%2fx')"
    expect_eq "$way: what the server saw" "$(lines 'GET /ok' 'GET /ok?2')" "$(saw)"
    expect_eq "$way: why" "sallyport: denied by policy cart, $rules: no rule allows GET /admin" "$(cat "$T/body2")"
    expect_eq "$way: told of each" "/ok 200 allow cart $rules.rules.http[0], /admin 403 deny cart $rules, /ok 200 allow cart $rules.rules.http[0]" \
        "$(told | cut -d, -f1-3)"
    expect_eq "$way: told of the policy" "deny reject enforce http: no rule allows GET /admin" "$(decided | cut -d, -f1)"
    expect_eq "$way: a body goes nowhere" "$(lines '403 1' '201 0')" "$(asks "$port" "$http" -d "$(printf 'x%.0s' {1..5000})" "/admin /post/$port")"
    expect_eq "$way: a body goes nowhere" "POST /post/$port" "$(saw)"
done
expect_eq "HEAD has no body" "$(lines '403 1' '200 0')" "$(asks "$H1" --http1.1 -I '/admin /ok')"
expect_eq "nor does a large one" "$(lines '403 1' '201 1')" "$(asks "$H1" --http1.1 --data-binary "@$T/large" -H Expect: '/admin /post/large')"
expect_eq "nor does a large one" "POST /post/large" "$(saw)"
one=(curl -s -4 --http2 -o /dev/null -w '%{http_code} %{num_connects}\n')
"${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- "${one[@]}" "https://localhost:$H2/admin" --next "${one[@]:1}" \
    -H 'Host: other.test' "https://localhost:$H2/ok" >"$T/out"
expect_eq "refused for another reason" "$(lines '403 1' '421 0')" "$(cat "$T/out")"
expect_eq "refused for another reason: told" "/admin 403 deny cart $rules, /ok 421 deny - -" "$(told)"
echo "ok: requests are refused, and told"

asks "$H2" --http2 -H 'content-type: application/grpc' -d x -D "$T/head" /admin >"$T/out"
expect_grep "gRPC: its status" '^grpc-status: 7' "$T/head"
expect_grep "gRPC: why" '^grpc-message: sallyport: denied by policy cart' "$T/head"
expect_grep "gRPC: HTTP went well" '^200 ' "$T/out"
echo "ok: gRPC"

for way in "$H1 --http1.1" "$H2 --http2"; do
    read -r port http <<<"$way"
    policy 'onDeny: reset'
    status=0
    asks "$port" "$http" /admin >"$T/out" || status=$?
    expect_eq "$way, reset: curl" 56 "${status/55/56}" # it notices as it reads, or as it writes
    expect_eq "$way, reset: the server" "" "$(saw)"
    expect_eq "$way, reset: told" "/admin 0 deny cart $rules" "$(told)"
    policy 'mode: monitor'
    expect_eq "$way, monitor: the answer" "200 1" "$(asks "$port" "$http" /admin)"
    expect_eq "$way, monitor: told" "/admin 200 alert cart $rules" "$(told)"
    expect_eq "$way, monitor: told" "alert reject monitor http: no rule allows GET /admin" "$(decided)"
done
printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' '  mode: monitor' \
    '  egress: [{toCIDR: [203.0.113.0/24]}]' >"$T/policy.yaml"
expect_eq "monitor, of the flow: the answers" "$(lines '200 1' '200 0')" "$(asks "$H1" --http1.1 '/admin /ok')"
expect_eq "monitor, of the flow: told once for each reason" "alert: no rule allows 127.0.0.1:$H1/TCP, alert: no rule allows the name localhost" \
    "$(events '[.[] | .process_policy // empty | "\(.verdict): \(.reason)"] | join(", ")')"
expect_eq "monitor, of the flow: its requests" "/admin 200 alert cart egress, /ok 200 alert cart egress" "$(told)"
echo "ok: reset, and monitor"

policy 'inspect: {consistency: deny}'
expect_eq "consistency: its own name" "200 1" "$(asks "$H1" --http1.1 /ok)"
expect_eq "consistency: another port" "403 1" "$(asks "$H1" --http1.1 -H 'Host: localhost:1' /ok)"
expect_grep "consistency: why" 'denied by policy cart, inspect.consistency: the name localhost is not the authority localhost:1' "$T/body1"
expect_eq "consistency: another's, in the clear" "403 1" "$(asks "$PLAIN" -H 'Host: front.example' /ok)"
expect_grep "consistency: why" 'the name front.example was not resolved to 127.0.0.1' "$T/body1"
expect_eq "consistency: the server" "" "$(saw)"
echo "ok: consistency"

policy 'onDeny: sigkill'
expect_status "sigkill: curl" 137 asks "$H2" --http2 /admin >"$T/out"
expect_eq "sigkill: the server" "" "$(saw)"
policy 'onDeny: freeze'
(asks "$H1" --http1.1 /admin >"$T/out" || exit $?) &
asking=$!
frozen() { grep -q '"action":"freeze"' "$EVENTS" && grep -q 'frozen 1' "$cgroup/cgroup.events"; }
pod_cgroup() { pid=$(jq -r 'select(.process_connect) | .process_connect.process.pid' "$EVENTS") && [ -n "$pid" ] && cgroup=$(cgroup2)$(sed -n 's/^0:://p' "/proc/$pid/cgroup"); }
wait_for 20 pod_cgroup
pod_cgroup
wait_for 20 frozen
echo 0 >"$cgroup/cgroup.freeze"
expect_status "freeze: curl, thawed" 56 wait "$asking"
expect_eq "freeze: the server" "" "$(saw)"
echo "ok: sigkill, and freeze"
