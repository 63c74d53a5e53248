#!/usr/bin/env bash
# Promise: `run --listen` looks into what nftables sends there by REDIRECT and DNAT, IPv4 and IPv6, without BPF
# and, where nothing else asks for it, without any privilege. What is addressed to the listener itself, by
# whatever name, is reset and never dialled; a loop of our own connections ends at its first turn.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/gateway.sh
. "$(dirname "$0")/../harness/gateway.sh"

make_gateway
start_dnsmasq "host-record=origin.test,$V4"

# ---- a gateway ------------------------------------------------------------------------------------------

# 8443 by DNAT; 15001 of another of our addresses comes back under our first one's name
rules 'nat hook prerouting priority dstnat' "iifname eth1 tcp dport { 53, 80, 443, 444 } redirect to :$PORT" \
    "iifname eth1 ip daddr 192.0.2.2 tcp dport $PORT redirect to :$PORT" \
    "iifname eth1 tcp dport 8443 dnat ip to 192.0.2.2:$PORT"
start_gate setpriv --bounding-set -bpf,-sys_admin,-perfmon --inh-caps -all

expect_page "HTTPS by IPv4" "$CLIENT" https://origin.test/page
expect_page "HTTPS by IPv6" "$CLIENT" "https://[$V6]/page"
expect_page "plain HTTP" "$CLIENT" "http://$V4/page"
expect_eq "DNS over TCP" "$V4" "$("${IN_CLIENT[@]}" dig +tcp +short @203.0.113.53 origin.test A)"
wait_for 10 eval '[ "$(closes true)" = 4 ]'
expect_eq "who and where to" "198.51.100.2 $V4:443
2001:db8:3::2 $V6:443
198.51.100.2 $V4:80
198.51.100.2 203.0.113.53:53" \
    "$(events '.[].process_connect // empty | select(.process == null).socket | "\(.saddr) \(.daddr):\(.dport)"')"
expect_eq "what was asked" 'origin.test /page 200 terminated
2001:db8:2::10 /page 200 terminated
203.0.113.10 /page 200 plaintext' "$(events '.[].process_http // empty | "\(.host) \(.path) \(.code) \(.visibility)"' | tr -d '[]')"
expect_eq "how it was spoken" "h2 h2, HTTP/2 HTTP/2 HTTP/1.1, HTTP/1.1 HTTP/2.0 HTTP/2.0" \
    "$(events '.[].process_tls // empty | .alpn' | xargs), $(events '.[].process_http // empty | .protocol' | xargs), $(awk '{ print $4 }' "$T/access" | sort | xargs)"
expect_eq "what was looked up" "true [\"$V4\"]" \
    "$(events '.[].process_dns // empty | select(.dns.response) | "\(.dns.response) \(.dns.ips)"')"
expect_eq "closes with bytes and a duration" 3 \
    "$(closes '(.tx | tonumber) > 0 and (.rx | tonumber) > 100000 and (.duration_ns | tonumber) > 0')"
expect_eq "the server sees the gateway" 2 "$(grep -c 'from=192.0.2.2 ' "$T/access")"
echo "ok: redirected, without BPF: HTTPS, HTTP, DNS"

sallyport status --runtime-dir "$T/run" >"$T/status" || fail "status: $(cat "$T/status")"
expect_status "pods add" 1 sallyport pods add --runtime-dir "$T/run" --cgroup /sys/fs/cgroup --netns /proc/self/ns/net --name a/b 2>"$T/pods.err"
expect_grep "pods add" 'takes what is sent to --listen' "$T/pods.err"

expect_reset "a refused server" "$CLIENT" "https://$V4:444/page"
wait_for 10 eval '[ "$(closes ".error // \"\" | test(\"Connection refused\")")" = 1 ]'

# DNAT to our address, whatever the client meant, if it is nobody of ours
expect_reset "DNAT, no such server" "$CLIENT" "https://$V4:8443/page"
wait_for 10 eval '[ "$(closes ".socket.dport == 8443 and .error != null")" = 1 ]'
echo "ok: a server that refuses is a reset, DNAT is followed"

before=$(wc -l <"$EVENTS")
expect_reset "the listener itself" "$CLIENT" "https://198.51.100.1:$PORT/page"
expect_reset "the listener by IPv6" "$CLIENT" "https://[2001:db8:3::1]:$PORT/page"
expect_reset "the listener by another address" "$CLIENT" "https://192.0.2.2:$PORT/page"
expect_reset "the listener from its own host" "$GATE" "https://127.0.0.1:$PORT/page"
expect_grep "it is told" "warning: closed 1 connection, the last from 198.51.100.2:[0-9]+ to 198.51.100.1:$PORT: it was addressed to --listen itself" "$GATE_ERR"
expect_page "and on it goes" "$CLIENT" https://origin.test/page
wait_for 10 eval '[ "$(closes true)" = 7 ]'
expect_eq "nothing else was dialled" "$((before + 4))" "$(wc -l <"$EVENTS")"
stop_gate
echo "ok: addressed to the listener itself: reset, never dialled"

# ---- one host, by its own output -----------------------------------------------------------------------------

redirect_own="tcp dport { 80, 443 } redirect to :$PORT"
rules 'nat hook output priority -100' 'meta skuid 65534 accept' "$redirect_own"
rm -r "$T/run"
mkdir -m 700 "$T/run"
chown -R 65534 "$T/run" "$T/gate" "$EVENTS"
start_gate setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs
expect_page "HTTPS on one host, unprivileged" "$GATE" https://origin.test/page
expect_page "the same by IPv6" "$GATE" "https://[$V6]/page"
expect_grep "it says what it cannot" 'warning: no TPROXY without CAP_NET_ADMIN' "$GATE_ERR"
wait_for 10 eval '[ "$(closes ".visibility == \"terminated\"")" = 2 ]'
stop_gate
chown -R 0 "$T/run" "$T/gate" "$EVENTS"
echo "ok: one host, a user without privileges"

rules 'nat hook output priority -100' 'meta mark 0x53 accept' "$redirect_own"
start_gate
expect_page "exempt by mark" "$GATE" https://origin.test/page
rules 'nat hook output priority -100' "$redirect_own"
expect_reset "no exemption" "$GATE" "https://$V4/page"
expect_grep "it is told" 'warning: closed 1 connection, .*: it was ours, on its way to the server, and a rule sent it back: exempt' "$GATE_ERR"
stop_gate
expect_eq "two connections in all" 2 "$(closes true)"
echo "ok: exempt by mark; not exempt: it ends at its first turn"
