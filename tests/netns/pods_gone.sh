#!/usr/bin/env bash
# Promise: a pod whose cgroup goes away is unregistered, and its network namespace let go within a
# second, whatever connections it had; several pods may share one; the namespace of a pod that was removed is let go
# when its programs have gone. (A namespace that is gone takes its interfaces along: the far end of a
# veth pair disappears.)
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
echo small >"$T/www/small"
# accepts, reads, never says a word and never closes
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 -c '
import socket
kept, server = [], socket.create_server(("203.0.113.10", 80), backlog=16)
while True:
    kept.append(server.accept())'
agent_up
URL=https://203.0.113.10/small

# make_pod_netns NAME NUMBER: a namespace at the end of a wire of its own to the upstream, NAME there.
make_pod_netns() {
    ip netns add "$POD-$1"
    NAMESPACES+=("$POD-$1")
    ip -n "$POD-$1" link set lo up
    ip link add eth0 netns "$POD-$1" type veth peer name "$1" netns "$UPSTREAM"
    ip -n "$POD-$1" address add "198.51.100.$2/24" dev eth0
    ip -n "$POD-$1" link set eth0 up
    ip -n "$UPSTREAM" link set "$1" up
    ip -n "$UPSTREAM" route add "198.51.100.$2" dev "$1"
    ip -n "$UPSTREAM" address replace 192.0.2.254/32 dev lo
    ip -n "$POD-$1" route add 192.0.2.254 dev eth0
    ip -n "$POD-$1" route add default via 192.0.2.254
}
del_netns() { # NAME: gone when nobody is in it any more
    local ns left=()
    ip netns del "$POD-$1"
    for ns in "${NAMESPACES[@]}"; do [ "$ns" = "$POD-$1" ] || left+=("$ns"); done
    NAMESPACES=("${left[@]}")
}
wire_is_gone() { ! ip -n "$UPSTREAM" link show "$1" >/dev/null 2>&1; }
# released WHAT NAME: within a second (and what this machine makes of one), by the clock.
released() {
    local start=${EPOCHREALTIME/./} ms
    wait_for 10 wire_is_gone "$2"
    ms=$(((${EPOCHREALTIME/./} - start) / 1000))
    echo "$1: released after $ms ms"
    [ $ms -le 2000 ] || fail "$1: its namespace was held for $ms ms"
}
end_cgroup() { # NAME: what runs in it is killed, and it is removed
    echo 1 >"$CGROUPS/$1/cgroup.kill"
    wait_for 5 grep -q 'populated 0' "$CGROUPS/$1/cgroup.events"
    rmdir "$CGROUPS/$1"
}

# ---- with its cgroup -----------------------------------------------------------------------------

make_cgroup one
make_pod_netns one 1
start_program one one nsenter --net="/run/netns/$POD-one"
pods add --cgroup "$CGROUPS/one" --netns "/run/netns/$POD-one" --name one
expect_eq "a flow that stays open" "200 198.51.100.1" "$(ask one open kept $URL)"
# one whose server does not answer, closed on our side only: it would wait for that server
"${IN_CGROUP[@]}" "$CGROUPS/one" nsenter --net="/run/netns/$POD-one" "${CLEAN[@]}" \
    /usr/bin/python3 -c '
import socket, time
s = socket.create_connection(("203.0.113.10", 80))
s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
s.shutdown(socket.SHUT_WR)
print(1, flush=True)
time.sleep(60)' >"$T/half" &
PIDS+=("$!")
wait_for 10 test -s "$T/half"
del_netns one
end_cgroup one
released "with its cgroup" one
expect_eq "the list" "" "$(pods_listed)"
expect_eq "its file" "" "$(ls "$T/run/pods")"
wait_for 5 is_told '.process_close.socket.dport == 80'
wait_for 5 is_told '.process_exit.process.pod.name == "one"'

# ---- two in one namespace, and below one another -------------------------------------------------

make_cgroup two-a two-b two-b/below
make_pod_netns two 2
start_program a two-a nsenter --net="/run/netns/$POD-two"
start_program b two-b/below nsenter --net="/run/netns/$POD-two"
pods add --cgroup "$CGROUPS/two-a" --netns "/run/netns/$POD-two" --name a
pods add --cgroup "$CGROUPS/two-b" --netns "/run/netns/$POD-two" --name b
pods add --cgroup "$CGROUPS/two-b/below" --name below
expect_eq "of one" "200 198.51.100.2" "$(ask a get $URL)"
del_netns two
end_cgroup two-a
wait_for 2 pods_are b below
expect_eq "of the other, in the same namespace" "200 198.51.100.2" "$(ask b get $URL)"
wait_for 5 is_told '.process_http.process.pod.name == "below"'
sleep 0.6 # longer than it takes to leave a namespace that is left
expect_eq "and still" "200 198.51.100.2" "$(ask b get $URL)"
wire_is_gone two && fail "a namespace with a pod in it was gone"
echo 1 >"$CGROUPS/two-b/cgroup.kill"
wait_for 5 grep -q 'populated 0' "$CGROUPS/two-b/cgroup.events"
rmdir "$CGROUPS/two-b/below" "$CGROUPS/two-b"
released "when both have gone" two
expect_eq "the list" "" "$(pods_listed)"

# ---- one without a namespace of its own, and one that is removed ----------------------------------

make_cgroup three four
make_pod_netns three 3
make_pod_netns four 4
start_program three three nsenter --net="/run/netns/$POD-three"
start_program four four nsenter --net="/run/netns/$POD-four"
pods add --cgroup "$CGROUPS/three" --name three
pods add --cgroup "$CGROUPS/four" --netns "/run/netns/$POD-four" --name four
expect_eq "found by its process" "200 198.51.100.3" "$(ask three get $URL)"
expect_eq "and one more" "200 198.51.100.4" "$(ask four open kept $URL)"
del_netns three
del_netns four
kill "${PROGRAM_PID[three]}"
released "its last process has gone" three
pods remove four
expect_eq "a flow of one removed" "200 198.51.100.4" "$(ask four again kept)"
kill "${PROGRAM_PID[four]}"
released "removed, and its process has gone" four
expect_eq "what is registered" three "$(pods_listed)"

# ---- while no agent is there ---------------------------------------------------------------------

end_cgroup three
wait_for 2 pods_are ""
agent_down
expect_no_grep "complaints" "warning|error" "$T/agent.err"
