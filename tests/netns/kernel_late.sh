#!/usr/bin/env bash
# Promise: of connections that came and went while the agent stood still, what they said is told before their close, which
# says what they were; and of those that the kernel had no more room for, each one's close says what it lost, though
# nothing else of it came up. However much there is to be caught up on.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"
BEFORE=6000 AFTER=300

background /usr/bin/python3 "$HERE/kernel_lost.py" serve 127.0.0.1 >"$T/port"
wait_for 20 grep -q . "$T/port"
make_cgroup pod
agent_up
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback --route kernel

"${IN_CGROUP[@]}" "$CGROUPS/pod" "${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_lost.py" briefly 127.0.0.1 "$(cat "$T/port")" \
    "$AGENT" "$BEFORE" "$AFTER" 2>"$T/client.err" || fail "the program: $(cat "$T/client.err")"
has_closed() { [ "$(grep -c process_close "$EVENTS")" = $((BEFORE + 1 + AFTER)) ]; }
wait_for 120 has_closed

OF_IT='bytes of the connection were lost on their way to the agent'
# As they were told: of each connection what was told, in its order.
jq -n '[inputs | (.process_connect, .process_http, .process_close) as $it | select($it) | {
    of: $it.socket.cookie, what: (keys[] | select(startswith("process_"))), code: $it.code, visibility: $it.visibility,
    error: ($it.error // "")}] | group_by(.of)' "$EVENTS" >"$T/connections"
told() { jq -r "[.[] | select($1)] | length" "$T/connections"; }
expect_eq "connections" $((BEFORE + 1 + AFTER)) "$(jq length "$T/connections")"
expect_eq "those of which something is told after their close" 0 "$(told '.[-1].what != "process_close"')"
expect_eq "those that are told whole" "$BEFORE" \
    "$(told 'length == 3 and .[1].code == 200 and .[2].visibility == "plaintext" and .[2].error == ""')"
expect_eq "those whose close says what they lost" $((AFTER + 1)) \
    "$(told ".[-1].error | test(\"^[1-9][0-9]* $OF_IT\$\")")"
expect_eq "... which is all" "$(sallyport status --runtime-dir "$T/run" -o json | jq .kernel_route.bytes_lost)" \
    "$(jq "[.[][-1].error | capture(\"(?<n>[0-9]+) $OF_IT\").n | tonumber] | add" "$T/connections")"
wait_for 20 grep -q process_exit "$EVENTS"
expect_eq "what is told after the program's end" 0 \
    "$(jq -n '[inputs | keys[] | select(startswith("process_"))] | index("process_exit") as $at |
        .[$at:] | map(select(. != "process_exit")) | length' "$EVENTS")"
pods remove pod
agent_down
echo "ok: $BEFORE connections told whole before their close, $((AFTER + 1)) with what they lost"
