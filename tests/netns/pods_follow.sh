#!/usr/bin/env bash
# Promise: a pod's addresses and routes are followed as they change: its programs show the address they
# would have without us, and fail where they would. Of nested cgroups the deepest that is registered
# counts; when it is removed, the one above has its programs again. A program that moves into a
# namespace nobody knew is listened for there from its second connect on.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
for name in small a b c d e f; do echo $name >"$T/www/$name"; done
agent_up
make_cgroup pod/container/deep
start_program one pod/container/deep "${IN_POD[@]}"
pods add --cgroup "$CGROUPS/pod" --netns "/run/netns/$POD" --name pod
V4=https://203.0.113.10 V6='https://[2001:db8:2::10]'

# ---- addresses and routes ------------------------------------------------------------------------

asks() { # WANTED URL: within a moment of a change
    local answer _
    for _ in {1..40}; do
        answer=$(ask one get "$2")
        [ "$answer" != "$1" ] || return 0
        sleep 0.05
    done
    fail "$2: wanted '$1', got '$answer'"
}
asks "200 192.0.2.2" $V4/small
ip -n "$POD" address add 192.0.2.3/24 dev eth0
ip -n "$POD" address del 192.0.2.2/24 dev eth0
ip -n "$POD" address show dev eth0 | grep -q 'inet 192.0.2.3' || ip -n "$POD" address add 192.0.2.3/24 dev eth0
ip -n "$POD" route replace default via 192.0.2.1
: >"$T/access"
asks "200 192.0.2.3" $V4/small
expect_grep "the origin sees the new address" " from=192.0.2.3 " "$T/access"
ip -n "$POD" route del default
asks ENETUNREACH $V4/small
ip -n "$POD" route add default via 192.0.2.1 src 192.0.2.3
asks "200 192.0.2.3" $V4/small
asks "200 2001:db8:1::2" "$V6/small"
ip -n "$POD" -6 address add 2001:db8:1::3/64 dev eth0 nodad
ip -n "$POD" -6 address del 2001:db8:1::2/64 dev eth0
asks "200 2001:db8:1::3" "$V6/small"
ip -n "$POD" -6 route del default
asks ENETUNREACH "$V6/small"
ip -n "$POD" -6 route add default via 2001:db8:1::1
asks "200 2001:db8:1::3" "$V6/small"

# ---- nested --------------------------------------------------------------------------------------

whose() { # PATH: the pod whose request it was
    wait_for 5 is_told ".process_http.path == \"/$1\""
    events ".[].process_http // empty | select(.path == \"/$1\") | .process.pod.name"
}
asks "200 192.0.2.3" $V4/a
expect_eq "below a pod" pod "$(whose a)"
pods add --cgroup "$CGROUPS/pod/container" --name container
asks "200 192.0.2.3" $V4/b
expect_eq "below a pod of its own" container "$(whose b)"
pods add --cgroup "$CGROUPS/pod/container/deep" --name deep --ports 9
asks "200 192.0.2.3" $V4/c
wait_for 5 is_told '.process_connect.process.pod.name == "deep" and .process_connect.route == "direct"'
expect_eq "at a port that the deepest leaves alone" 0 "$(told '.process_http.path == "/c"')"
pods remove deep
pods remove container
asks "200 192.0.2.3" $V4/d
expect_eq "the one above again" pod "$(whose d)"

# ---- a namespace that nobody knew ----------------------------------------------------------------

expect_eq "into a namespace of its own" unshared "$(ask one unshare)"
expect_eq "the first connect there" ENETUNREACH "$(ask one get $V4/e | sed 's/EPERM/ENETUNREACH/')"
asks ENETUNREACH $V4/e
agent_down
