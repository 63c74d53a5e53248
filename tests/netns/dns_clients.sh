#!/usr/bin/env bash
# Promise: resolvers of every make get their answers through `exec` as they did without it; each
# question and answer is told, with names, types, addresses, aliases and time to live; and a connection
# to what was answered carries the name.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_namespaces
many=() # more than 512 bytes: over UDP without EDNS they come truncated
for i in {1..60}; do many+=("host-record=many.test,198.51.100.$i"); done
start_dnsmasq "host-record=www.test,203.0.113.10,2001:db8:2::10" host-record=v4.test,203.0.113.10 \
    cname=alias.test,second.test cname=second.test,www.test "${many[@]}" \
    "txt-record=text.test,$(printf 'x%.0s' {1..250})"
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 -m http.server --bind :: 80 --directory /dev/shm >"$T/http.log" 2>&1
wait_for 20 "${IN_UPSTREAM[@]}" bash -c 'exec 3<>/dev/tcp/203.0.113.10/80'
# a server whose answers dnsmasq would not give
odd=203.0.113.54
ip -n "$UPSTREAM" address add $odd/32 dev lo
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" /usr/bin/python3 "$HERE/bad_dns_server.py" $odd 2>"$T/server.err"
# a resolver of the pod's own, on loopback
background "${CLEAN[@]}" "${IN_POD[@]}" dnsmasq --keep-in-foreground --user=root --group=root --pid-file= \
    --conf-file=/dev/null --no-hosts --no-resolv --cache-size=0 --bind-interfaces --listen-address=127.0.0.53 \
    --server=203.0.113.53 --log-facility="$T/dnsmasq.local.log"
wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/$odd/53"
wait_for 20 "${IN_POD[@]}" bash -c 'exec 3<>/dev/tcp/127.0.0.53/53'

in_pod() { "${IN_POD_DNS[@]}" "${CLEAN[@]}" "$@"; }
# look_up WHAT CMD...: in and out of exec the same status and output
look_up() {
    local what=$1 status=0
    shift
    in_pod "$@" >"$T/wanted" 2>"$T/wanted.err" || status=$?
    expect_status "$what" $status in_pod "$SALLYPORT" exec -o json --events-file "$EVENTS" -- "$@" >"$T/out" 2>"$T/client.err"
    expect_same "what $what saw" "$T/out" "$T/wanted"
    expect_all_seq
}
# told WHAT LINE...: dns events as these lines, in any order, each at least once
told() {
    local what=$1 line
    shift
    events '.[].process_dns // empty | [.socket.protocol, .socket.daddr, .dns.names[0],
        .dns.qtypes[0]] + (if .dns.response then [.dns.rcode, (.dns.ips // [] | sort | join("+")),
        (.dns.cnames // [] | join("+")), .dns.ttl // 0] else ["?"] end) + [.stripped // [] | join("+")] |
        map(tostring) | join(" ") | rtrimstr(" ")' | sort -u >"$T/told"
    for line in "$@"; do grep -qxF -e "$line" "$T/told" || { cat "$T/told" >&9; fail "$what: nobody told '$line'"; }; done
    echo "ok: $what"
}
# expect_named WHAT NAMES: the connection to the site, and its end, carry these
expect_named() {
    expect_eq "names in connect and close of $1" "[[$2],[$2]]" "$(events '[.[] | .process_connect // .process_close // empty |
        select(.socket.dport == 80) | .destination_names] | tojson')"
}
main=203.0.113.53 v6=2001:db8:2::53
www4='www.test. A NOERROR 203.0.113.10  60' www6='www.test. AAAA NOERROR 2001:db8:2::10  60'
www_told=("UDP $main www.test. A ?" "UDP $main $www4" "UDP $main www.test. AAAA ?" "UDP $main $www6")

# ---- makes of resolvers --------------------------------------------------------------------------------

look_up "the C library" getent ahosts www.test
expect_grep "the C library" '^203[.]0[.]113[.]10 ' "$T/out"
told "the C library" "${www_told[@]}"
look_up "the C library, no such name" getent hosts nowhere.example
told "no such name" "UDP $main nowhere.example. A NXDOMAIN   0"
look_up "busybox" busybox nslookup www.test $main
expect_grep "busybox" '203[.]0[.]113[.]10' "$T/out"
told "busybox" "${www_told[@]}"
look_up "c-ares in Node.js" node -e 'const dns = require("dns").promises;
    (async () => console.log(await dns.resolve4("www.test"), await dns.resolve6("www.test")))()'
expect_grep "c-ares in Node.js" 203.0.113.10 "$T/out"
told "c-ares in Node.js" "${www_told[@]}"
look_up "dig" dig +noall +answer +nocookie www.test
told "dig" "UDP $main $www4"
look_up "dig over TCP" dig +tcp +noall +answer www.test AAAA
told "dig over TCP" "TCP $main www.test. AAAA ?" "TCP $main $www6"
look_up "dig without EDNS" dig +noedns +noall +answer alias.test
told "an alias" "UDP $main alias.test. A NOERROR 203.0.113.10 second.test.+www.test. 60"
expect_status "Go" 0 in_pod GODEBUG=netdns=go+2 "$SALLYPORT" exec -o json --events-file "$EVENTS" -- \
    hey -n 1 -c 1 http://www.test/ >"$T/out" 2>"$T/client.err"
expect_grep "it is Go's own resolver" 'hostLookupOrder[(]www.test[)] = ' "$T/client.err"
expect_grep "what Go's client got" '[[]200[]]' "$T/out"
told "Go" "${www_told[@]}"
expect_named "Go" '"www.test."'
look_up "Java" keytool -J-Djava.net.preferIPv4Stack=true -printcert -sslserver www.test:80
told "Java" "UDP $main $www4"
expect_named "Java" '"www.test."'

# ---- connections carry names ---------------------------------------------------------------------------

look_up "curl over an alias" curl -sS -o /dev/null -w '%{http_code}' -4 http://alias.test/
told "curl over an alias" "UDP $main alias.test. A NOERROR 203.0.113.10 second.test.+www.test. 60"
expect_named "curl over an alias" '"alias.test.","second.test.","www.test."'
look_up "Python" /usr/bin/python3 -c 'import urllib.request; print(urllib.request.urlopen("http://v4.test/").status)'
expect_named "Python" '"v4.test."'

# ---- transports and servers ----------------------------------------------------------------------------

look_up "truncation and then TCP" sh -c "getent ahosts many.test | cut -d \" \" -f 1 | sort" # dnsmasq turns the list
told "truncation and then TCP" "TCP $main many.test. A ?"
expect_eq "addresses told" 60 "$(events '[.[].process_dns // empty | select(.socket.protocol == "TCP" and .dns.qtypes == ["A"]) | .dns.ips // [] | length] | max')"
ask=(/usr/bin/python3 "$HERE/dns_ask.py")
look_up "a server with an IPv6 address" "${ask[@]}" $v6 udp:www.test connected:www.test:AAAA tcp:www.test
told "a server with an IPv6 address" "UDP $v6 $www4" "UDP $v6 $www6" "TCP $v6 $www4"
look_up "an IPv4-mapped address" "${ask[@]}" ::ffff:$main udp:www.test connected:www.test tcp:www.test
told "an IPv4-mapped address" "UDP $main $www4" "TCP $main $www4"
look_up "one socket, two servers" sh -c "$(printf '%q ' "${ask[@]}" $main,$odd udp:www.test) | tr -d ',' | xargs -n 1 | sort" # either may be first
told "one socket, two servers" "UDP $main $www4" "UDP $odd www.test. A NOERROR 203.0.113.10  60"
look_up "a resolver on loopback" "${ask[@]}" 127.0.0.53 udp:www.test connected:alias.test tcp:text.test:TXT
told "a resolver on loopback" "UDP 127.0.0.53 $www4" "UDP 127.0.0.53 alias.test. A NOERROR 203.0.113.10 second.test.+www.test. 60" \
    "TCP 127.0.0.53 text.test. TXT NOERROR   0"
echo "nameserver 127.0.0.53" >"$T/resolv.conf"
look_up "the C library with a resolver on loopback" curl -sS -o /dev/null -w '%{http_code}' http://v4.test/
expect_named "the C library with a resolver on loopback" '"v4.test."'

# ---- what answers may be -------------------------------------------------------------------------------

echo "nameserver $odd" >"$T/resolv.conf"
for how in nxdomain:NXDOMAIN refused:REFUSED servfail:SERVFAIL empty:NOERROR; do
    look_up "${how#*:}" sh -c "dig +noedns +tries=1 ${how%:*}.bad.test | grep -o 'status: [A-Z]*'"
    told "${how#*:}" "UDP $odd ${how%:*}.bad.test. A ${how#*:}   0"
done
for how in +notcp:UDP +tcp:TCP; do
    expect_status "HTTPS over ${how#*:}" 0 in_pod "$SALLYPORT" exec -o json --events-file "$EVENTS" -- \
        dig +noedns +noall +answer "${how%:*}" https.bad.test HTTPS >"$T/out"
    told "HTTPS over ${how#*:}" "${how#*:} $odd https.bad.test. HTTPS NOERROR 203.0.113.10  60 ech+h3"
    cat "$T/out"
done
look_up "64 kB over TCP" "${ask[@]}" $odd tcp:large.bad.test:TXT
told "64 kB over TCP" "TCP $odd large.bad.test. TXT NOERROR   0"
