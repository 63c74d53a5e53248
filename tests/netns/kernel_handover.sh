#!/usr/bin/env bash
# Promise: while programs ask over many connections on the kernel route, one agent takes the other's place, again
# and again, or is killed and another one comes: each request is told once, by one of them, or counted as lost; a connection's
# close comes behind all that was said on it, and says what was seen.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

ROUNDS=${FULL:+20}
ROUNDS=${ROUNDS:-6}
KILLS=$((ROUNDS / 2))

read -r port <<<"$(free_ports 1)"
NGINX_CONNECTIONS=4096
nginx_server "$port" '' 'location /n/ { access_log off; return 200 "what was asked for\n"; }'
start_nginx
make_cgroup pod
RUN=("$SALLYPORT" run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem"
     -o json --events-file "$EVENTS" --admin-address '')
agent_up
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback --route kernel

ask_status() { sallyport status --runtime-dir "$T/run" -o json | jq "$1"; }
is_another() { local pid; pid=$(ask_status .pid) && [ "$pid" != "$1" ]; }
now() { /usr/bin/python3 -c 'import time; print(time.clock_gettime_ns(time.CLOCK_BOOTTIME))'; }
events_now() { wc -l <"$EVENTS"; }
has_more() { [ "$(events_now)" -ge $((seen + 1000)) ]; }
more() { seen=$(events_now); wait_for 30 has_more; }
# all of what ended before; a close comes behind what was said
has_told() { [[ $(tail -n 500 "$EVENTS" | grep '^{"process_close".*}$' | tail -n 1 | jq -r .time) > "$1" ]]; }

begin_load() { # OUT
    mkfifo "$T/stop"
    "${IN_CGROUP[@]}" "$CGROUPS/pod" "${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_handover.py" \
        127.0.0.1 "$port" "$T/$1" <"$T/stop" >"$T/load.out" 2>"$T/load.err" &
    load=$!
    PIDS+=("$load")
    exec 7>"$T/stop"
    rm "$T/stop"
    more
}
end_load() {
    exec 7>&-
    wait "$load" || fail "what the program noticed: $(cat "$T/load.out")"
}
# judge OUT [LIVES]: what is told a moment later counts, too
is_in_order() { /usr/bin/python3 "$HERE/kernel_handover_judge.py" "$T/$1" "$EVENTS" "$lost" "${@:2}" >"$T/verdict"; }
judge() {
    (wait_for 20 is_in_order "${@:2}") 9>/dev/null || fail "$1: $(cat "$T/verdict")"
    echo "$1: $(cat "$T/verdict")"
}

# ---- one in the other's place -------------------------------------------------

begin_load replaced
agents=()
lost=0
for ((round = 0; round < ROUNDS; round++)); do
    old=$AGENT
    agents+=("$old")
    "${CLEAN[@]}" "${RUN[@]}" --replace 2>>"$T/agent.err" 7>&- &
    wait_for 20 is_another "$old"
    AGENT=$!
    more
    lost=$((lost + $(ask_status .kernel_route.bytes_lost)))
done
end_load
lost=$((lost + $(ask_status .kernel_route.bytes_lost)))
for pid in "${agents[@]}"; do wait_for 40 dead "$pid"; done
judge "$ROUNDS in another's place" replaced

# ---- killed -------------------------------------------------------------------

: >"$EVENTS"
: >"$T/lives"
began=$(now)
begin_load killed
lost=0
for ((round = 0; round < KILLS; round++)); do
    # what it found, too: what it has read and not told goes with it
    wait_for 30 has_told "$(date -u -d '2 seconds' +%FT%T)"
    lost=$((lost + $(ask_status .kernel_route.bytes_lost)))
    agent_down KILL
    echo "$began $(now)" >>"$T/lives"
    sleep 0.5 # of connections of which no agent has heard
    agent_up 7>&-
    began=$(now)
done
more
end_load
lost=$((lost + $(ask_status .kernel_route.bytes_lost)))
judge "$KILLS killed" killed "$T/lives"
pods remove pod
agent_down
