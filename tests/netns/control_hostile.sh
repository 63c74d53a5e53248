#!/usr/bin/env bash
# Promise: whatever comes by the control socket, the agent goes on serving pods and answering others, and
# neither its memory nor its descriptors grow.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

PY=/usr/bin/python3
CGROUP=$(cgroup2)/sallyport-test-$$
RUN_DIR=$T/run
slack=4096
if grep -q __asan_init "$SALLYPORT"; then slack=32768; fi # freed memory is kept for a while
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
echo hello >"$T/www/hello"

# ---- nobody there ---------------------------------------------------------------------------

for command in status sessions; do
    expect_status "$command without an agent" 1 sallyport "$command" --runtime-dir "$RUN_DIR" >"$T/out" 2>"$T/client.err"
    expect_eq "what it says" "sallyport: no agent runs at $RUN_DIR; 'sallyport run' starts one" "$(cat "$T/client.err")"
done

# ---- an agent with a pod that asks all the time -----------------------------------------------

mkdir "$CGROUP" "$CGROUP/pod"
background "${CLEAN[@]}" ASAN_OPTIONS=quarantine_size_mb=1 "$SALLYPORT" run --runtime-dir "$RUN_DIR" --cgroup-root "$CGROUP" \
    --upstream-ca "$T/ca.pem" -o json --events-file "$EVENTS" 2>"$T/agent.err"
agent=$!
ask() { sallyport "$@" --runtime-dir "$RUN_DIR"; }
wait_for 30 ask status
ask pods add --cgroup "$CGROUP/pod" --netns /proc/self/ns/net --name shop/cart --ports all --loopback
cat >"$T/pod.sh" <<'SH'
echo 0 >"$1/cgroup.procs"
while [ ! -e "$2/enough" ]; do
    curl -sS -k "https://localhost:$3/hello" >>"$2/pod.out" 2>>"$2/pod.err" || echo "failed: $?" >>"$2/pod.err"
done
exec curl -sS -k --limit-rate 1 "https://localhost:$3/hello" # open until it is ended
SH
background "${CLEAN[@]}" bash "$T/pod.sh" "$CGROUP/pod" "$T" "$port"
pod=$!
wait_for 20 test -s "$T/pod.out"

rss_kb() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }
clean "$PY" "$HERE/control_hostile.py" "$RUN_DIR" "$agent" >"$T/first" # the first time memory is taken for good
before=$(rss_kb "$agent")
served=$(wc -l <"$T/pod.out")
clean "$PY" "$HERE/control_hostile.py" "$RUN_DIR" "$agent"
after=$(rss_kb "$agent")
echo "ok: memory $before kB, then $after kB; the pod was served $(($(wc -l <"$T/pod.out") - served)) times"
[ $((after - before)) -le $slack ] || fail "the agent grew from $before kB to $after kB"
[ "$(wc -l <"$T/pod.out")" -gt "$served" ] || fail "the pod was not served"
expect_eq "what the pod could not get" '' "$(cat "$T/pod.err")"

# ---- what is shown ------------------------------------------------------------------------------

touch "$T/enough"
wait_for 20 bash -c '"$@" | grep -q relaying' - "${CLEAN[@]}" "$SALLYPORT" sessions --runtime-dir "$RUN_DIR"
ask sessions -n shop --pod cart >"$T/out"
expect_grep "the session" "^shop/cart /[^ ]*curl TCP \[?[0-9a-f.:]+\]?:[0-9]+ => \[?[0-9a-f.:]+\]?:$port .*localhost relaying proxy terminated TLS1.3 http/1.1 tx [0-9.]+ k?B rx [0-9.]+ k?B [0-9.]+" "$T/out"
ask sessions -o json >"$T/out"
expect_eq "the session in JSON" "shop cart $port localhost" \
    "$(jq -r '"\(.pod.namespace) \(.pod.name) \(.socket.dport) \(.host)"' "$T/out")"
expect_eq "sessions of another pod" '' "$(ask sessions -n shop --pod other)"
ask status >"$T/out"
expect_grep "how it is" "^pid +$agent$" "$T/out"
expect_grep "its pods" '^pods +1$' "$T/out"
expect_grep "its flows" '^flows +open 1, total [0-9]+$' "$T/out"
expect_eq "in JSON" "$agent 1" "$(ask status -o json | jq -r '"\(.pid) \(.flows.open)"')"

kill -TERM "$pod"
kill -TERM "$agent"
expect_status "the agent" 0 wait "$agent"
expect_eq "what the agent said" '' "$(grep -v 'events were lost' "$T/agent.err" || true)"
