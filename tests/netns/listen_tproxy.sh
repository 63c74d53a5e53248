#!/usr/bin/env bash
# Promise: `run --listen` looks into what nftables hands it by TPROXY, IPv4 and IPv6, also where the destination
# has the listener's own port; what is addressed to the listener itself is reset and never dialled.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/gateway.sh
. "$(dirname "$0")/../harness/gateway.sh"

nginx_server "$PORT" # a stranger's, as it happens
make_gateway
# by the book (Documentation/networking/tproxy.rst): what is marked is delivered here, whatever its address
for family in -4 -6; do
    ip "$family" -n "$GATE" rule add fwmark 1 lookup 100
    ip "$family" -n "$GATE" route add local default dev lo table 100
done
rules 'filter hook prerouting priority mangle' \
    "iifname eth1 ip daddr 203.0.113.0/24 meta l4proto tcp tproxy ip to 127.0.0.1:$PORT meta mark set 1" \
    "iifname eth1 ip6 daddr 2001:db8:2::/64 meta l4proto tcp tproxy ip6 to [::1]:$PORT meta mark set 1"
start_gate

expect_page "HTTPS by IPv4" "$CLIENT" https://origin.test/page
expect_page "HTTPS by IPv6" "$CLIENT" "https://[$V6]/page"
expect_page "plain HTTP" "$CLIENT" "http://$V4/page"
expect_page "our port, at a stranger's" "$CLIENT" "http://$V4:$PORT/page"
wait_for 10 eval '[ "$(closes true)" = 4 ]'
expect_eq "who and where to" "198.51.100.2 $V4:443
2001:db8:3::2 $V6:443
198.51.100.2 $V4:80
198.51.100.2 $V4:$PORT" "$(events '.[].process_connect // empty | .socket | "\(.saddr) \(.daddr):\(.dport)"')"
expect_eq "what was asked" 'terminated terminated plaintext plaintext' \
    "$(events '[.[].process_http // empty | select(.path == "/page" and .code == 200) | .visibility] | join(" ")')"
echo "ok: by TPROXY"

expect_reset "the listener itself" "$CLIENT" "http://198.51.100.1:$PORT/page"
expect_reset "the listener by IPv6" "$CLIENT" "http://[2001:db8:3::1]:$PORT/page"
expect_reset "the listener by another address" "$CLIENT" "http://192.0.2.2:$PORT/page"
expect_grep "it is told" "warning: closed 1 connection, the last from 198.51.100.2:[0-9]+ to 198.51.100.1:$PORT: it was addressed to --listen itself" "$GATE_ERR"
stop_gate
expect_eq "nothing else was dialled" 4 "$(closes true)"
echo "ok: addressed to the listener itself: reset, never dialled"
