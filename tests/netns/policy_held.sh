#!/usr/bin/env bash
# Promise: what a name allows to a connection that was made while it held, it allows for as long as the connection is
# open, on either route: when the name's time is over, under policies that came since, and on the kernel route by an
# agent that takes another one's place or comes when that was killed. A new connection is refused then, and so is the
# next request of an open one when no policy allows the name any more.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

site=203.0.113.10 site6=2001:db8:2::10
make_namespaces
start_dnsmasq host-record=www.shop.test,$site host-record=six.shop.test,$site6
mkdir "$T/www"
echo fine | tee "$T/www/ok" >"$T/www/admin"
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 -m http.server --protocol HTTP/1.1 --bind :: 80 \
    --directory "$T/www" >"$T/http.log" 2>&1
wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/$site6/80"

policy() { # NAME-PATTERN PATH
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: shop}' 'spec:' '  egress:' \
        "  - toFQDNs: [{matchPattern: \"$1\"}]" '    toPorts:' \
        "    - {ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: $2}]}}" \
        '    - {ports: [{port: "53", protocol: ANY}]}' >"$T/policy.yaml"
}
apply() { policy "$@"; sallyport policy apply --runtime-dir "$T/run" "$T/policy.yaml" >"$T/said"; }
# answers POD WORDS...: what it says to each of these connections' next request
answers() {
    local pod=$1 name said=()
    shift
    for name in "$@"; do said+=("$(ask "$pod" again "$name" | cut -d' ' -f1)"); done
    echo "${said[*]}"
}
refuses() { [ "$(ask "$1" get "http://$2/ok")" = EPERM ]; } # POD ADDRESS: a new connection
# allowed N: so many requests on the kernel route were told as allowed
allowed() { is_told '.process_http.route? == "kernel" and .process_http.verdict? == "allow"' "$1"; }

make_cgroup proxy kernel
agent_up
apply '*.shop.test' /ok
for pod in proxy kernel; do
    start_program $pod $pod "${IN_POD_DNS[@]}"
    pods add --cgroup "$CGROUPS/$pod" --netns "/run/netns/$POD" --name $pod --route $pod
done

# ---- the name's time is over ----------------------------------------------------------------------------

for pod in proxy kernel; do
    for name in four denied; do expect_eq "$pod: $name" 200 "$(ask $pod open $name http://www.shop.test/ok | cut -d' ' -f1)"; done
    expect_eq "$pod: six" 200 "$(ask $pod open six http://six.shop.test/ok | cut -d' ' -f1)"
done
# the proxy waits a minute for the first word
expect_eq "kernel: silent" connected "$(ask kernel connect silent http://www.shop.test/ok)"
wait_for 20 allowed 3
for pod in proxy kernel; do
    for to in $site "[$site6]"; do
        refuses $pod "$to" && fail "$pod may not connect to $to while its name holds"
    done
done
for pod in proxy kernel; do
    for to in $site "[$site6]"; do wait_for 90 refuses $pod "$to"; done
    expect_eq "$pod: when the name's time is over" "200 200 200" "$(answers $pod four six denied)"
done
echo "ok: open connections go on"

# ---- other policies, another agent ----------------------------------------------------------------------

apply 'w*.shop.test' '/(ok|admin)'
for pod in proxy kernel; do
    expect_eq "$pod: other policies that allow the name" 200 "$(answers $pod four)"
done
expect_eq "kernel: the first request" 200 "$(answers kernel silent)"
apply 'six.shop.test' /ok
expect_eq "proxy: policies that do not" "403 200" "$(answers proxy denied six)"
expect_eq "kernel: policies that do not" "EACCES 200" "$(answers kernel denied six)"
apply '*.shop.test' /ok
for pod in proxy kernel; do
    expect_eq "$pod: policies that do again" 200 "$(answers $pod four)"
    refuses $pod $site || fail "$pod may connect after other policies came"
done
echo "ok: they are judged by the newest policies"

old=$AGENT
is_another() { local pid; pid=$(sallyport status --runtime-dir "$T/run" -o json | jq .pid) && [ "$pid" != "$old" ]; }
agent_up --replace
wait_for 20 is_another
for pod in proxy kernel; do
    expect_eq "$pod: by the next agent" "200 200" "$(answers $pod four six)"
    refuses $pod $site || fail "$pod may connect by the next agent"
done
wait_for 20 allowed 12
agent_down KILL
wait_for 40 dead "$old"
agent_up
expect_eq "kernel: by one that comes after a kill" "200 200 200" "$(answers kernel four six silent)"
refuses kernel $site || fail "it may connect by an agent that comes after a kill"
wait_for 20 allowed 15
expect_eq "what was told of what went" "" "$(jq -r '.process_policy // empty | select(.point == "http" and .verdict != "deny")' "$EVENTS")"
apply 'six.shop.test' /ok
expect_eq "kernel: and no policy allows the name" "EACCES 200" "$(answers kernel four six)"
echo "ok: an agent that comes knows what held"
