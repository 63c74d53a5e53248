#!/usr/bin/env bash
# Promise: a pod that breaks a policy with onDeny: freeze stands still, with what it has open, until it
# is thawed; the agent shows it; removed, or without an agent, it stays so. A process that breaks one
# with sigkill is killed, and nobody beside it. `exec` says how a frozen command is thawed, and what
# would end it ends it. Nothing of what was refused reaches the server. Another policy counts from an
# open connection's next request on, and the next agent has the same ones before it serves.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
mkdir -p "$T/www"
for name in ok admin; do echo "$name" >"$T/www/$name"; done
mkdir "$T/run"
mount -t tmpfs -o size=1m,mode=700 none "$T/run"
make_cgroup cart other
HTTPS=https://203.0.113.10

policy_file() { # SPEC-LINE...: policy shop/cart, by which /ok alone may be asked for
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart, namespace: shop}' 'spec:' \
        '  egress: [{toCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: "443"}], rules: {http: [{path: /ok}]}}, {ports: [{port: "80"}]}]}]' "${@/#/  }"
}
policy() { policy_file "$@" | sallyport policy apply --runtime-dir "$T/run" - >/dev/null; }
saw() { grep -c "$1" "$T/access" || true; }
frozen() { grep -q 'frozen 1' "$CGROUPS/$1/cgroup.events"; }
runs() { grep -q 'frozen 0' "$CGROUPS/$1/cgroup.events"; }
lists() { pods list | grep -qE -e "$1"; }
status() { sallyport status --runtime-dir "$T/run" -o json | jq -r "$1"; }
tell() { echo "${*:2}" >&"${PROGRAM_IN[$1]}"; } # NAME WORDS...: as ask does, without waiting
answer() { # NAME: to what tell has said
    local answer
    read -r -t $((30 * ${SALLYPORT_SLOW:-1})) answer <&"${PROGRAM_OUT[$1]}" || fail "$1 does not answer"
    echo "$answer"
}
gets_nothing() { # WHAT NAME: the connection ended, without an answer
    local answer
    answer=$(answer "$2")
    [[ $answer == ECONNRESET || $answer == RemoteDisconnected* ]] || fail "$1: $answer"
}
denied() { is_told ".process_policy.action == \"$1\" and .process_policy.verdict == \"deny\"" "${2:-1}"; }
: >"$T/access"

agent_up --drain-timeout 1s
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart
pods add --cgroup "$CGROUPS/other" --netns "/run/netns/$POD" --name other
for name in cart second; do start_program "$name" cart "${IN_POD[@]}"; done
start_program other other "${IN_POD[@]}"

# ---- an open connection, and another policy ------------------------------------------------------

expect_eq "before" "200 192.0.2.2" "$(ask cart open old $HTTPS/admin)"
policy 'mode: monitor'
expect_eq "told, not refused" "200 192.0.2.2" "$(ask cart again old)"
wait_for 5 is_told '.process_policy.mode == "monitor" and .process_policy.verdict == "alert"'
policy
expect_eq "refused from its next request on" "403 192.0.2.2" "$(ask cart again old)"
expect_eq "by the same connection" 2 "$(saw '/admin')"
expect_eq "another pod is not asked" "200 192.0.2.2" "$(ask other get $HTTPS/ok)"

# ---- freeze --------------------------------------------------------------------------------------

policy 'onDeny: freeze'
: >"$T/access"
expect_eq "a connection" "200 192.0.2.2" "$(ask cart open kept $HTTPS/ok)"
mkfifo "$T/late.in"
"${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD[@]}" bash -c 'exec 3<>/dev/tcp/203.0.113.10/80; echo connected; read -r
    printf "GET /ok?late HTTP/1.0\r\nHost: 203.0.113.10\r\n\r\n" >&3; cat <&3' <>"$T/late.in" >"$T/late.out" &
LATE=$!
wait_for 10 grep -q connected "$T/late.out"
tell second get $HTTPS/admin
wait_for 20 frozen cart
wait_for 5 denied freeze
wait_for 5 lists '^shop/cart .*  \(frozen\)$'
expect_eq "as JSON" "true false" "$(pods list -o json | jq .frozen | paste -sd ' ')"
expect_eq "the status" 1 "$(status .pods_frozen)"
expect_eq "another pod goes on" "200 192.0.2.2" "$(ask other get $HTTPS/ok)"
tell cart again kept
if [ -n "${SALLYPORT_FULL:-}" ]; then sleep 12; fi # longer than a silent program has
pods thaw shop/cart
wait_for 10 runs cart
expect_eq "what was open goes on" "200 192.0.2.2" "$(answer cart)"
gets_nothing "what was refused does not" second
echo >"$T/late.in"
expect_status "who had said nothing yet" 0 wait "$LATE"
wait_for 5 is_told '.process_http.url == "/ok?late" and .process_http.code == 200'
expect_no_grep "nobody is frozen" 'frozen' <(pods list)
expect_eq "nor for the status" null "$(status .pods_frozen)"
expect_eq "the server saw nothing of it" 0 "$(saw /admin)"

# thawed by hand, then without an agent, then as a pod no more
tell second get $HTTPS/admin
wait_for 20 frozen cart
agent_down TERM
frozen cart || fail "the end of the agent has thawed the pod"
agent_up --drain-timeout 1s
wait_for 5 lists '^shop/cart .*  \(frozen\)$'
LOGGED=$(wc -l <"$T/agent.err")
pods remove shop/cart
expect_grep "that it stays so is told" "pod shop/cart stays frozen: .*echo 0 >$CGROUPS/cart/cgroup.freeze" \
    <(tail -n "+$((LOGGED + 1))" "$T/agent.err")
frozen cart || fail "the end of the pod has thawed it"
echo 0 >"$CGROUPS/cart/cgroup.freeze"
gets_nothing "thawed by hand" second

# ---- the next agent ------------------------------------------------------------------------------

pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart
policy
agent_down KILL
tell cart get $HTTPS/admin # which waits
agent_up --drain-timeout 1s
expect_eq "what waited is judged" "403 192.0.2.2" "$(answer cart)"
kill -USR2 "$AGENT"
is_replaced() { [ "$(status .pid 2>/dev/null)" != "$AGENT" ]; }
wait_for 30 is_replaced
expect_eq "a successor" "403 192.0.2.2" "$(ask cart get $HTTPS/admin)"
expect_eq "the server saw nothing of it" 0 "$(saw /admin)"
AGENT=$(status .pid)

# ---- sigkill -------------------------------------------------------------------------------------

policy 'onDeny: sigkill'
tell second get $HTTPS/admin
wait_for 20 dead "${PROGRAM_PID[second]}"
expect_status "who was killed" 137 wait "${PROGRAM_PID[second]}" 2>/dev/null
expect_eq "and nobody else" "200 192.0.2.2" "$(ask cart get $HTTPS/ok)"
expect_eq "the server saw nothing of it" 0 "$(saw /admin)"

# ---- a command -----------------------------------------------------------------------------------

policy_file 'onDeny: freeze' | sed 's/, namespace: shop//' >"$T/policy.yaml"
cat >"$T/command.sh" <<'COMMAND'
trap '' INT TERM
curl -sS -m 30 "$1"
COMMAND
"${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec --upstream-ca "$T/ca.pem" --policy "$T/policy.yaml" \
    -- bash "$T/command.sh" $HTTPS/admin >"$T/out" 2>"$T/exec.err" &
RUN=$!
wait_for 20 grep -q 'the command is frozen' "$T/exec.err"
cgroup=$(sed -n "s/.*'echo 0 >\(.*\)\/cgroup.freeze'.*/\1/p" "$T/exec.err")
grep -q 'frozen 1' "$cgroup/cgroup.events" || fail "$cgroup is not frozen"
kill -TERM "$RUN"
expect_status "SIGTERM to a frozen command" 137 wait "$RUN"
[ ! -e "$cgroup" ] || fail "$cgroup is left"

make_cgroup shell
policy_file 'onDeny: freeze' | sed 's/: shop}/: exec}/' >"$T/policy.yaml"
sallyport policy apply --runtime-dir "$T/run" "$T/policy.yaml" >/dev/null
"${IN_CGROUP[@]}" "$CGROUPS/shell" "${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec --agent --runtime-dir "$T/run" \
    -- curl -sS -m 30 $HTTPS/admin >"$T/out" 2>"$T/exec.err" &
RUN=$!
wait_for 20 grep -q 'the command is frozen' "$T/exec.err"
name=$(sed -n "s/.*'sallyport pods thaw \(exec\/[^']*\)' or .*/\1/p" "$T/exec.err")
pods thaw "$name"
expect_status "a thawed pod of the agent" 56 wait "$RUN"
expect_eq "the server saw nothing of it" 0 "$(saw /admin)"
AGENT_PID=$AGENT AGENT=
kill -TERM "$AGENT_PID"
wait_for 30 dead "$AGENT_PID"
