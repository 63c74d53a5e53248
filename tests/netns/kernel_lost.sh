#!/usr/bin/env bash
# Promise: what a program says on the kernel route while the agent does not come to read it, and the kernel has no
# more room for, is counted: with its connection, beside what else is wrong with that, and for the machine; and so
# is what was denied then. What is said afterwards is read.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

background /usr/bin/python3 "$HERE/kernel_lost.py" serve 127.0.0.1 >"$T/port"
wait_for 20 grep -q . "$T/port"
make_cgroup pod
cat >"$T/rules.yaml" <<'RULES'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: p}
spec:
  egress:
  - toEntities: [all]
  egressDeny:
  - toEntities: [all]
    toPorts:
    - rules: {http: [{path: /denied}]}
RULES
agent_up --policy "$T/rules.yaml" --admin-address "127.0.0.1:${PORT:=$(free_ports 1)}"
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback --route kernel

"${IN_CGROUP[@]}" "$CGROUPS/pod" "${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_lost.py" ask 127.0.0.1 "$(cat "$T/port")" \
    "$AGENT" "$EVENTS" >"$T/out" 2>"$T/client.err" || fail "the program: $(cat "$T/client.err")"
said=$(cat "$T/out")
has_closed() { [ "$(grep -c process_close "$EVENTS")" = 3 ]; }
wait_for 20 has_closed

OF_IT='bytes of the connection were lost on their way to the agent'
closes() { events '.[].process_close // empty | .error // ""'; }
lost=$(closes | sed -n "s/.*\b\([0-9]\+\) $OF_IT.*/\1/p" | awk '{ n += $1 } END { print n + 0 }')
[[ $lost -gt 0 && $lost -le $said ]] || fail "of $said bytes $lost are told as lost: $(closes)"
expect_eq "... beside what else is wrong" 1 \
    "$(closes | grep -cE "^closed within a request's head, of which 26 bytes had come; [0-9]+ $OF_IT\$")"
expect_eq "what status counts" "$lost" "$(sallyport status --runtime-dir "$T/run" -o json | jq .kernel_route.bytes_lost)"
expect_eq "what was denied" 1 "$(closes | grep -cE "^[0-9]+ $OF_IT; 1 denials of it could not be told\$")"
expect_eq "... in status" "1 1" \
    "$(sallyport status --runtime-dir "$T/run" -o json | jq -r '.kernel_route | "\(.refused) \(.refused_untold)"')"
curl -s "http://127.0.0.1:$PORT/metrics" >"$T/metrics"
expect_grep "what is counted for all" "^sallyport_kernel_lost_bytes_total $lost\$" "$T/metrics"
expect_grep "... of denials" "^sallyport_kernel_untold_refusals_total 1\$" "$T/metrics"

requests() { events '[.[].process_http // empty | select(.path == "'"$1"'") | "\(.code) \(.error)"] | join(", ")'; }
expect_eq "what was said before" "200 null, 200 null, 200 null" "$(requests /answered/before)"
expect_eq "what was said afterwards" 1 "$(requests /after | grep -cE "^null .*; [0-9]+ $OF_IT\$")"
told=$(events '[.[].process_http // empty | select(.path // "" | test("^/[0-9]+$"))] | length')
[ "$told" -lt 20 ] || fail "all $told heads were read: this proves nothing"
pods remove pod
agent_down
echo "ok: of $said bytes $lost are told as lost, $told of 20 heads were read"
