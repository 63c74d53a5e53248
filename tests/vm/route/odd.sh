# odd: what is not HTTP, never becomes a whole request, or is cut anywhere, passes where the kernel encrypts,
# too, is told as in the clear, and refused by rules for the same reasons.
# shellcheck shell=bash disable=SC2154 # a part of route.sh
# shellcheck source=../../harness/odd.sh
. "$HERE/../harness/odd.sh"

lines=$(so_far)
in_pod kernel /usr/bin/python3 "$HERE/../netns/kernel_odd.py" "$T/origin.pem" "$T/origin.key" >"$T/said" 2>"$T/client.err" ||
    fail "who says what is odd: $(cat "$T/client.err")"
expect_no_grep "what did not come" 'did not come' "$T/said"
closed() { # PORT...: those to them are over
    local port
    for port in "$@"; do
        grep -q "^{\"process_close\".*\"dport\":$port," "$EVENTS" || return 1
    done
}
mapfile -t ports < <(cut -f 2 "$T/said")
wait_for 10 closed "${ports[@]}"
told_of kernel "$lines" >"$T/odd.events"
expect_odd_told ktls "$T/said" "$T/odd.events"

# ---- cut by a seed, both ways

REPLAY=("${CLEAN[@]}" /usr/bin/python3 "$HERE/../netns/kernel_replay.py")
SEEDS=$((${more:+8} + 2))
read -r base <<<"$(free_ports 1)"
background "${IN_CGROUP[@]}" "$CGROUPS/served" "${REPLAY[@]}" serve 127.0.0.1 "$base" "$SEEDS" "$T/origin.pem" "$T/origin.key" 2>"$T/server.err"
wait_for 20 listening 127.0.0.1 $((base + SEEDS))
told_by() { # PORT: of exchanges with it, at both ends
    grep -E '^\{"process_(http|websocket)".*"host":"replay.example"' "$EVENTS" | grep -cE "\"[sd]port\":$1," || true
}
has_exchanged() { [ "$(told_by "$1")" -ge 36 ]; }
for ((seed = 1; seed <= SEEDS; seed++)); do # the first of them in the clear
    how=()
    [ $seed = 1 ] || how=(sealed)
    in_pod kernel "${REPLAY[@]}" ask 127.0.0.1 "$base" $seed "${how[@]}" 2>"$T/client.err" ||
        fail "cut by seed $seed: $(cat "$T/client.err" "$T/server.err")"
    wait_for 10 has_exchanged $((base + seed))
done
# by end and port, which is the server's
grep '"host":"replay.example"' "$EVENTS" | jq -r '(.process_http // .process_websocket // empty) as $e | $e
    | {host, method, url, stream, code, request_headers, request_bytes, response_headers, response_bytes,
        request_messages, response_messages, close_code, error}
    | "\($e.process.pod.name) \($e.socket | if $e.process.pod.name == "served" then .sport else .dport end)\t\(.)"' | LC_ALL=C sort >"$T/exchanges"
expect_eq "exchanges" $((SEEDS * 36)) "$(wc -l <"$T/exchanges")"
exchanges() { sed -n "s/^$1\t//p" "$T/exchanges"; } # END PORT
for end in kernel served; do
    for ((seed = 1; seed <= SEEDS; seed++)); do
        diff <(exchanges "kernel $((base + 1))") <(exchanges "$end $((base + seed))") | cut -c 1-1000 >&9 ||
            fail "what seed $seed cuts is told differently by the pod $end"
    done
done

# ---- what makes no sense, or has no end, and rules

refuse() { # WHAT CONNECTIONS FILTER: what of it is told is as in $T/wanted
    local lines closes
    lines=$(so_far) closes=$(count kernel close)
    in_pod kernel "${REPLAY[@]}" "$1" 127.0.0.1 "$aes128" sealed
    wait_for 10 has_told kernel close $((closes + $2))
    told_of kernel "$lines" | jq -r "$3 | sub(\"denied by.*: \"; \"\")" | LC_ALL=C sort | diff "$T/wanted" - >&9 ||
        fail "$1: told otherwise (lines with >)"
}
: >"$T/access"
apply rules kernel 'egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]'
cat >"$T/wanted" <<'REFUSED'
FOO null /a deny an unknown method
GET null /a deny a blank too many in the request line
GET null /a deny an LF without its CR
GET null /a deny no Host
GET other.example /a deny a Host other than the target's
GET replay.example /a deny a folded field
GET replay.example /a deny two Host fields
GET replay.example /none deny no rule allows GET /none
POST replay.example /a deny Content-Length with Transfer-Encoding
REFUSED
refuse refused 9 '.process_http // empty | "\(.method) \(.host) \(.path) \(.verdict) \(.error)"'
cat >"$T/wanted" <<'REFUSED'
closed within a request's head, of which 39 bytes had come
no rule allows GET /none
no rule allows GET /none
no rule allows GET /none
not sent: in one send with what was refused
too many fields
REFUSED
refuse odd 5 '.process_http // .process_close // empty | .error // empty'
expect_no_grep "what was refused came" ' /none HTTP' "$T/access" # pieces of it may have
remove rules
echo "ok: what is odd, or refused, where the kernel encrypts, $backend on $(uname -r)"
