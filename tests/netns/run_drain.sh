#!/usr/bin/env bash
# Promise: an agent that is asked to end lets flows end first, as long as drainTimeout allows; what is left
# then is reset, and told. Asked again, it does not wait.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
echo content >"$T/www/file"
make_cgroup cart
HTTPS=https://203.0.113.10/file
ended() { # how the agent ended
    local status=0
    wait "$AGENT" || status=$?
    AGENT=''
    expect_eq "the agent's exit status" 0 "$status"
}
closes() { told '.process_close.process.pod.name == "cart" and .process_close.visibility == "terminated"'; }

# ---- what is left after the time-out ----------------------------------------

agent_up --drain-timeout 1s
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name cart
start_program cart cart "${IN_POD[@]}"
expect_eq "before" "200 192.0.2.2" "$(ask cart open kept "$HTTPS")"
kill -TERM "$AGENT"
expect_eq "while it drains" "200 192.0.2.2" "$(ask cart again kept)"
ended
after=$(ask cart again kept)
[[ $after != 200* ]] || fail "the connection outlived its agent"
wait_for 5 is_told '.process_close.process.pod.name == "cart"'

# ---- what ends before it, and a second signal -------------------------------

agent_up
expect_eq "the next agent" "200 192.0.2.2" "$(ask cart open short "$HTTPS")"
expect_eq "one that stays" "200 192.0.2.2" "$(ask cart open long "$HTTPS")"
kill -TERM "$AGENT"
ask cart shut short >/dev/null
wait_for 5 grep -q 'Ending\|ending' "$T/agent.err"
alive "$AGENT" || fail "it did not wait for the connection that stays"
before=$(closes)
until dead "$AGENT"; do kill -TERM "$AGENT" 2>/dev/null || true; sleep 0.2; done # a second later, it heeds
ended
[ "$(closes)" -gt "$before" ] || fail "the close of what was cut off is not told"

# ---- the next one starts at once --------------------------------------------

next() { # SIGNAL: to the one that runs; its successor does not wait for its end
    local old=$AGENT
    kill "-$1" "$old"
    agent_up
    wait "$old" || [ "$1" = KILL ] || fail "the agent ended badly: $(tail -n 5 "$T/agent.err")"
}
agent_up
next KILL
next TERM
expect_eq "after those" "200 192.0.2.2" "$(ask cart open after "$HTTPS")"
ask cart shut after >/dev/null
pods remove --all
for _ in 1 2 3; do next TERM; done # which leave nothing
next KILL
