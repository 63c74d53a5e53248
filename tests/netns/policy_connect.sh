#!/usr/bin/env bash
# Promise: the kernel refuses a connect that no rule allows, by address, port and program, TCP and UDP, and says so with
# the rule; nothing arrives. A name opens the address that it was resolved to, and no other. Raw sockets, MPTCP, SCTP
# are refused. onDeny and mode do what they say. Rules stay in force while the agent is gone, and change as a whole.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_namespaces
start_dnsmasq host-record=open.example,203.0.113.10 host-record=other.example,203.0.113.53
NGINX_LISTEN=(203.0.113.10 203.0.113.53 '[2001:db8:2::10]')
nginx_server 80
nginx_server 9000
nginx_server 9001
start_nginx "${IN_UPSTREAM[@]}"
echo small >"$T/www/small"
cat >"$T/echo.py" <<'PY'
import select, socket, sys
sockets = []
for address in ("203.0.113.10", 5000), ("203.0.113.10", 5001), ("203.0.113.53", 5000):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(address)
    sockets.append(s)
server = socket.create_server(("203.0.113.10", 53))
with open(sys.argv[1], "a") as log:
    print("serves", file=log, flush=True)
    while True:
        for s in select.select([*sockets, server], [], [])[0]:
            if s is server:
                s.accept()[0].close()
                print("got", 53, file=log, flush=True)
                continue
            data, peer = s.recvfrom(100)
            print("got", s.getsockname()[1], file=log, flush=True)
            s.sendto(data, peer)
PY
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$T/echo.py" "$T/echo.log"
wait_for 20 grep -q serves "$T/echo.log"

make_cgroup cart
agent_up
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name cart

policy_text() { # SPEC-LINES...
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }"
}
policy() { # SPEC-LINES...: in force from now on; what was told before is another's
    policy_text "$@" | sallyport policy apply --runtime-dir "$T/run" - >/dev/null
    : >"$T/access"
    FIRST=$(($(wc -l <"$EVENTS") + 1))
}
in_cart() { "${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD_DNS[@]}" "${CLEAN[@]}" "$@"; }
tries() { in_cart /usr/bin/python3 "$HERE/policy_connect.py" "$@"; }
lines() { printf '%s\n' "$@"; }
decided() { tail -n "+$FIRST" "$EVENTS" | jq -r '.process_policy // empty | "\(.verdict) \(.action // "-") \(.mode) \(.point) \(.policy) \(.rule): \(.reason)"'; }
connects() { tail -n "+$FIRST" "$EVENTS" | jq -r '.process_connect // empty | "\(.socket.protocol) \(.socket.daddr) \(.socket.dport) \(.verdict // "-") \(.rule // "-") \(.error // "-")"'; }
told_all() { [ "$(tail -n "+$FIRST" "$EVENTS" | jq -r 'select(.process_exit) | 1' | wc -l)" -ge "${1:-1}" ]; } # the program's end, which comes last
arrived() { { cat "$T/access"; grep got "$T/echo.log" || true; } | sort | uniq -c | awk '{ print $2 " " $3 " " $1 }'; : >"$T/access"; echo serves >"$T/echo.log"; }

# ---- address and port ---------------------------------------------------------------------------------

policy 'egress:' '- toCIDR: [203.0.113.10/32, "2001:db8:2::/48"]' \
    '  toPorts: [{ports: [{port: "9000", protocol: TCP}, {port: "5000", protocol: UDP}]}]'
: >"$T/access"
expect_eq "by address and port" "$(lines 'tcp:203.0.113.10:9000 ok' 'tcp:203.0.113.10:9001 EPERM' 'tcp:203.0.113.53:9000 EPERM' \
    'tcp:2001:db8:2::10:9000 ok' 'tcp:2001:db8:2::10:9001 EPERM' 'tcp:::ffff:203.0.113.10:9001 EPERM' \
    'udp:203.0.113.10:5000 ok' 'send:203.0.113.10:5000 ok' 'udp:203.0.113.10:5001 EPERM' 'send:203.0.113.10:5001 EPERM' \
    'send:203.0.113.53:5000 EPERM')" \
    "$(tries tcp:203.0.113.10:900{0,1} tcp:203.0.113.53:9000 tcp:2001:db8:2::10:900{0,1} tcp:::ffff:203.0.113.10:9001 \
        {udp,send}:203.0.113.10:5000 {udp,send}:203.0.113.10:5001 send:203.0.113.53:5000)"
expect_eq "what arrived" "got 5000 2" "$(arrived)"
wait_for 20 told_all
in='egress[0].toPorts[0]'
expect_eq "told of each connect" "$(lines "TCP 203.0.113.10 9000 allow $in -" "TCP 203.0.113.10 9001 deny egress Operation not permitted" \
    'TCP 203.0.113.53 9000 deny egress Operation not permitted' "TCP 2001:db8:2::10 9000 allow $in -" \
    "TCP 2001:db8:2::10 9001 deny egress Operation not permitted" "TCP 203.0.113.10 9001 deny egress Operation not permitted" \
    "UDP 203.0.113.10 5000 allow $in -" "UDP 203.0.113.10 5000 allow $in -" "UDP 203.0.113.10 5001 deny egress Operation not permitted" \
    "UDP 203.0.113.10 5001 deny egress Operation not permitted" 'UDP 203.0.113.53 5000 deny egress Operation not permitted')" "$(connects)"
expect_eq "told of the policy" "deny reject enforce connect cart egress: no rule allows 203.0.113.53:9000/TCP" "$(decided | sed -n 2p)"
expect_grep "by the program" '"process_policy":.*"binary":"/usr/bin/python3' "$EVENTS"
expect_status "curl" 7 in_cart curl -s -m 20 http://203.0.113.10:9001/small
expect_eq "curl" "small" "$(in_cart curl -s -m 20 http://203.0.113.10:9000/small)"
echo "ok: by address and port"

# ---- what is done -------------------------------------------------------------------------------------

: >"$T/access"
policy 'onDeny: reset' 'egress: []'
expect_eq "reset" "tcp:203.0.113.10:9000 ECONNREFUSED" "$(tries tcp:203.0.113.10:9000)"
policy 'onDeny: sigkill' 'egress: []'
{ expect_status "sigkill" 137 tries tcp:203.0.113.10:9000 sleep </dev/zero >"$T/out"; } 2>/dev/null # where bash says so
wait_for 20 told_all
expect_eq "sigkill" "deny sigkill enforce connect cart egress: no rule allows 203.0.113.10:9000/TCP" "$(decided)"
policy 'mode: monitor' 'egress: []'
expect_eq "monitor" "tcp:203.0.113.10:9000 ok" "$(tries tcp:203.0.113.10:9000)"
wait_for 20 told_all
expect_eq "monitor" "alert reject monitor connect cart egress: no rule allows 203.0.113.10:9000/TCP" "$(decided)"
expect_eq "monitor" "TCP 203.0.113.10 9000 alert egress -" "$(connects)"
policy 'egressDeny: [{toCIDR: [203.0.113.53/32]}]'
expect_eq "egressDeny" "$(lines 'tcp:203.0.113.10:9000 ok' 'tcp:203.0.113.53:9000 EPERM')" "$(tries tcp:203.0.113.{10,53}:9000)"
policy 'egress: []' 'egressDeny: [{toCIDR: [127.0.0.0/8]}]'
expect_eq "the pod itself" "$(lines 'tcp:127.0.0.1:9000 EPERM' 'send:127.0.0.1:5000 EPERM' 'tcp:::1:9000 ECONNREFUSED')" \
    "$(tries tcp:127.0.0.1:9000 send:127.0.0.1:5000 tcp:::1:9000)"
wait_for 20 told_all
expect_eq "the pod itself" "deny reject enforce connect cart egressDeny[0]: a rule denies 127.0.0.1:9000/TCP" "$(decided | head -n 1)"
echo "ok: reset, sigkill, monitor, egressDeny"

# The agent is who refuses questions, so it is connected to; but whom no rule allows does not hear of it.
: >"$T/access"
policy 'egress: [{toCIDR: [203.0.113.53/32]}]'
tries tcp:203.0.113.10:53 >"$T/out"
expect_grep "no name server" '^tcp:203.0.113.10:53 (ok|ECONNRESET)$' "$T/out" # it may see both at once
wait_for 20 told_all
expect_eq "no name server" "deny reject enforce connect cart egress: no rule allows 203.0.113.10:53/TCP" "$(decided)"
policy 'egress: [{toCIDR: [203.0.113.10/32]}]'
expect_eq "a name server" "tcp:203.0.113.10:53 ok" "$(tries tcp:203.0.113.10:53)"
wait_for 20 grep -q 'got 53' "$T/echo.log"
expect_eq "what arrived" "got 53 1" "$(arrived)"
echo "ok: a name server that no rule allows"

# ---- sockets of other kinds ---------------------------------------------------------------------------

"${IN_POD[@]}" sh -c 'echo 0 0 >/proc/sys/net/ipv4/ping_group_range' # whom the kernel lets have one
policy 'egress: [{toCIDR: [203.0.113.0/24]}]'
expect_eq "of other kinds" "$(lines 'raw EPERM' 'packets EPERM' 'ping EPERM' 'mptcp EPROTONOSUPPORT' 'udplite EPERM')" \
    "$(tries raw packets ping mptcp udplite)"
wait_for 20 told_all
for kind in 'a raw socket' 'a raw socket' 'a socket for pings' MPTCP UDP-Lite; do
    echo "deny reject enforce visibility cart egress: $kind cannot be judged by address and port"
done >"$T/kinds"
expect_eq "of other kinds" "$(cat "$T/kinds")" "$(decided)"
policy 'mode: monitor' 'egress: []'
expect_eq "told" "raw ok" "$(tries raw)"
wait_for 20 told_all
expect_eq "told" "alert reject monitor visibility cart egress: a raw socket cannot be judged by address and port" "$(decided)"
echo "ok: raw sockets, pings, MPTCP, UDP-Lite"

# ---- programs -----------------------------------------------------------------------------------------

cp /usr/bin/curl "$T/curly"
policy "matchBinaries: [{operator: In, values: [$T/curly]}]" 'egress: []'
expect_eq "another program" "small" "$(in_cart curl -s -m 20 http://203.0.113.10:9000/small)"
expect_status "the program" 7 in_cart "$T/curly" -s -m 20 http://203.0.113.10:9000/small
expect_eq "its child" "small" "$(in_cart sh -c "'$T/curly' -s -m 20 http://203.0.113.10:9000/ || curl -s http://203.0.113.10:9000/small")"
policy "matchBinaries: [{operator: NotPrefix, values: [$T/curl], followChildren: true}]" 'egress: []'
expect_eq "the family" "small" "$(in_cart "$T/curly" -s -m 20 http://203.0.113.10:9000/small)"
expect_status "no family" 7 in_cart curl -s -m 20 http://203.0.113.10:9000/small

mkfifo "$T/go"
exec 5<>"$T/go"
in_cart /usr/bin/python3 "$HERE/policy_connect.py" sleep {tcp,udp}:203.0.113.10:{9000,5000} sleep {tcp,udp}:203.0.113.10:{9000,5000} <&5 >"$T/out" &
PIDS+=("$!")
policy "matchBinaries: [{operator: In, values: [$T/curly]}]" 'egress: []'
echo >&5
wait_for 20 grep -q '^udp:203.0.113.10:5000' "$T/out"
policy "matchBinaries: [{operator: In, values: [$(realpath /usr/bin/python3)]}]" 'egress: []'
echo >&5
wait "$!"
expect_eq "who was there before a list" "$(lines 'sleep ok' 'tcp:203.0.113.10:9000 ok' 'tcp:203.0.113.10:5000 ECONNREFUSED' \
    'udp:203.0.113.10:9000 ECONNREFUSED' 'udp:203.0.113.10:5000 ok' 'sleep ok' {tcp,udp}:203.0.113.10:{9000,5000}\ EPERM)" "$(cat "$T/out")"
echo "ok: by program"

# ---- names --------------------------------------------------------------------------------------------

policy_text 'egress:' '- toFQDNs: [{matchName: open.example}]' '  toPorts: [{ports: [{port: "9000"}, {port: "53", protocol: ANY}]}]' >"$T/policy.yaml"
: >"$T/access"
cat >"$T/names.sh" <<NAMES
python3 "$HERE/policy_connect.py" tcp:203.0.113.10:9000
curl -s -m 20 http://open.example:9000/small
python3 "$HERE/policy_connect.py" tcp:203.0.113.10:9001 tcp:203.0.113.53:9000
NAMES
expect_eq "before and after it was resolved" "$(lines 'tcp:203.0.113.10:9000 EPERM' small 'tcp:203.0.113.10:9001 EPERM' 'tcp:203.0.113.53:9000 EPERM')" \
    "$("${IN_POD_DNS[@]}" "${CLEAN[@]}" "$SALLYPORT" exec --ca "$T/agent-ca" --policy "$T/policy.yaml" --events-file "$T/exec.events" -- sh "$T/names.sh")"
expect_eq "what arrived" "GET /small" "$(cut -d' ' -f2,3 "$T/access")"
echo "ok: by name"

# ---- the agent is gone, comes back, and has other policies --------------------------------------------

policy 'egress: [{toCIDR: [203.0.113.10/32], toPorts: [{ports: [{port: "9000"}]}]}]'
both=(tcp:203.0.113.10:9000 tcp:203.0.113.10:9001 udp:203.0.113.10:5001)
before=$(lines 'tcp:203.0.113.10:9000 ok' 'tcp:203.0.113.10:9001 EPERM' 'udp:203.0.113.10:5001 EPERM')
after=$(lines 'tcp:203.0.113.10:9000 EPERM' 'tcp:203.0.113.10:9001 ok' 'udp:203.0.113.10:5001 ok')
expect_eq "the agent is there" "$before" "$(tries "${both[@]}")"
{ agent_down KILL; } 2>/dev/null # where bash says so
expect_eq "it is gone" "$before" "$(tries "${both[@]}")"
agent_up
expect_eq "it is back" "$before" "$(tries "${both[@]}")"
policy 'egress: [{toCIDR: [203.0.113.10/32], toPorts: [{ports: [{port: "9001"}, {port: "5001", protocol: UDP}]}]}]'
expect_eq "other policies" "$after" "$(tries "${both[@]}")"

policy 'egress:' '- toFQDNs: [{matchName: open.example}]' '  toPorts: [{ports: [{port: "9000"}]}]' \
    '- toCIDR: [203.0.113.53/32]' '  toPorts: [{ports: [{port: "53", protocol: ANY}]}]'
knows=(in_cart curl -s -m 20 --resolve open.example:9000:203.0.113.10 http://open.example:9000/small) # as who asked before
expect_status "nobody asked" 7 "${knows[@]}"
expect_eq "a name" small "$(in_cart curl -s -m 20 http://open.example:9000/small)"
{ agent_down KILL; } 2>/dev/null
expect_eq "a name, and no agent" "$(lines 'tcp:203.0.113.53:9000 EPERM' 'tcp:203.0.113.10:9001 EPERM')" "$(tries tcp:203.0.113.53:9000 tcp:203.0.113.10:9001)"
agent_up
expect_eq "a name that the agent before was told" small "$("${knows[@]}")"
echo "ok: whether the agent is there or not"
