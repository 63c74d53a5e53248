#!/usr/bin/env bash
# Promise: an agent is replaced without anybody noticing. Under load, by `run --replace`, by SIGUSR2 and
# by SIGTERM and a new start in turn, no connect is refused and no connection reset; flows that are
# open end in the agent that began them, and their events stand among those of the next one.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

ROUNDS=${FULL:+20}
ROUNDS=${ROUNDS:-6}

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
head -c 10000 /dev/urandom >"$T/www/file"
make_cgroup cart load
RUN=("$SALLYPORT" run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem"
     -o json --events-file "$EVENTS" --admin-address '')
agent_up
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart
pods add --cgroup "$CGROUPS/load" --netns "/run/netns/$POD" --name shop/load

agent_pid() { sallyport status --runtime-dir "$T/run" -o json | jq .pid; }
is_another() { local pid; pid=$(agent_pid) && [ "$pid" != "$1" ]; }
served() { [ "$(wc -l <"$T/access")" -gt "$1" ]; }
more() { wait_for 30 served $(($(wc -l <"$T/access") + 30)); }

# ---- who may take whose place -----------------------------------------------

expect_status "a second agent" 1 "${CLEAN[@]}" "${RUN[@]}" 2>"$T/second.err"
expect_grep "a second agent" "an agent runs already \(pid $AGENT\); 'sallyport run --replace' takes over" "$T/second.err"

# ---- a flow and a process that outlive three agents -------------------------

start_program cart cart "${IN_POD[@]}"
HTTPS=https://203.0.113.10
expect_eq "at first" "200 192.0.2.2" "$(ask cart open old $HTTPS/file?1)"

mkfifo "$T/stop"
"${IN_CGROUP[@]}" "$CGROUPS/load" "${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/../harness/load.py" \
    203.0.113.10 443 /file "$T/trusted.pem" 2 2 1 <"$T/stop" >"$T/load" 2>"$T/load.err" &
load=$!
PIDS+=("$load")
exec 7>"$T/stop"
more

agents=("$AGENT")
for ((round = 0; round < ROUNDS; round++)); do
    old=$AGENT
    case $((round % 3)) in
        0) "${CLEAN[@]}" "${RUN[@]}" --replace 2>>"$T/agent.err" 7>&- & ;;
        1) kill -USR2 "$old" ;;
        2) kill -TERM "$old"
           "${CLEAN[@]}" "${RUN[@]}" 2>>"$T/agent.err" 7>&- & ;;
    esac
    wait_for 20 is_another "$old"
    AGENT=$(agent_pid)
    agents+=("$AGENT")
    [ "$round" -ge 3 ] || expect_eq "over the connection of the first agent" "200 192.0.2.2" "$(ask cart again old)"
    more
done
alive "${agents[0]}" || fail "the first agent has left its flow alone"
expect_eq "it lets go of that" shut "$(ask cart shut old)"
for pid in "${agents[@]:0:$ROUNDS}"; do wait_for 40 dead "$pid"; done

exec 7>&-
wait "$load"
printf 'restarts under load: %d, ' "$ROUNDS"
jq -r '"\(.requests) requests over \(.connections) connections, \(.failed) failed, slowest \(.slowest_ms) ms"' "$T/load"
expect_eq "what clients noticed" '[]' "$(jq -c .errors "$T/load")"
expect_eq "failures" 0 "$(jq .failed "$T/load")"

# ---- what was told ----------------------------------------------------------

requests=$(jq .requests "$T/load")
wait_for 10 is_told '.process_http.process.pod.name == "load"' "$requests"
expect_eq "each request is told once" "$requests" "$(told '.process_http.process.pod.name == "load"')"
connections=$(jq .connections "$T/load")
wait_for 10 is_told '.process_close.process.pod.name == "load"' "$connections"
expect_eq "each connect is told once" "$connections" "$(told '.process_connect.process.pod.name == "load"')"
expect_eq "each close is told once" "$connections" "$(told '.process_close.process.pod.name == "load"')"
expect_eq "with what was seen" "$connections" \
    "$(told '.process_close.process.pod.name == "load" and .process_close.visibility == "terminated"')"
expect_eq "told behind their connection's close" 0 "$(jq -n 'reduce (inputs | to_entries[0] |
    {what: .key, cookie: .value.socket?.cookie?} | select(.cookie)) as $told ({};
    if $told.what == "process_close" then .closed[$told.cookie] = true
    elif .closed[$told.cookie] then .behind += 1 else . end) | .behind // 0' "$EVENTS")"
expect_eq "those of the old flow" 4 "$(told '.process_http.process.pod.name == "cart"')"
wait_for 10 is_told '.process_exit.process.pod.name == "load"'
