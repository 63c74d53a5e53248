#!/usr/bin/env bash
# Promise: the agent is killed by SIGKILL, again and again, while programs of a pod connect: no connect
# is refused or reset; those that come while nobody is there wait in the listener's queue and are served
# by the next agent, which listens by the same sockets, has the same pod, and tells what they do.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
echo small >"$T/www/small"
make_cgroup cart
agent_up
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name cart
keeper=$(keeper_pid)
set_of_pins=$(find "$T/run/bpf" -mindepth 1 -maxdepth 1 -type d -printf '%f %i\n')

: >"$T/clients"
"${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/connecting.py" \
    3 203.0.113.10 80 >"$T/clients" 2>"$T/clients.err" &
clients=$!
PIDS+=("$clients")

# how many are connected, and wait for somebody to accept them
waiting() { "${IN_POD[@]}" ss -Hltn | awk '{ n += $2 } END { exit n < 3 }'; }
lines() { wc -l <"$T/clients"; }
more() { [ "$(lines)" -ge $((seen + $1)) ]; }

rounds=3
[ -z "$FULL" ] || rounds=20
: >"$T/kills"
for ((round = 0; round < rounds; round++)); do
    seen=$(lines)
    wait_for 20 more 20
    /usr/bin/python3 -c 'import os, sys, time; os.kill(int(sys.argv[1]), 9); print(time.monotonic())' \
        "$AGENT" >>"$T/kills"
    wait "$AGENT" || AGENT=
    wait_for 10 waiting
    agent_up
done
seen=$(lines)
wait_for 20 more 20
kill "$clients"
wait "$clients" || fail "$(cat "$T/clients.err")"
/usr/bin/python3 "$HERE/connecting_judge.py" "$T/clients" "$T/kills" >&9 || fail "connects failed"

expect_eq "the keeper" "$keeper" "$(keeper_pid)"
expect_eq "the pins" "$set_of_pins" "$(find "$T/run/bpf" -mindepth 1 -maxdepth 1 -type d -printf '%f %i\n')"
expect_eq "connects that were not looked into" "" \
    "$(events '.[].process_connect // empty | select(.socket.dport == 80 and .route != "proxy")' | head -n 3)"
pods remove cart
agent_down
wait_for 5 dead "$keeper"
expect_eq "left in the runtime directory" "agent.lock pods resolving" \
    "$(find "$T/run" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | paste -sd ' ')"
