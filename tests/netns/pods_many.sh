#!/usr/bin/env bash
# Promise: 200 pods in 200 network namespaces (fewer without --full): what each does is told under its own name,
# an agent that has nothing to do takes next to no time and little memory, and all are let go together.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

COUNT=${FULL:+200}
COUNT=${COUNT:-40}
SECONDS_IDLE=${FULL:+20}
SECONDS_IDLE=${SECONDS_IDLE:-2}
agent_up
mkfifo "$T/orders" "$T/answers"
exec {orders}<>"$T/orders" {answers}<>"$T/answers"
background "${CLEAN[@]}" /usr/bin/python3 "$HERE/pods_many.py" "$T/run/control.sock" "$CGROUPS" "$COUNT" \
    <"$T/orders" >"$T/answers" 2>"$T/many.err"
answer() { # WANTED
    local got
    read -r -t 120 got <&"$answers" || fail "no answer: $(cat "$T/many.err")"
    expect_eq "answer: $(cat "$T/many.err")" "$1" "$got"
}
answer ready
expect_eq "listed" "$COUNT" "$(pods list | wc -l)"

agent_ms() { awk '{ print ($14 + $15) * 10 }' "/proc/$AGENT/stat"; }
agent_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$AGENT/status"; }
netns_held() { find "/proc/$AGENT/fd" -lname 'net:*' | wc -l; }
before=$(agent_ms)
sleep "$SECONDS_IDLE"
used=$(($(agent_ms) - before))
echo "$COUNT pods, idle for $SECONDS_IDLE s: $used ms of CPU ($(awk "BEGIN { print $used / $SECONDS_IDLE / 10 }") %), $(($(agent_kb) / 1024)) MB"
if [ -n "$FULL" ] && ! grep -q __asan_init "$SALLYPORT"; then # what a sanitizer takes says nothing
    [ "$used" -lt $((SECONDS_IDLE * 5)) ] || fail "more than 0.5 % of a CPU while nothing happens"
    [ "$(agent_kb)" -lt 60000 ] || fail "more than 60 MB"
fi

for _ in 1 2; do
    echo go >&"$orders"
    answer go
done
wait_for 20 is_told .process_http $((2 * COUNT))
expect_eq "each under its own name" "$(seq 0 $((COUNT - 1)) | sed 's/.*/many pod-& & 2/')" \
    "$(events '[.[].process_http // empty | select(.path == "/" + .process.pod.name)]
               | group_by(.process.pod.pod_labels.number | tonumber)[]
               | "\(.[0].process.pod.namespace) \(.[0].process.pod.name) \(.[0].process.pod.pod_labels.number) \(length)"')"
expect_all_seq
echo "after $((2 * COUNT)) requests: $(($(agent_kb) / 1024)) MB"

start=${EPOCHREALTIME/./}
echo end >&"$orders"
answer end
wait_for 10 pods_are ""
nobody_held() { [ "$(netns_held)" -le 1 ]; }
wait_for 10 nobody_held
echo "all let go: $(((${EPOCHREALTIME/./} - start) / 1000)) ms"
agent_down
