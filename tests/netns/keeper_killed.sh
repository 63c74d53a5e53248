#!/usr/bin/env bash
# Promise: the keeper is killed alone: nobody notices, and the agent starts another one, which holds what
# the first did. Agent and keeper are killed together: at once pods fail closed, or go open, as they are
# set; the next start goes on with what is pinned, and serves within a second; what is no pod connects
# all the time. An agent that is ended while pods are registered leaves them waiting for the next; when
# there is none for long, they fail as they are set. Of two agents at once one says so and ends.
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
make_cgroup closed open nobody
agent_up
for name in closed open; do
    pods add --cgroup "$CGROUPS/$name" --netns "/run/netns/$POD" --name "$name" --on-agent-down "$name"
    start_program "$name" "$name" "${IN_POD[@]}"
done
URL=http://203.0.113.10/small

# what is no pod, in the same namespace: connects and is served, whatever happens here
"${IN_CGROUP[@]}" "$CGROUPS/nobody" "${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/connecting.py" \
    1 203.0.113.10 80 >"$T/nobody" 2>"$T/nobody.err" &
nobody=$!
PIDS+=("$nobody")

kill_it() { kill -KILL "$1" && wait_for 10 dead "$1"; }
no_keeper() { [ -z "$(keeper_pid)" ]; } # it ends by itself, once nobody is at the other end
another_keeper() { local now; now=$(keeper_pid); [ -n "$now" ] && [ "$now" != "$1" ]; }
by_us() { # WHAT: connections that an agent has looked into
    [ "$(events '[.[].process_http // empty] | length')" -ge "$1" ]
}
# waits in the listener's queue, and is answered in the background
waiting() { "${IN_POD[@]}" ss -Hltn | awk '{ n += $2 } END { exit n < 1 }'; }
# In the instant of dying the kernel may find the listener and then refuse: from then on it is EPERM.
fails_closed() {
    local answer
    answer=$(ask closed get $URL)
    [ "$answer" = ECONNREFUSED ] || expect_eq "closed, nobody there" "EPERM" "$answer"
    [ "$answer" = EPERM ]
}
ask_in_vain() { # CLIENT's output
    "${IN_CGROUP[@]}" "$CGROUPS/closed" "${IN_POD[@]}" "${CLEAN[@]}" curl -sS -m 60 "$URL" >"$1" 2>&1 &
    asking=$!
}

# ---- the keeper alone --------------------------------------------------------

first=$(keeper_pid)
kill_it "$first"
expect_eq "without a keeper" "200 192.0.2.2" "$(ask closed get $URL)"
wait_for 10 another_keeper "$first"
expect_eq "with another" "200 192.0.2.2" "$(ask open get $URL)"
agent_down KILL
ask_in_vain "$T/asked"
wait_for 10 waiting
agent_up
wait "$asking" || fail "$(cat "$T/asked")"
expect_eq "who waited at the other keeper's listener" small "$(cat "$T/asked")"

# ---- both --------------------------------------------------------------------

for round in 1 2; do
    keeper=$(keeper_pid)
    kill -KILL "$keeper" "$AGENT"
    wait "$AGENT" || AGENT=
    wait_for 10 dead "$keeper"
    wait_for 5 fails_closed
    expect_eq "open, nobody there" "200 192.0.2.2" "$(ask open get $URL)"
    : >"$EVENTS.$round"
    mv "$EVENTS" "$EVENTS.$round"
    begun=$(date +%s%N)
    agent_up
    expect_eq "closed, the next agent" "200 192.0.2.2" "$(ask closed get $URL)"
    echo "after both were killed: served $((($(date +%s%N) - begun) / 1000000)) ms after the next start" >&9
    expect_eq "open, the next agent" "200 192.0.2.2" "$(ask open get $URL)"
    wait_for 5 by_us 2
done

# ---- a second agent ----------------------------------------------------------

expect_status "a second agent" 1 sallyport run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" \
    --ca "$T/agent-ca" --admin-address '' 2>"$T/second.err"
expect_grep "a second agent" "an agent runs already \(pid $AGENT\)" "$T/second.err"
expect_eq "the first" "200 192.0.2.2" "$(ask closed get $URL)"

# ---- ended in order ----------------------------------------------------------

keeper=$(keeper_pid)
agent_down
alive "$keeper" || fail "the keeper has ended with its agent, although there are pods"
ask_in_vain "$T/asked"
wait_for 10 waiting
agent_up
wait "$asking" || fail "$(cat "$T/asked")"
expect_eq "who waited while the agent was started anew" small "$(cat "$T/asked")"

# the keeper ends when nobody could find it any more: like one that has waited for 30 seconds
agent_down
mv "$T/run/keeper.sock" "$T/keeper.sock"
wait_for 10 dead "$keeper"
wait_for 5 fails_closed
agent_up
expect_eq "closed, at last" "200 192.0.2.2" "$(ask closed get $URL)"

kill "$nobody"
wait "$nobody" || fail "$(cat "$T/nobody.err")"
expect_no_grep "what is no pod" "connect|answer" "$T/nobody"
pods remove closed
pods remove open
agent_down
expect_eq "left in the runtime directory" "agent.lock pods resolving" \
    "$(find "$T/run" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | paste -sd ' ')"
expect_eq "left on the cgroup" "" "$(bpftool cgroup show "$CGROUPS")"
wait_for 10 no_keeper
