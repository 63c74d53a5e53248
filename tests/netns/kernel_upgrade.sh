#!/usr/bin/env bash
# Promise: while programs ask over many connections on the kernel route, an agent of another build takes the
# place: no program notices anything, whichever of its kernel programs are others, with rules about requests or without; where
# those programs are only the route's, each request is told once.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

ROUNDS=${FULL:+12}
ROUNDS=${ROUNDS:-4}

read -r port <<<"$(free_ports 1)"
NGINX_CONNECTIONS=4096
nginx_server "$port" '' 'location /n/ { access_log off; return 200 "what was asked for\n"; }'
start_nginx
make_cgroup pod

ask_status() { sallyport status --runtime-dir "$T/run" -o json | jq "$1"; }
is_another() { local pid; pid=$(ask_status .pid) && [ "$pid" != "$1" ]; }
events_now() { wc -l <"$EVENTS"; }
has_more() { [ "$(events_now)" -ge $((seen + 500)) ]; }
more() { seen=$(events_now); wait_for 30 has_more; }
is_in_order() { /usr/bin/python3 "$HERE/kernel_handover_judge.py" "$T/asked" "$EVENTS" "$lost" >"$T/verdict"; }

replace_by() { # BUILD
    local old=$AGENT
    "${CLEAN[@]}" "$1" run "${RUN[@]}" --replace 2>>"$T/agent.err" 7>&- &
    wait_for 40 is_another "$old"
    AGENT=$!
    agents+=("$old")
}

# upgrade main|route [whole|refused]: back and forth between two builds, while a program asks
upgrade() {
    local agents=() lost=0 load round pid
    /usr/bin/python3 "$HERE/other_build.py" "$SALLYPORT" "$T/other" "$1"
    chmod +x "$T/other"
    : >"$EVENTS"
    mkfifo "$T/stop"
    "${IN_CGROUP[@]}" "$CGROUPS/pod" "${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_handover.py" \
        127.0.0.1 "$port" "$T/asked" "${@:2}" <"$T/stop" >"$T/load.out" 2>"$T/load.err" &
    load=$!
    PIDS+=("$load")
    exec 7>"$T/stop"
    rm "$T/stop"
    more
    for ((round = 0; round < ROUNDS; round++)); do
        replace_by "$([ $((round % 2)) = 0 ] && echo "$T/other" || echo "$SALLYPORT")"
        more
        lost=$((lost + $(ask_status .kernel_route.bytes_lost)))
    done
    exec 7>&-
    wait "$load" || fail "$1: what the program noticed: $(cat "$T/load.out")"
    lost=$((lost + $(ask_status .kernel_route.bytes_lost)))
    for pid in "${agents[@]}"; do wait_for 40 dead "$pid"; done
    [ "$1" = main ] && return
    (wait_for 20 is_in_order) 9>/dev/null || fail "$1: $(cat "$T/verdict")"
    echo "$1: $(cat "$T/verdict")"
}

RUN=(--runtime-dir "$T/run" --cgroup-root "$CGROUPS" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem"
     -o json --events-file "$EVENTS" --admin-address '')
agent_up
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback --route kernel
upgrade route
upgrade main
cat >"$T/rules.yaml" <<YAML
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: ruled}
spec:
  egress: [{toCIDR: [127.0.0.0/8], toPorts: [{ports: [{port: "$port"}], rules: {http: [{method: GET, path: /n/.*}]}}]}]
YAML
sallyport policy apply --runtime-dir "$T/run" "$T/rules.yaml" >"$T/applied"
# where rules judge, a head of which half was sent when another agent comes is refused: README
upgrade route refused
upgrade main whole
pods remove pod
agent_down
