#!/usr/bin/env bash
# Promise: connections on the kernel route live on, are told and judged, whatever becomes of who looks at
# them: policies change, the agent is killed and another one comes, or one takes its place, the pod is
# removed while its programs say much. kernel_lives.sh [lsm|sockmap]: those that the kernel encrypts, by which back-end
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$(dirname "$0")/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port half <<<"$(free_ports 2)"
LONG='send_timeout 900s;' # while one agent takes another's place, nobody reads a long answer
if [ $# = 0 ]; then
    nginx_server "$port" '' "$LONG"
    URL=http://127.0.0.1:$port NO=PermissionError
else
    # an emulated processor that others use, too, takes its time
    eval "$(declare -f wait_for | sed '1s/.*/wait_on_a_machine ()/')"
    wait_for() { wait_on_a_machine $(($1 * 5)) "${@:2}"; }
    nginx_server "$port" origin "$LONG"
    URL=https://127.0.0.1:$port NO=SSLEOFError # what Python's OpenSSL makes of EPERM, and of EACCES
fi
start_nginx
for name in a b c; do echo "$name" >"$T/www/$name"; done
head -c 4000000 /dev/zero >"$T/www/big"

in_force() { # RULES: these and no others, of all that is said
    cat >"$T/rules.yaml" <<YAML
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: rules}
spec: {route: kernel, $1}
YAML
    sallyport policy apply --runtime-dir "$T/run" "$T/rules.yaml" >"$T/out" 2>"$T/said.err"
}
allow() { # PATH: what may be asked for
    in_force "egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: \"$1\"}]}}]}]"
}
told_of() { # what was asked for so far: path, verdict
    jq -r '.process_http // empty | "\(.path) \(.verdict)"' "$EVENTS" | paste -sd ,
}
are_told() { [ "$(told_of | tr , '\n' | sort | paste -sd ,)" = "$1" ]; } # of several connections

make_cgroup pod
agent_up
expect_eq "the back-end" "${1:-sockmap}" "$(sallyport status --runtime-dir "$T/run" -o json | jq -r .kernel_route.back_end)"
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback
allow '/[ab]'
start_asked p pod "${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_lives.py" "$T/ca.pem"
get() { expect_eq "$1: $2 on $3" "$4" "$(ask p get "$3" "$2")"; }
for name in one two three; do expect_eq "connection $name" ok "$(ask p open "$name" "$URL")"; done

get "what is allowed" /a one 200
get "what is not" /c three $NO
wait_for 10 are_told "/a allow,/c deny"
allow '/([bc]|big)'
get "by the new policy" /c one 200
get "by the new policy" /a two $NO
wait_for 10 are_told "/a allow,/a deny,/c allow,/c deny"
echo "ok: a policy that changes, on $(uname -r)"

closed=('egress: []' 'egress: [{toEntities: [all]}], egressDeny: [{toCIDR: [127.0.0.0/8]}]'
    'egress: [{toCIDR: [192.0.2.1/32], toPorts: [{rules: {http: [{path: "/c"}]}}]}]')
for rules in "${closed[@]}"; do
    expect_eq "a connection" ok "$(ask p open cut "$URL")"
    get "what is allowed" /c cut 200
    in_force "$rules"
    get "where nothing may go any more" /c cut $NO
    expect_eq "a new one" PermissionError "$(ask p open new "$URL")"
    allow '/([bc]|big)'
done
wait_for 10 are_told "/a allow,/a deny,/c allow,/c allow,/c allow,/c allow,/c deny,/c deny,/c deny,/c deny"
expect_no_grep "nothing had gone" 'had gone already' "$EVENTS"
echo "ok: a policy that closes where a connection leads, on $(uname -r)"

for name in two three; do expect_eq "connection $name" ok "$(ask p open "$name" "$URL")"; done
if [ $# = 0 ]; then # whose server has nothing more to say
    background /usr/bin/python3 "$HERE/kernel_lives_half.py" "$half" "$T/half"
    wait_for 20 bash -c "exec 3<>/dev/tcp/127.0.0.1/$half"
    expect_eq "connection half" ok "$(ask p open half "http://127.0.0.1:$half")"
    get "before its server closed its side" /b half 200
    wait_for 10 grep -q '"path":"/b"' "$EVENTS"
fi
agent_down KILL
get "with no agent" /b one 200
get "with no agent" /a two $NO
: >"$EVENTS"
agent_up
expect_no_grep "the next one begins anew" 'is replaced' "$T/agent.err"
get "with the next one" /c one 200
get "with the next one" /a three $NO
wait_for 10 are_told "/a deny,/a deny,/b allow,/c allow" # what was said meanwhile, too
if [ $# = 0 ]; then
    get "with the next one" /a half $NO
    wait_for 10 are_told "/a deny,/a deny,/a deny,/b allow,/c allow"
    expect_no_grep "what its server heard" /a "$T/half"
fi
echo "ok: an agent that is killed, on $(uname -r)"

agent_pid() { sallyport status --runtime-dir "$T/run" -o json | jq .pid; }
is_another() { local pid; pid=$(agent_pid) && [ "$pid" != "$1" ]; }
of_big() { jq -r --argjson sport "$(jq 'select(.process_http.path == "/big").process_http.socket.sport' "$EVENTS")" \
    "to_entries[0] | select(.value.socket.sport == \$sport) | $1" "$EVENTS"; }
is_closed() { [ "$(of_big 'select(.key == "process_close") | .key')" = process_close ]; }
expect_eq "connection four" ok "$(ask p open four "$URL")"
expect_eq "the head of a long answer" 200 "$(ask p begin four /big)"
wait_for 10 grep -q '"path":"/big"' "$EVENTS"
old=$AGENT
agent_up --replace
wait_for 20 is_another "$old"
wait "$old"
expect_eq "all of it" 4000000 "$(ask p finish four)"
get "with the one in its place" /b four 200
expect_eq "its end" ok "$(ask p shut four)"
wait_for 10 is_closed
expect_eq "what was told of it" "${1:+process_tls,}/big,/b,process_close" "$(of_big '.value.path // .value.error // .key' | grep -v process_connect | paste -sd ,)"
echo "ok: an agent in another one's place, on $(uname -r)"

expect_eq "load" ok "$(ask p load "$URL/b")"
is_loud() { [ "$(ask p answers)" -ge $((answers + 8)) ]; }
answers=0
wait_for 20 is_loud
pods remove pod
answers=$(ask p answers)
wait_for 20 is_loud
expect_eq "answers, and what else there was" "True 0" "$(ask p rest)"
get "of no pod any more" /a one 200
expect_eq "its end" ok "$(ask p shut one)"
unread() { grep -q '"error": *"its pod was removed while it was open: what it said from then on was not read"' "$EVENTS"; }
wait_for 10 unread
expect_eq "pods" "" "$(pods_listed)"
agent_down
echo "ok: a pod that is removed, on $(uname -r)"
