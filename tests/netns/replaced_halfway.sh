#!/usr/bin/env bash
# Promise: an agent whose successor is still taking up pods goes on telling until that wants what it knows, however
# short drainTimeout is; what is closed before anybody has accepted it is told once, by the next one. When
# the successor goes away instead, the old agent reads no more: who comes next is the only one. Programs are
# judged by the lists of the next one as soon as they are in force.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

RUNS=100

make_ca ca
make_cgroup pod
read -r port <<<"$(free_ports 1)"
nginx_server "$port" ''
start_nginx
echo content >"$T/www/file"
URL=http://127.0.0.1:$port/file
RUN=("$SALLYPORT" run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem"
     -o json --events-file "$EVENTS" --admin-address '')
is_said() { grep -qx "$1" "$T/halfway.out"; }
pid_is() { [ "$(sallyport status --runtime-dir "$T/run" -o json | jq .pid)" = "$1" ]; }

begin_replacing() { # OPTIONS...: until the successor wants to know what the old agent knows
    OLD=$AGENT
    rm -f "$T/halfway"
    mkfifo "$T/halfway"
    : >"$T/halfway.out"
    /usr/bin/python3 "$HERE/halfway.py" "$T/run/control.sock" <>"$T/halfway" >"$T/halfway.out" 2>"$T/halfway.err" &
    PIDS+=("$!")
    wait_for 10 is_said there
    "${CLEAN[@]}" "${RUN[@]}" --replace "$@" 2>>"$T/agent.err" &
    AGENT=$!
    wait_for 20 is_said asked
}

# A program of the pod that asks, waits for nothing, and is gone, all of which the old agent reads.
ask_and_go() { # NAME
    "${IN_CGROUP[@]}" "$CGROUPS/pod" /usr/bin/python3 -c "import socket
s = socket.create_connection(('127.0.0.1', $port))
s.sendall(b'GET /file?$1 HTTP/1.1\r\nHost: shop.test\r\n\r\n')" &
    gone=$!
    wait "$gone"
    wait_for 10 is_told ".process_exit.process.pid == $gone"
}
take_over() { # NAME of what was asked meanwhile
    echo go >"$T/halfway"
    wait_for 20 pid_is "$AGENT"
    expect_no_grep "what the next agent says" 'lost' "$T/agent.err"
    cookie=$(jq -r "select(.process_connect.process.pid == $gone) | .process_connect.socket.cookie" "$EVENTS")
    wait_for 10 is_told ".process_close.socket.cookie == \"$cookie\""
    expect_eq "what is told of $1" "process_connect process_http /file?$1 process_close" \
        "$(jq -r "to_entries[0] | select(.value.socket?.cookie? == \"$cookie\") | .key, .value.url // empty" "$EVENTS" |
            paste -sd ' ')"
}

# ---- flows of the old one have no time -----------------------------------------

agent_up --drain-timeout 0s
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback
begin_replacing
ask_and_go first
alive "$OLD" || fail "it has not waited for the one that takes its place"
take_over first
wait_for 10 dead "$OLD"

# ---- it is asked to end meanwhile ----------------------------------------------

start_program cart pod
expect_eq "a connection" "200 127.0.0.1" "$(ask cart open kept "$URL")"
begin_replacing
kill -TERM "$OLD"
ask_and_go second
alive "$OLD" || fail "it ended before it had told what it knew"
take_over second
expect_eq "over the connection of the old one" "200 127.0.0.1" "$(ask cart again kept)"
ask cart shut kept >/dev/null
wait_for 40 dead "$OLD"

# ---- who was to take its place goes away ---------------------------------------

expect_eq "another connection" "200 127.0.0.1" "$(ask cart open kept "$URL")"
begin_replacing
echo no >"$T/halfway"
wait_for 20 pid_is "$AGENT"
expect_grep "what the next agent says" "agent $OLD ended before it had handed over" "$T/agent.err"
alive "$OLD" || fail "it has left its connection alone"
for ((i = 0; i < RUNS; i++)); do
    "${IN_CGROUP[@]}" "$CGROUPS/pod" /bin/true "run$i"
done
wait_for 10 is_told '.process_exit.process.arguments // "" | startswith("run")' "$RUNS"
expect_eq "each run is told once" "$RUNS" "$(told '.process_exec.process.arguments // "" | startswith("run")')"
expect_eq "and its end" "$RUNS" "$(told '.process_exit.process.arguments // "" | startswith("run")')"
alive "$OLD" || fail "it has left its connection alone"
expect_eq "over that" "200 127.0.0.1" "$(ask cart again kept)"
ask cart shut kept >/dev/null
wait_for 40 dead "$OLD"

# ---- the next one has lists of programs of its own ------------------------------

policy() { # NAME BINARY: which may connect nowhere
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' "metadata: {name: $1}" \
        "spec: {matchBinaries: [{operator: In, values: [$2]}], egress: []}"
}
policy other /usr/bin/other >"$T/old.yaml"
{ cat "$T/old.yaml"; echo ---; policy python "$(realpath /usr/bin/python3)"; } >"$T/new.yaml"
agent_down
agent_up --policy "$T/old.yaml"
begin_replacing --policy "$T/new.yaml"
mkfifo "$T/go"
exec 7<>"$T/go"
"${IN_CGROUP[@]}" "$CGROUPS/pod" /usr/bin/python3 -c "import socket
input()
print(socket.socket().connect_ex(('127.0.0.1', $port)))" <&7 >"$T/connected" 7>&- &
listed=$!
wait_for 10 is_told ".process_exec.process.pid == $listed"
echo >&7
wait "$listed"
expect_eq "judged by the next one's list, EPERM" 1 "$(cat "$T/connected")"
echo go >"$T/halfway"
wait_for 20 pid_is "$AGENT"
wait_for 40 dead "$OLD"
pods remove --all
agent_down
