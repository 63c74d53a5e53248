#!/usr/bin/env bash
# Promise: whatever comes by the control socket, the agent goes on serving pods and answering others, and
# neither its memory nor its descriptors grow; and `status` and `sessions` say how it is.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$(dirname "$0")/../harness/agent.sh"

slack=8192 # the pod, which is served meanwhile, has its share
if grep -q __asan_init "$SALLYPORT"; then # freed memory is kept for a while
    slack=32768
    CLEAN+=(ASAN_OPTIONS=quarantine_size_mb=1)
fi
at_run() { sallyport "$@" --runtime-dir "$T/run"; }
rss_kb() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }
hostile() { clean /usr/bin/python3 "$HERE/control_hostile.py" "$T/run" "$AGENT" "$@"; }

for command in status sessions; do
    expect_status "$command without an agent" 1 at_run "$command" >"$T/out" 2>"$T/client.err"
    expect_eq "what it says" "sallyport: no agent runs at $T/run; 'sallyport run' starts one" "$(cat "$T/client.err")"
done

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
port=$(free_ports 1)
nginx_server "$port" origin
start_nginx
echo hello >"$T/www/hello"
truncate -s 1M "$T/www/big"
agent_up
make_cgroup pod
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name shop/cart --ports all --loopback

# ---- a pod asks all the time ------------------------------------------------------------------

# shellcheck disable=SC2016 # the inner shell's
background "${IN_CGROUP[@]}" "$CGROUPS/pod" "${CLEAN[@]}" bash -c '
    while [ ! -e "$1/enough" ]; do
        curl -sS --cacert "$1/trusted.pem" "https://localhost:$2/hello" >>"$1/pod.out" 2>>"$1/pod.err" || echo "curl: $?" >>"$1/pod.err"
    done
    exec curl -sS --cacert "$1/trusted.pem" --limit-rate 1k "https://localhost:$2/big" # until it is ended
' - "$T" "$port" >/dev/null
pod=$!
wait_for 20 test -s "$T/pod.out"
hostile >"$T/first" # what is taken the first time stays
before=$(rss_kb "$AGENT")
served=$(wc -l <"$T/pod.out")
hostile wait
after=$(rss_kb "$AGENT")
echo "ok: memory $before kB, then $after kB; the pod was served $(($(wc -l <"$T/pod.out") - served)) times"
[ $((after - before)) -le $slack ] || fail "the agent grew from $before kB to $after kB"
[ "$(wc -l <"$T/pod.out")" -gt "$served" ] || fail "the pod was not served"
expect_eq "what the pod could not get" '' "$(cat "$T/pod.err")"

# ---- what is shown ------------------------------------------------------------------------------

touch "$T/enough"
shows_one() { at_run sessions >"$T/out" && [ "$(grep -c relaying "$T/out")" = 1 ] && [ "$(wc -l <"$T/out")" = 1 ]; }
wait_for 20 shows_one
expect_grep "the session" "^shop/cart /[^ ]*curl TCP [^ ]+:[0-9]+ => [^ ]+:$port localhost relaying proxy terminated TLS1.3 http/1.1 tx [0-9.]+ k?B rx [0-9.]+ [kM]?B [0-9.]+m?s$" "$T/out"
at_run sessions -n shop --pod cart -o json >"$T/out"
expect_eq "the session in JSON" "shop cart $port localhost relaying" \
    "$(jq -r '"\(.pod.namespace) \(.pod.name) \(.socket.dport) \(.host) \(.state)"' "$T/out")"
expect_eq "sessions of another pod" '' "$(at_run sessions -n shop --pod other)"
at_run status >"$T/out"
[ -e /etc/sallyport/sallyport.yaml ] || expect_grep "no configuration" '^config +none$' "$T/out"
expect_lines "how it is" "$T/out" "^version +[0-9]" "^pid +$AGENT$" '^since +20' '^ready +yes$' \
    '^events +told [1-9][0-9]*, lost 0, followers 0, missed 0$' "^output +$EVENTS$" '^pods +1$' '^flows +open 1, total [0-9]+$' \
    '^signer +subject "CN=test agent", until 20' '^files +used ' '^memory +used ' "^ca +$T/agent-ca$" '^reloads +done 0, failed 0$'
expect_eq "in JSON" "$AGENT 1 0" "$(at_run status -o json | jq -r '"\(.pid) \(.flows.open) \(.foreign_programs | length)"')"

# ---- others on our hooks --------------------------------------------------------------------------

/usr/bin/python3 "$HERE/attach_program.py" "$CGROUPS" 2
/usr/bin/python3 "$HERE/attach_program.py" "$CGROUPS/pod" 2
at_run status >"$T/out"
expect_grep "a stranger behind us" "^foreign_programs +hook cgroup/connect4, name stranger, .* at $CGROUPS, consequence \"runs after ours" "$T/out"
expect_grep "a stranger before us" "^foreign_programs +hook cgroup/connect4, name stranger, .* at $CGROUPS/pod, consequence \"runs before ours" "$T/out"
expect_eq "strangers" 2 "$(grep -c ^foreign_programs "$T/out")"

kill -TERM "$pod"
agent_down
expect_no_grep "complaints" 'warning|error' "$T/agent.err"
