#!/usr/bin/env bash
# Promise: whatever a name server does, programs see what they would have seen, or a clean failure, and
# as fast; `exec` goes on; what no honest answer said is neither told as an address nor bound to a name;
# 10 000 names take a bounded memory, and of 10 000 questions at once each is told or counted as lost.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

server=203.0.113.53 second=2001:db8:2::53
closed=203.0.113.54 closed6=2001:db8:2::54 # nobody listens there
nohost=203.0.113.77                        # the router knows no way
noroute=203.0.113.78                       # the pod itself knows none
make_namespaces
ip -n "$UPSTREAM" address add $closed/32 dev lo
ip -n "$UPSTREAM" address add $closed6/128 dev lo nodad
ip -n "$UPSTREAM" route add unreachable $nohost
ip -n "$POD" route add unreachable $noroute
"${IN_UPSTREAM[@]}" sh -c 'cd /proc/sys/net
    echo 1 >ipv4/ip_forward # a router, which says so when it knows no way
    echo 0 >ipv4/icmp_ratelimit; echo 0 >ipv6/icmp/ratelimit' # of each datagram
ip -n "$UPSTREAM" address add 203.0.113.66/32 dev lo # named by answers that nobody may believe
for address in $server $second; do
    background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 "$HERE/bad_dns_server.py" "$address" 2>"$T/server.$address.err"
done
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 -m http.server --bind 0.0.0.0 80 >"$T/http.log" 2>&1
for there in "$server 53" "$second 53" "203.0.113.66 80"; do
    wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/${there/ //}"
done
echo 'hosts: files dns' >"$T/nsswitch.conf"

in_pod() { "${IN_POD_DNS[@]}" "${CLEAN[@]}" "$@"; }
steered() { # CMD...
    in_pod ASAN_OPTIONS=quarantine_size_mb=1 "$SALLYPORT" exec -o json --events-file "$EVENTS" -- "$@" 2>"$T/client.err"
}
ask=(/usr/bin/python3 "$HERE/dns_ask.py")
echo "nameserver $server" >"$T/resolv.conf"

# ---- each manner, as a line of what raw sockets see ------------------------------------------------

manners=() wanted=()
manner() { # name, what is seen of it over UDP, over TCP (absent: the same)
    manners+=("udp:$1.bad.test" "tcp:$1.bad.test")
    local over_udp="$server#53 $2, nothing more"
    [ "$2" != nothing ] || over_udp=nothing
    wanted+=("udp:$1.bad.test $over_udp" "tcp:$1.bad.test ${3:-$2}")
}
manner good 'rcode=0 records=1 bytes=47'
manner empty 'rcode=0 records=0 bytes=32'
manner nxdomain 'rcode=3 records=0 bytes=35'
manner refused 'rcode=5 records=0 bytes=34'
manner servfail 'rcode=2 records=0 bytes=35'
manner alias 'rcode=0 records=2 bytes=90'
manner tc 'rcode=0 records=0 bytes=29 truncated' 'rcode=0 records=1 bytes=45'
manner large 'rcode=0 records=0 bytes=32 truncated' 'rcode=0 records=2 bytes=65535'
manner thousand 'rcode=0 records=1000 bytes=16035'
manner twice 'rcode=0 records=1 bytes=48' # the second one never
manner late 'rcode=0 records=1 bytes=47'  # nor the one of another id before it
manner otherowner 'rcode=0 records=1 bytes=67'
manner silent nothing
for bad in rdlength rdshort counts trailing label cut self forward pingpong nowhere noise; do
    length=$((${#bad} + 27))
    manner $bad "rcode=2 records=0 bytes=$length"
done
for bad in otherid othername othertype question stump nothing; do manner $bad nothing; done
manners+=(udp:otherport.bad.test connected:good.bad.test tcp:framing.bad.test connect:203.0.113.10 connect:203.0.113.66)
wanted+=('udp:otherport.bad.test nothing' "connected:good.bad.test $server#53 rcode=0 records=1 bytes=47, nothing more"
         'tcp:framing.bad.test rcode=0 records=1 bytes=50' 'connect:203.0.113.10 connected' 'connect:203.0.113.66 connected')

expect_status "a program that meets them all" 0 steered "${ask[@]}" $server "${manners[@]}" >"$T/out"
expect_eq "what it and the agent complained of" '' "$(cat "$T/client.err")"
diff <(printf '%s\n' "${wanted[@]}") "$T/out" >&9 || fail "something else was seen (lines with >)"
expect_all_seq
dns='[.[].process_dns // empty]'
expect_eq "answers that named what they may not" '[]' \
    "$(events "$dns | map(select(.dns.ips // [] | index(\"203.0.113.66\"))) | tojson")"
expect_eq "names of its address" '[null]' \
    "$(events '[.[].process_connect // empty | select(.socket.daddr == "203.0.113.66") | .destination_names] | tojson')"
expect_eq "the good address has names" true \
    "$(events '[.[].process_connect // empty | select(.socket.daddr == "203.0.113.10") | .destination_names | length > 0] | all')"
expect_eq "all questions are told" $((${#manners[@]} - 2)) "$(events "$dns | map(select(.dns.response or .error | not)) | length")"
expect_eq "of a thousand addresses" '1000 1000' \
    "$(events "$dns | map(select(.dns.response and .dns.names == [\"thousand.bad.test.\"]) | .dns.ips | length) | join(\" \")")"
told() { # manner, its answers' "rcode error"
    expect_eq "what is told of $1" "$2" "$(events "$dns | map(select(.dns.response and .dns.names == [\"$1.bad.test.\"]) |
        \"\\(.socket.protocol) \\(.dns.rcode) \\(.error // \"\")\") | join(\", \")")"
}
told nxdomain 'UDP NXDOMAIN , TCP NXDOMAIN '
told refused 'UDP REFUSED , TCP REFUSED '
told servfail 'UDP SERVFAIL , TCP SERVFAIL '
told silent ''
for bad in rdlength counts self forward cut; do
    expect_eq "$bad is told as malformed, twice" 2 \
        "$(events "$dns | map(select(.dns.names == [\"$bad.bad.test.\"] and (.error // \"\" | startswith(\"the server's answer is malformed: \")))) | length")"
done

# ---- resolvers, steered or not: same outcome, and no slower -----------------------------------------

# timed FILE in_pod|steered CMD...: its status and output to FILE, and to $took how many milliseconds it
# took, without the start of what steers it
timed() {
    local file=$1 how=$2 status=0
    shift 2
    $how bash -c 'begun=$EPOCHREALTIME status=0
        "$@" || status=$?
        echo $(((${EPOCHREALTIME/./} - ${begun/./}) / 1000)) >"$0"
        exit $status' "$T/took" "$@" >"$file" 2>&1 || status=$?
    took=$(cat "$T/took")
    echo "status $status" >>"$file"
}
# same CMD...: in and out of exec; and not much slower
same() {
    local without
    timed "$T/wanted" in_pod "$@"
    without=$took
    timed "$T/out" steered "$@"
    expect_same "$*" "$T/out" "$T/wanted"
    [ "$took" -lt $((without + slower)) ] || fail "$* took $took ms, and $without ms unsteered"
    echo "ok: $*: $(tail -n 1 "$T/out"), $took ms; unsteered $without ms"
}
slower=3000 # on a busy machine; what must not happen is 5 s and more
printf '%s\n' "nameserver $server" 'options timeout:1 attempts:1' >"$T/resolv.conf"
same sh -c 'for name; do getent ahosts $name.bad.test; echo "$name: $?"; done' sh \
    good tc thousand nxdomain servfail counts noise silent otherid
expect_eq "statuses" "good: 0 tc: 0 thousand: 0 nxdomain: 2 servfail: 2 counts: 2 noise: 2 silent: 2 otherid: 2" \
    "$(grep -E '^[a-z]+: [0-9]+$' "$T/out" | xargs)"
echo "nameserver $second" >"$T/resolv.conf"
same getent ahosts good.bad.test

# ---- a first server that cannot be reached, and a second one: as outside, and no waiting ------------

node_resolve4=(node -e 'require("dns").promises.resolve4("good.bad.test").then(console.log, console.log)')
# unreachable FIRST WHY: what is told of it
unreachable() {
    expect_grep "the address" '203[.]0[.]113[.]10' "$T/out"
    expect_eq "what is told of $1" "$2" "$(events "$dns | map(select(.socket.daddr == \"$1\" and .error)) |
        map([.error, .dns.rcode // empty] | join(\" \")) | unique | join(\", \")")"
}
for first in $closed $closed6; do
    printf 'nameserver %s\n' "$first" $server >"$T/resolv.conf" # 5 s to wait for an answer
    refused="$first:53: Connection refused"
    [ "$first" = $closed ] || refused="[$first]:53: Connection refused"
    same getent ahosts good.bad.test
    unreachable "$first" "$refused"
    same "${node_resolve4[@]}"
    unreachable "$first" "$refused"
    same dig +short +tries=1 good.bad.test
    unreachable "$first" "$refused"
done
printf 'nameserver %s\n' $closed $server >"$T/resolv.conf"
# It waits 5 s unless the refusal is there before its second question: only of so near a server it is.
slower=8000 same sh -c 'busybox nslookup good.bad.test 2>/dev/null'
unreachable $closed "$closed:53: Connection refused"
for address in $closed ::ffff:$closed $closed6; do # sockets that are connected, and such that are not
    same "${ask[@]}" "$address" udp:good.bad.test connected:good.bad.test
    expect_eq "what they saw" "udp:good.bad.test nothing connected:good.bad.test Connection refused status 0" \
        "$(paste -sd ' ' "$T/out")"
done
printf 'nameserver %s\n' $nohost $server >"$T/resolv.conf"
# a router says so five times, and then once a second (ip_error() in net/ipv4/route.c): not for both
timed "$T/out" steered getent ahosts good.bad.test
[ "$took" -lt "$slower" ] || fail "getent with a first server that no router knows took $took ms"
unreachable $nohost "$nohost:53: No route to host"
printf 'nameserver %s\n' $noroute $server >"$T/resolv.conf"
same getent ahosts good.bad.test
unreachable $noroute "$noroute:53: No route to host"
same "${node_resolve4[@]}"
unreachable $noroute "$noroute:53: No route to host"

# ---- many names -----------------------------------------------------------------------------------

count=10000
[ -z "$FULL" ] || count=60000
expect_status "$count names" 0 steered "${ask[@]}" $server many:$count >"$T/out"
expect_eq "complaints" '' "$(cat "$T/client.err")"
[[ $(cat "$T/out") =~ ^many:$count\ answered=$count\ grown=(-?[0-9]+)$ ]] || fail "instead: $(cat "$T/out")"
[ "${BASH_REMATCH[1]}" -lt 32768 ] || fail "the agent grew by ${BASH_REMATCH[1]} kB"
expect_all_seq
expect_eq "questions and answers, told or counted as lost" $((2 * count)) "$(jq -n -r '
    reduce inputs as $e (0; . + (if $e.process_dns then 1 else ($e.lost_events.count // 0 | tonumber) end))' "$EVENTS")"
echo "ok: $count names; the agent grew by ${BASH_REMATCH[1]} kB"

# ---- many at once -----------------------------------------------------------------------------------

expect_status "a burst" 0 steered "${ask[@]}" $server burst:$count >"$T/out"
expect_eq "what was sent" "burst:$count sent=$count" "$(cat "$T/out")"
expect_all_seq
asked=$(events "$dns | map(select(.dns.response or .error | not)) | length")
lost=$(events '[.[].lost_events.count // empty | tonumber] | add // 0')
[ $((asked + lost)) -ge $count ] || fail "of $count questions $asked are told, and $lost events as lost"
echo "ok: of $count questions at once $asked are told, $lost events as lost"
