#!/usr/bin/env bash
# Promise: `sallyport capture` gives root, and nobody else, what the programs of one pod say inside TLS
# as packets that other tools read, and the keys of both legs; never silently: events say who asked.
# A reader that stops or dies stops nobody else.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
echo "the first answer" >"$T/www/first"
echo "the second answer" >"$T/www/second"
truncate -s 60M "$T/www/large"
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" openssl s_server -accept 203.0.113.10:8443 -cert "$T/origin.pem" \
    -key "$T/origin.key" -www -keylogfile "$T/server.keys" >"$T/s_server.out" 2>"$T/s_server.err"
wait_for 20 "${IN_UPSTREAM[@]}" bash -c 'exec 3<>/dev/tcp/203.0.113.10/8443'
make_cgroup cart other
agent_up
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart
pods add --cgroup "$CGROUPS/other" --netns "/run/netns/$POD" --name other

in_pod() { # POD URL...: curl's own keys go to $T/POD.keys
    "${IN_CGROUP[@]}" "$CGROUPS/$1" "${IN_POD[@]}" "${CLEAN[@]}" "SSLKEYLOGFILE=$T/$1.keys" curl -sS --cacert "$T/trusted.pem" "${@:2}"
}
# capture WHAT FILE OPTIONS...: begins; its pid is in $CAPTURE.
capture() {
    local begun
    begun=$(told '.capture.state == "began"')
    : >"$T/capture.$1.err"
    "${CLEAN[@]}" "$SALLYPORT" capture --runtime-dir "$T/run" --pod shop/cart "--$1" "$2" "${@:3}" 2>"$T/capture.$1.err" &
    CAPTURE=$!
    PIDS+=("$CAPTURE")
    wait_for 10 grep -q 'from now on' "$T/capture.$1.err"
    wait_for 10 is_told '.capture.state == "began"' $((begun + 1))
}
ends() { # PID WHAT SENTENCE: it ended well, and said why
    wait "$1" || fail "capture: $(cat "$T/capture.$2.err")"
    expect_grep "$2: why it ended" "^sallyport: $3" <(tail -n 1 "$T/capture.$2.err")
}

# ---- packets -------------------------------------------------------------------------------------

capture pcap "$T/a.pcapng"
packets=$CAPTURE
capture keys - >"$T/a.keys"
keys=$CAPTURE
in_pod cart -H 'Authorization: secret' -o "$T/answer" https://203.0.113.10/first https://203.0.113.10/second
in_pod cart -g -o "$T/answer" 'https://[2001:db8:2::10]/first'
in_pod cart --tls-max 1.2 -o "$T/answer" https://203.0.113.10/first
in_pod other -o "$T/answer" https://203.0.113.10/first?other
wait_for 5 is_told '.process_close.process.pod.name == "other"'
kill -INT "$packets"
ends "$packets" pcap 'who asked ended it; [0-9]+ packets$'
python3 "$HERE/capture_read.py" "$T/a.pcapng" >"$T/read"
read_() { jq -r "$1" "$T/read"; }
expect_eq "connections" 3 "$(read_ '.streams | length')"
expect_eq "their ends" "true 2 0" "$(read_ '[.streams[] | "\(.syn) \(.fin) \(.gaps)"] | unique | join(", ")')"
expect_eq "missing" "0 true" "$(read_ '"\(.missed) \(.came == .packets)"')"
expect_eq "who" "pod shop/cart, process $(readlink -f "$(command -v curl)") pid" "$(read_ '.streams[0].comment' | sed 's/ pid .*/ pid/')"
read_ '.streams[0].said' >"$T/said"
read_ '.streams[0].heard' >"$T/heard"
expect_lines "what it said" "$T/said" '^GET /first HTTP/1.1' '^Authorization: secret' '^GET /second HTTP/1.1'
expect_lines "what it heard" "$T/heard" '^HTTP/1.1 200' '^the first answer' '^HTTP/1.1 200' '^the second answer'
expect_no_grep "another pod's" 'other' "$T/read"
tcpdump -nr "$T/a.pcapng" -A 2>/dev/null >"$T/dump"
expect_lines "as tcpdump has it" "$T/dump" 'IP 192.0.2.2.* > 203.0.113.10.443: Flags \[S\]' 'GET /first' \
    '203.0.113.10.443 > 192.0.2.2' 'the first answer' 'GET /second' 'the second answer' 'Flags \[F\.\]' \
    'IP6 2001:db8:1::2.* > 2001:db8:2::10.443: Flags \[S\]' 'the first answer'
tcpdump -nvvr "$T/a.pcapng" 2>/dev/null >"$T/dump"
expect_no_grep "wrong to tcpdump" 'incorrect|bad|truncated' "$T/dump"
expect_eq "mode" 600 "$(stat -c %a "$T/a.pcapng")"
echo "ok: packets"

# ---- keys ----------------------------------------------------------------------------------------

in_pod cart -o "$T/answer" https://203.0.113.10:8443/
kill -INT "$keys"
ends "$keys" keys 'who asked ended it; [0-9]+ lines$'
expect_eq "lines that are none" 0 "$(grep -cvE '^(CLIENT_RANDOM|(CLIENT|SERVER)_(HANDSHAKE_TRAFFIC_SECRET|TRAFFIC_SECRET_0)|EXPORTER_SECRET) [0-9a-f]{64} [0-9a-f]{64,96}$' "$T/a.keys" || true)"
grep -hv '^#' "$T/cart.keys" "$T/server.keys" | sort -u >"$T/theirs"
expect_eq "keys of the program or the server that are missing" "" "$(comm -23 "$T/theirs" <(sort -u "$T/a.keys"))"
expect_eq "connections: two legs each" 8 "$(cut -d ' ' -f 2 "$T/a.keys" | sort -u | wc -l)"
expect_eq "another pod's" "" "$(grep -hv '^#' "$T/other.keys" | sort | comm -12 - <(sort "$T/a.keys"))"
expect_grep "TLS 1.2" '^CLIENT_RANDOM ' "$T/a.keys"
echo "ok: keys"

# ---- never silently ------------------------------------------------------------------------------

wait_for 5 is_told '.capture.state == "ended"' 2
expect_eq "who asked, and when" "pcap $packets began, keys $keys began, pcap $packets ended, keys $keys ended" \
    "$(events '[.[].capture // empty | "\(.what) \(.asked_by.pid) \(.state)"] | join(", ")')"
expect_eq "who" "shop/cart 0 $SALLYPORT" \
    "$(events '[.[].capture // empty | "\(.process.pod.namespace)/\(.process.pod.name) \(.asked_by.uid) \(.asked_by.binary)"] | unique | join(", ")')"
expect_all_seq

refused() { # WHAT SENTENCE OPTIONS...
    expect_status "$1" 1 sallyport capture --runtime-dir "$T/run" "${@:3}" 2>"$T/said"
    expect_grep "$1" "$2" "$T/said"
}
refused "a pod that is none" 'there is no pod shop/none' --pod shop/none --pcap "$T/none"
[ ! -e "$T/none" ] || fail "a file of nothing"
refused "a file that is there" 'is there already' --pod shop/cart --pcap "$T/a.pcapng"
expect_status "not root" 1 clean setpriv --reuid 65534 --clear-groups "$SALLYPORT" capture --runtime-dir "$T/run" --pod shop/cart --keys - 2>"$T/said"
for odd in '--for 2h' '--for 0s' '--max-size 0' '--keys x --pcap y'; do
    # shellcheck disable=SC2086 # words
    expect_status "$odd" 2 sallyport capture --pod shop/cart --keys "$T/none" $odd 2>"$T/said"
done
/usr/bin/python3 - "$T/run/control.sock" <<'PY' || fail "odd requests"
import json, socket, sys
asked = {"verb": "capture", "namespace": "shop", "pod": "cart", "what": "keys"}
for odd in ({"what": None}, {"what": "all"}, {"what": 1}, {"pod": 1}, {"pod": None}, {"namespace": []}, {"namespace": None},
            {"seconds": 0}, {"seconds": 3601}, {"seconds": "5"}, {"seconds": 1.5}, {"bytes": -1}, {"bytes": 10 ** 18}):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(sys.argv[1])
        agent.sendall(json.dumps({**asked, **odd}).encode() + b"\n")
        assert "error" in json.loads(agent.makefile().readline()), odd
PY
many=()
for i in 1 2 3 4; do
    capture pcap "$T/many.$i"
    many+=("$CAPTURE")
done
refused "a fifth" '4 captures are under way already' --pod shop/cart --pcap "$T/none"
kill -TERM "${many[@]:1}"
for pid in "${many[@]:1}"; do wait "$pid" || fail "it ended badly"; done
kill -KILL "${many[0]}"
wait "${many[0]}" 2>/dev/null || true
wait_for 5 is_told '.capture.state == "ended"' 6
echo "ok: refused"

# ---- a reader that stops, sizes, times, and pods that go -------------------------------------------

capture pcap "$T/slow.pcapng"
kill -STOP "$CAPTURE"
in_pod cart --max-time 30 -o "$T/answer" https://203.0.113.10/large
expect_same "what came meanwhile" "$T/answer" "$T/www/large"
kill -CONT "$CAPTURE"
kill -INT "$CAPTURE"
ends "$CAPTURE" pcap 'warning: who asked ended it; [1-9][0-9]* of [0-9]+ packets are missing'
python3 "$HERE/capture_read.py" "$T/slow.pcapng" >"$T/read"
expect_eq "the file says so" "true true" "$(read_ '"\(.missed > 0) \(.packets + .missed == .came)"')"
expect_eq "the event, too" "$(read_ .missed)" "$(events '[.[].capture.missed // empty] | last')"

capture pcap "$T/small.pcapng" --max-size 20k
in_pod cart -o "$T/answer" https://203.0.113.10/large
ends "$CAPTURE" pcap 'the size that was asked for is reached'
[ "$(stat -c %s "$T/small.pcapng")" -le 20600 ] || fail "--max-size: $(stat -c %s "$T/small.pcapng")"
capture pcap "$T/short.pcapng" --for 1s
ends "$CAPTURE" pcap 'its time is over'

# connections that are open already are shown from where they are
start_program cart cart "${IN_POD[@]}"
expect_eq "before" "200 192.0.2.2" "$(ask cart open kept https://203.0.113.10/first)"
capture pcap "$T/kept.pcapng"
expect_eq "after" "200 192.0.2.2" "$(ask cart again kept)"
pods remove shop/cart
ends "$CAPTURE" pcap 'the pod was removed'
python3 "$HERE/capture_read.py" "$T/kept.pcapng" >"$T/read"
expect_eq "from where it is" "false 0 true" "$(read_ '.streams[0] | "\(.syn) \(.gaps) \(.said | startswith("GET /first"))"')"
kill "${PROGRAM_PID[cart]}" # the agent waits for it
agent_down
echo "ok: limits"
