#!/usr/bin/env bash
# Promise: a program that tries one way after another to get a request past its policy, where rules read requests, gets
# none of them out: not by what it says, not by the sockets it says it with, nor by who it is when it says it.
# Of each the servers see nothing, and each is told.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca DNS:good.example,DNS:evil.example
make_namespaces
ip -n "$UPSTREAM" address add 203.0.113.54/32 dev lo
ip link add eth1 netns "$POD" type veth peer name eth1 netns "$UPSTREAM" # a way that is not taken
ip -n "$POD" address add 198.51.100.2/24 dev eth1
for ns in "$POD" "$UPSTREAM"; do ip -n "$ns" link set eth1 up; done
ip -n "$POD" route add default via 198.51.100.1 metric 2000
ip -n "$POD" neighbour add 198.51.100.1 lladdr 02:00:00:00:00:01 dev eth1
start_dnsmasq host-record=good.example,203.0.113.10
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
echo fine. >"$T/www/ok"
echo got. >"$T/www/secret"
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/policy_bypass_sides.py" origin "$T/origin.log"
wait_for 20 grep -q serves "$T/origin.log"

cat >"$T/policy.yaml" <<'YAML'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: cart}
spec:
  egress:
  - toCIDR: [203.0.113.10/32]
    toPorts:
    - ports: [{port: "443", protocol: TCP}]
      rules: {http: [{method: GET, path: /ok, host: "good[.]example"}]}
  - toCIDR: [203.0.113.10/32, "2001:db8:2::10/128"]
    toPorts: [{ports: [{port: "7000", protocol: TCP}]}]
  - toCIDR: [203.0.113.53/32]
    toPorts:
    - ports: [{port: "53", protocol: ANY}]
      rules: {dns: [{matchName: good.example}]}
YAML

sed 's/cart/curly/; s|^spec:|&\n  matchBinaries: [{operator: In, values: ['"$T"'/curly]}]|; s|path: /ok|path: /secret|' "$T/policy.yaml" >"$T/curly.yaml"
cp "$(realpath /usr/bin/python3)" "$T/curly"

make_cgroup cart outside
agent_up
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name cart
sallyport policy apply --runtime-dir "$T/run" "$T/policy.yaml" >/dev/null

PROGRAM=("${CLEAN[@]}" LENDER="$T/lender" CURLY="$T/curly" /usr/bin/python3 "$HERE/policy_bypass.py")
in_cart() { "${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD[@]}" "${PROGRAM[@]}" "$T/trusted.pem" "$@"; }
EXEC=("${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$T/exec.events" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem")
in_exec() { "${EXEC[@]}" --policy "$T/policy.yaml" -- "${PROGRAM[@]}" "$T/trusted.pem" "$@"; }
lines() { printf '%s\n' "$@"; }
decided() { jq -r '.process_policy // empty | "\(.verdict) \(.action) \(.point): \(.reason)"' "$1" | sort -u; }
# what the servers have of it: none of the requests, no word on the wire, and nothing at ports that are nobody's
nothing_arrived() { # WHAT
    expect_no_grep "$1: requests at the server" secret "$T/access"
    expect_eq "$1: what else arrived" serves "$(cat "$T/origin.log")"
}

# ---- one way after another ----------------------------------------------------------------------------

# A connection ended without an answer is "nothing" or a reset, by who was first.
cat >"$T/wanted" <<'WAYS'
asks 403
refuses_our_leaf CERTIFICATE_VERIFY_FAILED
ktls_zero_key nothing
ktls_behind_a_hello nothing
ktls_behind_a_handshake nothing
plain_bytes 403
odd_bytes nothing
old_ssl nothing
old_tls nothing
early_data nothing
ech nothing
other_protocol nothing
fronting 403
other_name 403
upgrade_websocket 200 403
upgrade_h2c 200 403
connect_method 403
absolute_form 403
bytewise 403
pipelined 200 403
behind_a_body 200 403
two_lengths 400
chunked_and_length 400
path_of_dots 403
fast_open 403
fast_open_elsewhere EPERM
closed_port EPERM
mapped_address EPERM
connects_again EPERM
bound_to_a_device EPERM
route_later sent
route_unread sent
route_v6 sent
device_later sent
device_question EPERM
listener_that_connects EPERM
quic EPERM
datagram_connected_again EPERM
datagrams_at_once 1 of 2
datagram_with_source EPERM
other_resolver rcode 5
other_resolver_tcp nothing
questions_pipelined rcode 0,5
question_compressed nothing
raw_socket EPERM
sctp EPERM
mptcp EPERM
udplite EPERM
another_sends 403
cgroup_below EPERM
WAYS
cat >"$T/told" <<'TOLD'
deny reject connect: no rule allows 203.0.113.10:9000/TCP
deny reject connect: no rule allows 203.0.113.10:9000/UDP
deny reject connect: no rule allows 203.0.113.54:53/TCP
deny reject dns: no rule allows questions to 203.0.113.54:53/UDP
deny reject dns: no rule allows the name secret.example, type A
deny reject http: no rule allows CONNECT good.example:443
deny reject http: no rule allows GET /ok
deny reject http: no rule allows GET /ok/../secret
deny reject http: no rule allows GET /secret
deny reject visibility: MPTCP cannot be judged by address and port
deny reject visibility: UDP-Lite cannot be judged by address and port
deny reject visibility: a connection by a route of the program's own cannot be judged by address and port
deny reject visibility: a raw socket cannot be judged by address and port
deny reset visibility: it is neither TLS nor HTTP
deny reset visibility: it is no question of the DNS
deny reset visibility: it speaks another protocol than HTTP
deny reset visibility: its TLS is older than 1.2
deny reset visibility: the program refused our certificate
TOLD
mapfile -t ways < <(cut -d' ' -f1 "$T/wanted")
all_told() { decided "$1" | grep -vE 'SCTP|said nothing' | cmp - "$T/told"; }
try_all() { # HOW EVENTS
    "in_$1" "${ways[@]}" >"$T/out"
    # not every kernel has each kind of socket
    sed -i -E 's/ (ECONNRESET|BrokenPipe|EPIPE)$/ nothing/; s/^(sctp|mptcp) E.*/\1 EPERM/' "$T/out"
    diff "$T/wanted" "$T/out" >&9 || fail "$1: what came of them (>) is not what should (<)"
    nothing_arrived "$1"
    wait_for 20 all_told "$2"
    echo "ok: none gets out ($1)"
}
try_all cart "$EVENTS"
try_all exec "$T/exec.events"

# ---- sockets from outside -----------------------------------------------------------------------------

"${IN_CGROUP[@]}" "$CGROUPS/outside" "${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/policy_bypass_sides.py" lend "$T/lender" 2 &
PIDS+=("$!")
wait_for 20 test -S "$T/lender"
expect_eq "lent by another process" "$(lines 'lent_to_connect EPERM' 'lent_datagram EPERM')" "$(in_cart lent_to_connect lent_datagram)"
nothing_arrived "by a socket that was lent"

born_with() { # MODE: of a descriptor that leads to where no rule allows
    sed "s/^spec:/&\n  mode: $1/" "$T/policy.yaml" >"$T/born.yaml"
    # shellcheck disable=SC2016 # the shell within says what they are
    "${IN_POD[@]}" bash -c 'exec 7<>/dev/tcp/203.0.113.10/9000; exec "$@"' bash "${EXEC[@]:2}" --policy "$T/born.yaml" -- \
        env INHERITED=7 "${PROGRAM[@]:2}" "$T/trusted.pem" inherited
}
expect_status "a command born with a socket" 125 born_with enforce 2>"$T/born.err"
expect_grep "a command born with a socket" 'descriptor 7, a socket from outside, which no policy can judge: close it before \(7<&-\)' "$T/born.err"
nothing_arrived "by a socket that was there before"
expect_eq "where nothing is refused" "inherited nothing" "$(born_with monitor)"
expect_grep "where nothing is refused" "connection.*9000.*secret" "$T/origin.log"
echo "ok: sockets from outside"

# ---- who asks -----------------------------------------------------------------------------------------

sallyport policy apply --runtime-dir "$T/run" "$T/curly.yaml" >/dev/null
: >"$T/access"
expect_eq "who may" "curly 200" "$(in_cart curly)"
expect_eq "at the server" 1 "$(grep -c secret "$T/access")"
: >"$T/access"
expect_eq "who may not" "$(lines 'asks 403' 'curly_sends 403' 'curly_by_name 403' 'curly_by_another_link 403' 'curly_in_memory 403' 'curly_by_loader 403')" \
    "$(in_cart asks curly_sends curly_by_name curly_by_another_link curly_in_memory curly_by_loader)"
expect_no_grep "who may not" secret "$T/access"
echo "ok: who asks"
