#!/usr/bin/env bash
# Promise: `events` follows a running agent: each follower gets what its filters say, in order, with a
# seq of its own without a gap; one that does not read loses alone, and is told in its place how much;
# --since begins with what is kept; the agent's end is told, and --reconnect waits for the next one.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"
add_pod() { # NAME
    make_cgroup "$1"
    pods add --cgroup "$CGROUPS/$1" --netns "/run/netns/$POD" --name "test/$1"
}
in_web() { "${IN_CGROUP[@]}" "$CGROUPS/web" "${IN_POD[@]}" "${CLEAN[@]}" "$@"; }

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
echo hello >"$T/www/file"

read -r port <<<"$(free_ports 1)"
agent_up --admin-address "127.0.0.1:$port"
add_pod web
add_pod idle

# follow NAME OPTION...: into $T/NAME; $FOLLOWER is its pid.
followers=0
follow() {
    local name=$1
    shift
    background "${CLEAN[@]}" "$SALLYPORT" events --runtime-dir "$T/run" "$@" >"$T/$name" 2>"$T/$name.log"
    FOLLOWER=$!
    followers=$((followers + 1))
    wait_for 20 followed $followers
}
followed() { curl -sS "http://127.0.0.1:$port/metrics" | grep -qx "sallyport_event_followers $1"; }
lines() { jq -s -r "$1" "$T/$2"; }
get() { in_web curl -sS --cacert "$T/trusted.pem" --max-time 20 "$@"; }

# ---- filters ------------------------------------------------------------------

follow http -o json -e http -n test --pod '^web$'
HTTP=$FOLLOWER
follow curl -o json -e process_exec,exit --process curl
follow nobody -o json --pod '^idle$'
follow slow -o json
SLOW=$FOLLOWER
follow compact --color always -e tls
COMPACT=$FOLLOWER
follow again -o json -e http --reconnect
AGAIN=$FOLLOWER
get https://203.0.113.10/file >"$T/got"
expect_same "the file" "$T/got" "$T/www/file"
wait_for 20 grep -q process_exit "$T/curl"
expect_eq "what curl's follower saw" "process_exec process_exit" \
    "$(lines 'map(keys_unsorted[0]) | join(" ")' curl)"
wait_for 20 grep -q . "$T/http" "$T/compact"
expect_eq "what http's follower saw" "process_http /file web 1" \
    "$(lines '.[] | "\(keys_unsorted[0]) \(.process_http.path) \(.process_http.process.pod.name) \(.seq)"' http)"
expect_grep "colours, as asked for" $'^\e\\[' "$T/compact"
kill "$COMPACT"
wait_for 20 followed $((followers -= 1))

# ---- one does not read ----------------------------------------------------------

kill -STOP "$SLOW"
requests=8000
[ -z "$FULL" ] || requests=80000
in_web hey -n $requests -c 8 http://203.0.113.10/file >"$T/hey"
expect_grep "hey's answers" "\[200\][[:space:]]+$requests responses" "$T/hey"
get http://203.0.113.10/last >/dev/null
wait_for 20 grep -q '"path":"/last"' "$T/http"
# up to the last request: how many were told, how many counted as lost, whether seq is without a gap
cat >"$T/count.py" <<'PY'
import json, sys
told = lost = seq = 0
for line in open(sys.argv[1]):
    event = json.loads(line)
    seq += 1
    if int(event["seq"]) != seq:
        sys.exit(f"seq {event['seq']} in line {seq}")
    if "lost_events" in event:
        lost += int(event["lost_events"]["count"])
    else:
        told += 1
    if event.get("process_http", {}).get("path") == "/last":
        break
print(told, lost)
PY
counted() { /usr/bin/python3 "$T/count.py" "$1"; }
expect_eq "http's follower: told and lost" "$((requests + 2)) 0" "$(counted "$T/http")"
kill -CONT "$SLOW"
wait_for 20 grep -q '"path":"/last"' "$T/slow"
wait_for 20 grep -q '"path":"/last"' "$EVENTS"
read -r told lost <<<"$(counted "$T/slow")"
read -r all all_lost <<<"$(counted "$EVENTS")"
expect_eq "the agent's own losses" 0 "$all_lost"
expect_eq "slow follower: told and lost" "$all" "$((told + lost))"
[ "$lost" -gt 0 ] || fail "the slow follower lost nothing of $all: more requests are needed"
expect_grep "why it lost them" '"lost_events":\{"count":"[0-9]+","reason":"this reader was too slow"\}' "$T/slow"
expect_eq "how often: once, in its place" 1 "$(grep -c lost_events "$T/slow")"
[ "$(grep -n lost_events "$T/slow" | cut -d : -f 1)" -gt 10 ] || fail "it lost what it had room for"
echo "slow follower: $told told, $lost counted as lost"

# ---- what is kept ---------------------------------------------------------------

# who looks at one line only ends quietly
status=0
sallyport events --runtime-dir "$T/run" --since 1h -e http 2>"$T/since.log" | head -n 1 >"$T/since" || status=$?
expect_eq "exit status of events | head" 0 $status
expect_grep "the first that is kept" '^🌐 http    test/web /[^ ]*hey 203.0.113.10 GET /file 200 ' "$T/since"
expect_grep "that not all are kept" 'events from before 20.*Z are not kept any more' "$T/since.log"
follow recent -o json --since "$(tail -n 1 "$T/http" | jq -r .time)" -e http
wait_for 20 grep -q '"path":"/last"' "$T/recent"
expect_eq "since the last request: seq" 1 "$(lines '.[0].seq' recent)"

# ---- not for everybody ----------------------------------------------------------

cat >"$T/many.py" <<'PY'
import socket, sys, time
held = []
for _ in range(int(sys.argv[2])):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(sys.argv[1])
    held[-1].sendall(b'{"verb":"events"}\n')
time.sleep(300)
PY
background /usr/bin/python3 "$T/many.py" "$T/run/control.sock" $((16 - followers))
wait_for 20 followed 16
expect_status "a 17th follower" 1 sallyport events --runtime-dir "$T/run" 2>"$T/many.log"
expect_grep "a 17th follower" '16 follow the events already' "$T/many.log"
expect_status "an unknown type" 2 sallyport events -e httpx 2>"$T/wrong.log"
expect_grep "an unknown type" "no events of type 'httpx'" "$T/wrong.log"

# ---- the agent's end -------------------------------------------------------------

get http://203.0.113.10/end >/dev/null # what it tells last, they get
agent_down
status=0
wait "$HTTP" || status=$?
expect_eq "exit status when the agent has ended" 1 $status
expect_grep "the end" '^sallyport: the agent has ended$' "$T/http.log"
expect_eq "told before the end" /end "$(tail -n 1 "$T/http" | jq -r .process_http.path)"
expect_eq "nothing of others' pods" '' "$(cat "$T/nobody")"
alive "$AGAIN" || fail "--reconnect has not waited: $(cat "$T/again.log")"
agent_up # which knows the pods of the one before
get http://203.0.113.10/anew >/dev/null
wait_for 20 grep -q '"path":"/anew"' "$T/again"
agent_down
