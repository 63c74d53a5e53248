#!/usr/bin/env bash
# Promise: HTTP/2 clients never notice that the agent is replaced, however busy their connections are: they are sent
# GOAWAY, what is in flight ends in the agent that began it, they go on over new connections, and the old agent ends
# as soon as that is done, long before its drainTimeout; so it does at SIGTERM, also when a client does not leave.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

ROUNDS=${FULL:+12}
ROUNDS=${ROUNDS:-3}

clean GOCACHE="$GO_CACHE" GO111MODULE=off /usr/bin/go build -o "$T/keep_asking" "$HERE/http2/keep_asking.go"
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
NGINX_SPEAKS=http2
mkdir -p "$T/www/slow"
head -c 1000 /dev/urandom >"$T/www/small"
head -c 10000 /dev/urandom >"$T/www/slow/file"
nginx_server 443 origin 'location /slow { limit_rate 4000; }' # 2 s and more
start_nginx "${IN_UPSTREAM[@]}"
make_cgroup load stays
RUN=("$SALLYPORT" run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem"
     -o json --events-file "$EVENTS" --admin-address '' --drain-timeout 60s)
agent_up --drain-timeout 60s
for pod in load stays; do pods add --cgroup "$CGROUPS/$pod" --netns "/run/netns/$POD" --name $pod; done
SMALL=https://203.0.113.10/small SLOW=https://203.0.113.10/slow/file

agent_pid() { sallyport status --runtime-dir "$T/run" -o json | jq .pid; }
is_another() { local pid; pid=$(agent_pid) && [ "$pid" != "$1" ]; }
served() { [ "$(wc -l <"$T/access")" -gt "$1" ]; }
more() { wait_for 30 served $(($(wc -l <"$T/access") + 30)); }
now_ms() { date +%s%3N; }
in_pod() { # POD CMD...
    local pod=$1
    shift
    "${IN_CGROUP[@]}" "$CGROUPS/$pod" "${IN_POD[@]}" "${CLEAN[@]}" SSL_CERT_FILE="$T/trusted.pem" "$@"
}
ended_after() { # WHAT SINCE: the agent $old; not because of its time-out, and not by cutting off what was slow
    local took
    wait_for 30 dead "$old"
    took=$(($(now_ms) - $2))
    echo "$1: the old agent has ended after $took ms"
    [ $took -lt 15000 ] || fail "$1: the old agent has ended only after $took ms"
}

# ---- clients that never stop asking, while others take over -------------------------------------------------

mkfifo "$T/stop"
in_pod load "$T/keep_asking" 3 "$SMALL" "$T/www/small" "$SLOW" "$T/www/slow/file" <"$T/stop" >"$T/load" 2>"$T/load.err" &
load=$!
PIDS+=("$load")
exec 7>"$T/stop"
more

for ((round = 0; round < ROUNDS; round++)); do
    old=$AGENT since=$(now_ms)
    if [ $((round % 3)) = 2 ]; then
        kill -USR2 "$old"
    else
        "${CLEAN[@]}" "${RUN[@]}" --replace 2>>"$T/agent.err" 7>&- &
    fi
    wait_for 20 is_another "$old"
    AGENT=$(agent_pid)
    ended_after "replaced" "$since"
    more
done
exec 7>&-
wait "$load" || fail "the clients ended badly: $(cat "$T/load.err")"
jq -r '"\(.small) small and \(.slow) slow requests over \(.connections) connections, \(.failed) failed, a small one took at most \(.small_most_ms) ms"' "$T/load"
expect_eq "what clients noticed" '0 []' "$(jq -r '"\(.failed) \(.errors)"' "$T/load")"
[ "$(jq .connections "$T/load")" -ge $((3 * (ROUNDS + 1))) ] || fail "they did not go on over new connections"

# ---- what was told ------------------------------------------------------------------------------------------

# of the pod `load`, on one line: requests, small ones, slow ones, streams, those that failed
http_told() {
    jq -s -r 'map(.process_http // empty | select(.process.pod.name == "load")) |
        "\(length) \(map(select(.url == "/small")) | length) \(map(select(.url != "/small")) | length) " +
        "\(map([.socket.cookie, .stream]) | unique | length) \(map(select(.code != 200 or .error)) | length)"' "$EVENTS"
}
small=$(jq .small "$T/load") slow=$(jq .slow "$T/load") connections=$(jq .connections "$T/load")
requests=$((small + slow))
# a slow one is under way over each connection that is given up: none was begun anew over another
expect_eq "requests that the server saw" "$requests" "$(wc -l <"$T/access")"
wait_for 10 is_told '.process_close.process.pod.name == "load"' "$connections"
expect_eq "what is told of requests" "$requests $small $slow $requests 0" "$(http_told)"
expect_eq "connects told" "$connections" "$(told '.process_connect.process.pod.name == "load"')"
expect_eq "closes told" "$connections" "$(told '.process_close.process.pod.name == "load"')"
# Go dials for each request that waits for a connection, and leaves those that it then needs no more
expect_eq "closes with an error, of connections that were used" 0 "$(jq -s '(map(.process_http.socket.cookie // empty) | unique) as $used |
    map(.process_close // empty | select(.error and (.socket.cookie | IN($used[])))) | length' "$EVENTS")"

# ---- no successor, and a client that stays ------------------------------------------------------------------

in_pod stays curl -sS --http2 -o "$T/slow" "$SLOW" 2>"$T/curl.err" &
curl=$!
mkfifo "$T/stay"
in_pod stays /usr/bin/python3 "$HERE/http2_stays.py" 203.0.113.10 /small /slow/file <"$T/stay" >"$T/stays" 2>"$T/stays.err" &
PIDS+=("$curl" "$!")
exec 8>"$T/stay"
wait_for 20 grep -q ready "$T/stays"
wait_for 20 test -s "$T/slow"
old=$AGENT since=$(now_ms)
kill -TERM "$old"
ended_after "at SIGTERM" "$since"
AGENT=''
wait "$curl" || fail "curl: $(cat "$T/curl.err")"
expect_same "what curl was getting" "$T/slow" "$T/www/slow/file"
wait_for 5 grep -q faults "$T/stays"
exec 8>&-
expect_eq "what the client that stays heard" "ready
notice True 200
then 5
slow 200 10000 True
behind it nothing closed
idle 1 closed
faults []" "$(cat "$T/stays")"
expect_eq "requests told of it and of curl" "1 1 1 1 1 1" \
    "$(jq -s -r '[.[].process_http // empty | select(.process.pod.name == "stays" and .code == 200 and (.error | not))] |
        group_by([.socket.cookie, .stream]) | map(length) | join(" ")' "$EVENTS")"
expect_no_grep "the agents' log" 'Sanitizer|runtime error' "$T/agent.err"
