#!/usr/bin/env bash
# Promise: which route a connection takes is as --route says, or the policy that is for its program,
# or, by itself (auto), the program: what is in the clear, or encrypted by the program itself, comes to
# the proxy then. On the kernel route plain HTTP is told the same, and what is denied cannot be sent, and
# reaches nobody. `status` and the metrics tell of it. kernel_route.sh [lsm|sockmap]: the back-end to expect
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"
backend=${1:-sockmap}

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
for ns in IN_POD IN_UPSTREAM; do # TCP fast open without cookies, by every listener
    declare -n in=$ns
    "${in[@]}" sysctl -qw net.ipv4.tcp_fastopen=0x607
done
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
mkdir -p "$T/www/admin"
echo hello | tee "$T/www/a" >"$T/www/admin/b"
CURL=$(realpath "$(command -v curl)")
PLAIN=http://203.0.113.10 TLS=https://203.0.113.10

policy() { # NAME LINE...: one of a TrafficPolicy's spec each
    printf -- '---\napiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: %s}\nspec:\n' "$1"
    printf '  %s\n' "${@:2}"
}
routed() { # OPTION... -- CMD...: which route each request took, and how it was seen
    local options=()
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    "${IN_POD[@]}" "${CLEAN[@]}" "CURL_CA_BUNDLE=$T/ca.pem" "$SALLYPORT" exec -o json --events-file "$EVENTS" --upstream-ca "$T/ca.pem" \
        "${options[@]}" "$@" >"$T/out" 2>"$T/said"
    events '[.[].process_http // empty | "\(.path) \(.route) \(.visibility)"] | join(", ")'
}
passed() { events '[.[].process_close // empty | "\(.route) \(.visibility)"] | join(", ")'; }
# two programs, one after the other; each is a request of its own
both() { # URL
    printf '%s; /usr/bin/python3 -c "import urllib.request; urllib.request.urlopen(\\"%s\\")"' "curl -sS $1" "$1"
}

# ---- by setting

expect_eq "by itself, in the clear" "/a proxy plaintext" "$(routed -- curl -sS "$PLAIN/a")"
expect_eq "by itself, TLS" "/a proxy terminated" "$(routed --route auto -- curl -sS "$TLS/a")"
expect_eq "the kernel, in the clear" "/a kernel plaintext" "$(routed --route kernel -- curl -sS "$PLAIN/a")"
expect_same "what came" "$T/out" "$T/www/a"
expect_eq "the kernel, refused" "" "$(routed --route kernel --ports 81 -- curl -sS "$PLAIN:81/a" || true)"
expect_eq "... its close" "kernel Connection refused" \
    "$(events '[.[].process_close // empty | "\(.route) \(.error)"] | join(", ")')"
expect_eq "the proxy" "/a proxy plaintext" "$(routed --route proxy -- curl -sS "$PLAIN/a")"
expect_eq "neither" "" "$(routed --route passthrough -- curl -sS "$TLS/a")"
expect_eq "neither: its close" "passthrough passthrough" "$(passed)"
expect_eq "neither, in the clear" "" "$(routed --route passthrough -- curl -sS "$PLAIN/a")"
expect_eq "of which no TLS is told" 0 "$(events '[.[].process_tls // empty] | length')"
expect_eq "said with the SYN" "/a kernel plaintext" \
    "$(routed --route kernel -- /usr/bin/python3 "$HERE/kernel_replay.py" syn 203.0.113.10 80)"
expect_eq "how it went" "with the SYN" "$(cat "$T/out")"
expect_eq "... and all that was written was read" "kernel plaintext -" \
    "$(events '[.[].process_close // empty | "\(.route) \(.visibility) \(.error // "-")"] | join(", ")')"
background "${IN_UPSTREAM[@]}" /usr/bin/python3 "$HERE/connect_proxy.py" "$T/origin.pem" "$T/origin.key" >"$T/ports"
wait_for 20 grep -q echo "$T/ports"
PROXY=$(sed -n 's/^proxy /203.0.113.10:/p' "$T/ports")
expect_eq "in a tunnel, in the clear" "203.0.113.10:80 kernel plaintext, /a kernel plaintext" \
    "$(routed --route kernel --ports all -- curl -sSpx "$PROXY" "$PLAIN/a")"
expect_eq "in a tunnel, TLS" "203.0.113.10:443 kernel plaintext" \
    "$(routed --route kernel --ports all -- curl -sSx "$PROXY" --cacert "$T/ca.pem" "$TLS/a")"
expect_same "what came" "$T/out" "$T/www/a"
expect_eq "... how it is told" "opaque own tls" "$(events '[.[].process_tls // empty | "\(.visibility) \(.visibility_reason)"] | join(", ")')"
expect_eq "... its close" "kernel opaque" "$(passed)"
expect_status "--route detour" 2 sallyport exec --route detour -- true 2>"$T/said"
expect_grep "what there is instead" 'say auto, proxy, kernel or passthrough' "$T/said"
echo "ok: by setting"

# ---- by policies

ALL='egress: [{toEntities: [all]}]'
BY_CURL="matchBinaries: [{operator: In, values: [$CURL]}]"
policy a "route: kernel" "$BY_CURL" "$ALL" >"$T/curl.yaml"
policy b "route: proxy" "$BY_CURL" "$ALL" >"$T/proxy.yaml"
expect_eq "a policy for one program" "/a kernel plaintext, /a proxy plaintext" \
    "$(routed --policy "$T/curl.yaml" -- sh -c "$(both "$PLAIN/a")")"
expect_eq "a policy against the setting" "/a proxy plaintext, /a kernel plaintext" \
    "$(routed --route kernel --policy "$T/proxy.yaml" -- sh -c "$(both "$PLAIN/a")")"
expect_eq "... and against passing it on" "/a proxy terminated" \
    "$(routed --route passthrough --policy "$T/proxy.yaml" -- curl -sS "$TLS/a")"
expect_eq "the proxy wins" "/a proxy plaintext" \
    "$(routed --policy "$T/proxy.yaml" --policy "$T/curl.yaml" -- curl -sS "$PLAIN/a")"
policy c "route: kernel" \
    'egress: [{toCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: "80"}], rules: {http: [{path: /a}]}}]}]' >"$T/deny.yaml"
: >"$T/access"
expect_eq "what is denied" "/a kernel plaintext, /admin/b kernel plaintext" \
    "$(routed --policy "$T/deny.yaml" -- sh -c "curl -sS $PLAIN/a; curl -sS $PLAIN/admin/b; echo \$?")"
expect_grep "it could not be sent" '^curl: .*Permission denied' "$T/said"
expect_grep "how it is told" '"verdict":"deny"' "$EVENTS"
expect_grep "the origin saw one" ' GET /a ' "$T/access"
expect_no_grep "... and not the other" 'GET /admin' "$T/access"
expect_grep "what that does not keep" 'policy c: route: kernel with http rules: .*several threads' "$T/said"
policy d "route: kernel" \
    'egress: [{toCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: "443"}], rules: {http: [{path: /a}]}}]}]' >"$T/sealed.yaml"
: >"$T/access"
expect_eq "what it encrypts itself" "" "$(routed --policy "$T/sealed.yaml" -- /usr/bin/python3 "$HERE/kernel_sealed.py" 203.0.113.10 443 /admin/b)"
expect_eq "... and looks like a handshake's end" "37 no answer, 53 no answer, 29 no answer, 45 no answer" "$(paste -sd, "$T/out" | sed 's/,/, /g')"
expect_eq "... the origin did not see" "" "$(cat "$T/access")"
expect_eq "... and was told" "4" "$(events '[.[].process_policy // empty | select(.verdict == "deny" and .point == "visibility")] | length')"
policy e "route: kernel" "$ALL" 'inspect: {bodies: [{patterns: [iban], direction: request, action: deny}]}' >"$T/seen.yaml"
expect_eq "what must be seen, in a tunnel" "203.0.113.10:80 kernel plaintext, /a kernel plaintext" \
    "$(routed --ports all --policy "$T/seen.yaml" -- curl -sSpx "$PROXY" "$PLAIN/a")"
: >"$T/access"
expect_eq "... which nobody can see" "203.0.113.10:443 kernel plaintext" \
    "$(routed --ports all --policy "$T/seen.yaml" -- curl -sSx "$PROXY" --cacert "$T/ca.pem" "$TLS/a" || true)"
expect_eq "... the origin did not see" "" "$(cat "$T/access")"
expect_grep "... and is told" '"verdict":"deny".*"point":"visibility"' "$EVENTS"
echo "ok: by policies"

# ---- of an agent's pods

make_cgroup one two three
rm "$EVENTS"
agent_up --admin-address "127.0.0.1:${PORT:=$(free_ports 1)}" --route proxy
pods add --cgroup "$CGROUPS/one" --netns "/run/netns/$POD" --name one --route kernel
pods add --cgroup "$CGROUPS/two" --netns "/run/netns/$POD" --name two
pods add --cgroup "$CGROUPS/three" --netns "/run/netns/$POD" --name three --route passthrough
expect_eq "the pods' routes" "one kernel, three passthrough, two proxy" \
    "$(pods list -o json | jq -rs 'sort_by(.name) | map("\(.name) \(.route)") | join(", ")')"
for pod in one two three; do
    "${IN_CGROUP[@]}" "$CGROUPS/$pod" "${IN_POD[@]}" "${CLEAN[@]}" curl -sS "$PLAIN/a" >"$T/out"
    "${IN_CGROUP[@]}" "$CGROUPS/$pod" "${IN_POD[@]}" "${CLEAN[@]}" curl -sS --cacert "$T/trusted.pem" "$TLS/a" >"$T/out"
done
all_closed() { [ "$(jq -r '.process_close // empty | .route' "$EVENTS" | sort | paste -sd ' ')" = "kernel kernel passthrough passthrough proxy proxy" ]; }
wait_for 20 all_closed
sallyport status --runtime-dir "$T/run" -o json >"$T/status"
expect_eq "programs of others" "0" "$(jq -r '.foreign_programs // [] | length' "$T/status")"
expect_eq "the back-end" "$backend" "$(jq -r .kernel_route.back_end "$T/status")"
sallyport probe -o json >"$T/probe"
expect_eq "... in probe's words" "$(jq -r .kernel_route_words "$T/probe")" "$(jq -r .kernel_route.words "$T/status")"
sallyport status --runtime-dir "$T/run" >"$T/out"
expect_grep "... and for people" "^kernel_route +back_end $backend, words .*sk_msg programs can read and deny plain HTTP" "$T/out"
expect_eq "what was read there" "2 true 0" "$(jq -r '.kernel_route | "\(.total) \(.bytes > 0) \(.bytes_lost)"' "$T/status")"
by_setting() { printf '%s by setting of the pod\n' "one $CURL off false kernel" "three $CURL off false passthrough" "two $CURL off false proxy"; }
expect_eq "the programs that spoke TLS, whoever read it" "$(by_setting)" \
    "$(jq -r '.programs | sort_by(.pod)[] | "\(.pod) \(.program) \(.ktls) \(.capable) \(.route) \(.why)"' "$T/status")"
expect_eq "why they do not use kTLS" 3 \
    "$(jq '[.programs[].not_sent | select(test("no tls module|libcurl has a BIO of its own"))] | length' "$T/status")"
curl -s "http://127.0.0.1:$PORT/metrics" >"$T/metrics"
for line in "backend_info\{backend=\"$backend\"\} 1" "connections_total 2" \
    'lost_bytes_total 0' 'programs\{what="bypassing"\} 0'; do
    expect_grep "metrics" "^sallyport_kernel_$line\$" "$T/metrics"
done
echo "ok: of an agent's pods"
