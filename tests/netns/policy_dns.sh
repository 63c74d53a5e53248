#!/usr/bin/env bash
# Promise: a policy says which names may be asked for, of whom, by which types: what it denies is answered
# REFUSED at once, never reaches a server, and is told. What a name server that is not the pod's own says
# opens no address, nor does a resolv.conf that a program writes.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

main=203.0.113.53 fake=203.0.113.54 sink=203.0.113.55 site=203.0.113.10 evil=203.0.113.66
make_namespaces
make_ca ca
make_cert dot ca "IP:$main"
for address in $fake $sink $evil; do ip -n "$UPSTREAM" address add "$address/32" dev lo; done
start_dnsmasq host-record=www.shop.test,$site cname=alias.shop.test,www.shop.test txt-record=www.shop.test,text \
    host-record=evil.test,$evil
# a server that says of an allowed name what it likes
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" dnsmasq --keep-in-foreground --user=root --group=root --pid-file= \
    --conf-file=/dev/null --no-hosts --no-resolv --bind-interfaces --listen-address=$fake --log-queries \
    --log-facility="$T/fake.log" --host-record=www.shop.test,$evil
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 "$HERE/policy_dns.py" sink $sink >"$T/sink"
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 "$HERE/policy_dns.py" dot $main "$T/dot.pem" "$T/dot.key"
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 -m http.server --bind 0.0.0.0 80 --directory /dev/shm >"$T/http.log" 2>&1
for at in $fake/53 $sink/53 $main/853 $site/80; do wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/$at"; done
: >"$T/sink"
echo "$site hosts.shop.test" >"$T/hosts"
OWN_HOSTS=(unshare --mount sh -ec 'mount --bind "$0/hosts" /etc/hosts; exec "$@"' "$T")

# policy SPEC-LINES...
policy() {
    {
        printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: shop}' 'spec:' "${@/#/  }"
    } >"$T/policy.yaml"
}
# What the pod may do by names; further servers in rules behind it.
by_name=('egress:' '- toFQDNs: [{matchPattern: "*.shop.test"}]' '  toPorts:' '  - ports: [{port: "80", protocol: TCP}]'
    '  - ports: [{port: "53", protocol: ANY}]'
    '    rules: {dns: [{matchPattern: "*.shop.test", types: [A, AAAA]}]}')
# run CMD: by bash, in the pod, under the policy; its output in $T/out
run() {
    local status=0
    : >"$T/fake.log"
    "${IN_POD_DNS[@]}" "${OWN_HOSTS[@]}" "${CLEAN[@]}" T="$T" SAY="$HERE/policy_dns.py" "$SALLYPORT" exec -o json --events-file "$EVENTS" \
        --upstream-ca "$T/ca.pem" --policy "$T/policy.yaml" -- bash -c "$1" >"$T/out" 2>"$T/client.err" || status=$?
    echo "$status" >"$T/status"
    expect_all_seq
}
lines() { printf '%s\n' "$@"; }
# told_policy: each process_policy in a line
told_policy() { events '.[] | .process_policy // empty | "\(.verdict) \(.action) \(.point) \(.mode) \(.name // "-") \(.qtype // "-"): \(.reason)"'; }
questions() { events '.[] | .process_dns // empty | select(.dns.response == false) | "\(.dns.names[0]) \(.dns.qtypes[0]) \(.verdict) \(.policy) \(.rule)"'; }
# not_asked FILE NAME: nobody asked this server
not_asked() { expect_no_grep "what the server at ${1##*/} was asked" "query.* $2 " "$1"; }

# ---- names and types ---------------------------------------------------------------------------------

policy "${by_name[@]}"
run '
dig() { command dig +noall +comments +answer +nocookie +tries=1 "$@" | grep -oE "status: [A-Z]+|EDE: .*|IN	A	.*|opcode: UPDATE"; }
dig www.shop.test; dig alias.shop.test
dig evil.test; dig +noedns evil.test; dig www.shop.test TXT
dig +tcp www.shop.test; dig +tcp evil.test'
rule='egress[0].toPorts[1]'
expect_eq "what dig saw" "$(lines 'status: NOERROR' "IN	A	$site" 'status: NOERROR' "IN	A	$site" \
    'status: REFUSED' 'EDE: 18 (Prohibited): (shop)' 'status: REFUSED' 'status: REFUSED' 'EDE: 18 (Prohibited): (shop)' \
    'status: NOERROR' "IN	A	$site" 'status: REFUSED' 'EDE: 18 (Prohibited): (shop)')" "$(cat "$T/out")"
expect_eq "what was told of questions" "$(lines "www.shop.test. A allow shop $rule.rules.dns[0]" "alias.shop.test. A allow shop $rule.rules.dns[0]" \
    "evil.test. A deny shop $rule" "evil.test. A deny shop $rule" "www.shop.test. TXT deny shop $rule" \
    "www.shop.test. A allow shop $rule.rules.dns[0]" "evil.test. A deny shop $rule")" "$(questions)"
denied_evil='deny reject dns enforce evil.test. A: no rule allows the name evil.test, type A'
expect_eq "what was told of the policy" "$(lines "$denied_evil" "$denied_evil" \
    'deny reject dns enforce www.shop.test. TXT: no rule allows the name www.shop.test, type TXT' "$denied_evil")" "$(told_policy)"
not_asked "$T/dnsmasq.log" evil.test
expect_no_grep "which types the server was asked for" 'query.TXT.' "$T/dnsmasq.log"
echo "ok: dig"

run '
getent ahostsv4 www.shop.test | head -n 1 | cut -d" " -f1; getent hosts evil.test; echo $?
python3 "$SAY" resolve alias.shop.test; python3 "$SAY" resolve evil.test
curl -s -o /dev/null -w "%{http_code}\n" http://www.shop.test/; curl -s http://evil.test/; echo $?
curl -s -o /dev/null -w "%{http_code}\n" http://hosts.shop.test/'
expect_eq "what resolvers of libraries saw" "$(lines $site 2 $site 'Temporary failure in name resolution' 200 6 200)" "$(cat "$T/out")"
not_asked "$T/dnsmasq.log" evil.test
echo "ok: the C library, and what it opens; hosts"

policy 'egress:' "- toCIDR: [$main/32]" '  toPorts: [{rules: {dns: [{matchPattern: "*.shop.test"}]}}]'
rule='egress[0].toPorts[0]'
run 'for how in www.shop.test evil.test; do dig +tls +noall +comments +nocookie +tries=1 @'$main' $how | grep -oE "status: [A-Z]+"; done'
expect_eq "DNS over TLS" "$(lines 'status: NOERROR' 'status: REFUSED')" "$(cat "$T/out")"
expect_eq "... is told" "$(lines "www.shop.test. A allow shop $rule.rules.dns[0]" "evil.test. A deny shop $rule")" "$(questions)"
not_asked "$T/dnsmasq.log" evil.test
echo "ok: DNS over TLS"

# ---- other servers -----------------------------------------------------------------------------------

ask_fake="dig +short +tries=1 @$fake www.shop.test; curl -s -o /dev/null -w '%{http_code}\n' --connect-to ::$evil: http://www.shop.test/"
run "$ask_fake"
expect_eq "a server that no rule allows" "$(lines 000)" "$(sed '/^;;/d' "$T/out")"
not_asked "$T/fake.log" www.shop.test
expect_grep "... is told" "^deny reject dns enforce www.shop.test. A: no rule allows questions to $fake:53/UDP$" <(told_policy)

world=('- toEntities: [world]' '  toPorts: [{ports: [{port: "53", protocol: ANY}]}]')
policy "${by_name[@]}" "${world[@]}"
run "$ask_fake"
expect_eq "a server that is nobody's opens nothing" "$(lines $evil 000)" "$(cat "$T/out")"
expect_grep "... though it was asked" 'query.* www.shop.test ' "$T/fake.log"
expect_eq "... and what it said is told" "$evil" "$(events '.[] | .process_dns // empty | .dns.ips // empty | .[]')"
run "echo nameserver $fake >/etc/resolv.conf; getent ahostsv4 www.shop.test | head -n 1 | cut -d' ' -f1
curl -s -o /dev/null -w '%{http_code}\n' http://www.shop.test/"
echo "nameserver $main" >"$T/resolv.conf"
expect_eq "nor does a resolv.conf of the program's own" "$(lines $evil 000)" "$(cat "$T/out")"
expect_eq "how often the site, at whichever address, was reached" 2 "$(grep -c GET "$T/http.log")"
policy "${by_name[@]}" "- toCIDR: [$fake/32]" '  toPorts: [{ports: [{port: "53", protocol: UDP}]}]'
run "$ask_fake"
expect_eq "one that the policy lists does" "$(lines $evil 200)" "$(cat "$T/out")"
echo "ok: other servers"

# ---- what is no question -----------------------------------------------------------------------------

header=00010100000100000000000003777777 name=0473686f70047465737400 # www.shop.test
hello=68656c6c6f two=00010100000200000000000003777777${name}0001000103777777${name}00010001 update=00012800000100000000000003777777${name}00060001
good=$header${name}00010001
policy 'egress:' "- toCIDR: [$sink/32]" '  toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*.shop.test"}]}}]'
run "python3 \$SAY say $sink $good; python3 \$SAY say $sink $hello $two $update"
expect_eq "what came back" "$(lines 'UDP nothing' 'TCP end' 'UDP nothing' 'TCP Connection reset by peer' \
    'UDP rcode 5' 'TCP Connection reset by peer' 'UDP rcode 5' 'TCP Connection reset by peer')" "$(cat "$T/out")"
expect_eq "what the server saw" "$(lines "UDP $good" "TCP 001f$good")" "$(sort -r "$T/sink")"
expect_eq "what was told" 6 "$(told_policy | grep -c '^deny reset visibility enforce')"
echo "ok: what is no question"

# ---- other actions, and none ---------------------------------------------------------------------------

policy 'onDeny: sigkill' "${by_name[@]}"
run 'python3 "$SAY" resolve evil.test; echo $?; python3 "$SAY" resolve www.shop.test'
expect_eq "onDeny: sigkill" "$(lines 137 $site)" "$(cat "$T/out")"
expect_eq "... is told" 'deny sigkill dns enforce evil.test. A: no rule allows the name evil.test, type A' "$(told_policy)"
not_asked "$T/dnsmasq.log" evil.test
policy 'mode: monitor' "${by_name[@]}"
run 'python3 "$SAY" resolve evil.test; curl -s -o /dev/null -w "%{http_code}\n" http://evil.test/'
expect_eq "mode: monitor" "$(lines $evil 200)" "$(cat "$T/out")"
expect_grep "... tells" "^alert reject dns monitor evil.test. A: no rule allows the name evil.test, type A$" <(told_policy)
expect_grep "... the question, too" '^evil.test. A alert shop egress' <(questions)
echo "ok: other actions, and none"
