#!/usr/bin/env bash
# Promise: `sallyport exec -- curl https://ebpf.io/tetragon` tells thirteen lines, in this order, with
# the right names, addresses and counts, and nothing else; the same as JSON; and curl's own view is
# what it was.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

internet_up ebpf.io
page=$(wc -c <"$T/site/tetragon")

# What crosses the pod's wire is counted there: a line for each DNS message, with its direction.
cat >"$T/count.py" <<'PY'
import socket, struct
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
wire.bind(("eth0", 0))
print("counting", flush=True)
while True:
    packet, (_, kind, *_) = wire.recvfrom(65536)
    if kind == 0x0800 and packet[9] == socket.IPPROTO_UDP:
        source, target, length = struct.unpack_from("!HHH", packet, 4 * (packet[0] & 15))
        if 53 in (source, target):
            print("asked" if target == 53 else "answered", length - 8, flush=True)
PY
background "${IN_UPSTREAM[@]}" /usr/bin/python3 "$T/count.py" >"$T/counted"
wait_for 20 grep -q counting "$T/counted"
counted() { awk -v what="$1" '$1 == what { sum += $2 } END { print sum + 0 }' "$T/counted"; }

story() { # options of exec...
    expect_status "curl $*" 0 "${IN_POD_DNS[@]}" "${CLEAN[@]}" "$SALLYPORT" exec --events-file "$EVENTS" \
        --upstream-ca "$T/ca.pem" "$@" -- curl https://ebpf.io/tetragon >"$T/answer" 2>"$T/client.err"
    expect_same "the page" "$T/answer" "$T/site/tetragon"
    expect_eq "what curl and the agent complained of" '' "$(cat "$T/client.err")"
    cat "$EVENTS"
}

# ---- compact ------------------------------------------------------------------

story
wait_for 20 bash -c '[ "$(grep -c ^answered "$0")" -ge 2 ]' "$T/counted"
asked=$(counted asked) answered=$(counted answered)
expect_eq "bytes of two questions for ebpf.io, without EDNS" 50 "$asked"

who='HOST /usr/bin/curl'
udp='UDP (192[.]0[.]2[.]2:[0-9]+) => 203[.]0[.]113[.]53:53'
tcp='TCP (192[.]0[.]2[.]2:[0-9]+) => 203[.]0[.]113[.]10:443 [[]ebpf[.]io[.][]]'
lines=(
    "🚀 process $who https://ebpf.io/tetragon"
    "🔌 connect $who $udp"
    "📖 dns     $who [[]ebpf[.]io[.][]] [[]A[]]"
    "📖 dns     $who [[]ebpf[.]io[.][]] [[]AAAA[]]"
    "📖 dns     $who NOERROR [[]ebpf[.]io[.][]] [[]A[]] [[]203[.]0[.]113[.]10[]]"
    "📖 dns     $who NOERROR [[]ebpf[.]io[.][]] [[]AAAA[]] [[][]]"
    "📄 socket  $who $udp tx $asked B rx $answered B"
    "🧹 close   $who $udp tx $asked B rx $answered B"
    "🔌 connect $who $tcp"
    "🔐 tls     $who 203[.]0[.]113[.]10:443 ebpf[.]io TLS1[.]3 TLS_AES_128_GCM_SHA256"
    "🌐 http    $who ebpf[.]io GET /tetragon 200 [0-9.]+(us|ms|s)"
    "🧹 close   $who $tcp tx [0-9]{3} B rx (22[5-9]|23[0-9]) kB"
    "💥 exit    $who https://ebpf.io/tetragon 0"
)
mapfile -t told <"$EVENTS"
# where the machine is busy, curl may be slower with its second question than the server with the first
# answer: then that is how it was
if [[ ${told[3]:-} = *NOERROR* ]]; then
    second=${told[4]} told[4]=${told[3]} told[3]=$second
fi
flow=''
for i in "${!lines[@]}"; do
    [[ ${told[i]:-} =~ ^${lines[i]}$ ]] || fail "line $((i + 1)): '${told[i]:-}' is not '${lines[i]}'"
    case ${lines[i]} in
        *" => "*) # the program's port is the same in every line about one flow
            case $i in 1|8) flow=${BASH_REMATCH[1]} ;; esac
            expect_eq "the socket in line $((i + 1))" "$flow" "${BASH_REMATCH[1]}" ;;
    esac
done
expect_eq "lines" 13 "${#told[@]}"

# ---- JSON ---------------------------------------------------------------------

story -o json >/dev/null
expect_all_seq
expect_eq "events" 'exec connect dns dns dns dns sock_stats close connect tls http close exit' \
    "$(events '[.[] | keys[] | select(startswith("process_")) | ltrimstr("process_")] | join(" ")')"

# expect_json WHAT FILTER: true for the array of all events; $e are their bodies.
expect_json() {
    expect_eq "$1" true "$(events "([.[] | to_entries[] | select(.key | startswith(\"process_\")) | .value] |
        .[:2] + (.[2:6] | sort_by(.dns.response)) + .[6:]) as \$e | $2")"
}
expect_json "the process of every event" \
    '[$e[].process | "\(.binary) \(.arguments)"] | unique == ["/usr/bin/curl https://ebpf.io/tetragon"]'
expect_json "one exec_id" '[$e[].process.exec_id] | unique | length == 1'
expect_json "node, time and seq on each" 'all(has("node_name") and has("time") and has("seq"))'
expect_json "the resolver's socket in each event about it" \
    '[$e[1:8][].socket | [.protocol, .saddr, .daddr, .dport, .sport, .cookie]] | unique |
     length == 1 and .[0][:4] == ["UDP", "192.0.2.2", "203.0.113.53", 53]'
expect_json "the site's socket in each event about it" \
    '[$e[8:12][].socket | [.protocol, .saddr, .daddr, .dport, .sport, .cookie]] | unique |
     length == 1 and .[0][:4] == ["TCP", "192.0.2.2", "203.0.113.10", 443]'
expect_json "every look-up's name" '[$e[2:6][].dns.names] | unique == [["ebpf.io."]]'
expect_json "questions" '[$e[2:4][].dns | .qtypes, (.response // false), has("ips")] ==
    [["A"], false, false, ["AAAA"], false, false]'
expect_json "answers" '[$e[4:6][].dns | .qtypes, .response, .rcode, (.ips // [])] ==
    [["A"], true, "NOERROR", ["203.0.113.10"], ["AAAA"], true, "NOERROR", []]'
expect_json "time to live" '$e[4].dns.ttl == 60'
expect_json "bytes of the look-up" "[\$e[6:8][] | .tx, .rx] == [\"$asked\", \"$answered\", \"$asked\", \"$answered\"]"
expect_json "names of the site" '[$e[8,11].destination_names] == [["ebpf.io."], ["ebpf.io."]]'
expect_json "the route" '[$e[1,7,8,9,10,11].route] | unique == ["proxy"]'
expect_json "TLS" '$e[9] | [.sni, .version, .cipher, .visibility] ==
    ["ebpf.io", "TLS1.3", "TLS_AES_128_GCM_SHA256", "terminated"]'
expect_json "HTTP" '$e[10] | [.host, .method, .path, .protocol, .code, .visibility] ==
    ["ebpf.io", "GET", "/tetragon", "HTTP/1.1", 200, "terminated"]'
expect_json "bytes of the page, with what TLS adds" \
    "\$e[11] | (.rx | tonumber) > $page and (.rx | tonumber) < $page + 10000 and (.tx | tonumber) < 1000"
expect_json "duration of the flow" '$e[11].duration_ns | tonumber > 0'
expect_json "exit" '$e[12] | has("signal") or (.status // 0) != 0 | not'
