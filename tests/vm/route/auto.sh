# auto: a program is first read by the proxy; when it was seen to let the kernel encrypt, its next
# connections bypass the proxy, and are read in the kernel. If it encrypts by itself after all, it is back
# on the proxy after three of them, and after one where rules refuse that; so it is after one that was not
# decided in the kernel. HTTP/2 stays on the proxy where rules judge it. What must be denied stays there
# where a denial in the kernel could be raced; and policies that are for the proxy alone end what is open.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

URL=https://127.0.0.1:$aes256/a
PYTHON=$(realpath /usr/bin/python3)

start_asked p auto "${CLEAN[@]}" /usr/bin/python3 "$HERE/route/auto.py" "$T/trusted.pem"

is() { status | jq -r --arg p "$PYTHON" ".programs[] | select(.pod == \"auto\" and .program == \$p) | $1"; }
has_blind() { [ "$(is .blind)" = "$1" ]; }
goes_by() { [ "$(is .route)" = "$1" ]; } # its next one, to where the last one went
# goes_for ROUTE WHY: as expected, and why
goes_for() {
    expect_eq "its next route" "$1" "$(is .route)"
    expect_grep "... and why" "$2" <(is .why)
}
# seen BLIND SIGHTINGS: of those that send it back, and into the kernel; each "3 of 3"
seen() { expect_eq "what it goes by" "$1, $2" "$(is '"\(.blind) of \(.blind_needed), \(.sightings) of \(.sightings_needed)"')"; }
connections=0
# go WHAT on|off|h2 WANTED ROUTE [URL]: one more connection, what its program says of it, and which route it took
go() {
    local said
    connections=$((connections + 1))
    said=$(ask p "$2" "${5:-$URL}")
    expect_eq "$1: the program" "$3" "$said"
    wait_for 30 has_told auto close $connections
    expect_eq "$1: the route" "$4" "$(told_of auto | jq -r '.process_close // empty | "\(.route) \(.visibility)"' | tail -n 1)"
}

go "a program that nobody knows" off "200 itself" "proxy terminated"
goes_for proxy "it encrypts by itself"
seen "0 of 3" "0 of 1"
go "it lets the kernel encrypt" on "200 kernel" "proxy terminated"
wait_for 30 goes_by kernel
goes_for kernel "the kernel encrypts for it"
seen "0 of 3" "1 of 1"
go "from now on it bypasses" on "200 kernel" "kernel ktls"
expect_eq "requests are told all the same" "/a terminated, /a terminated, /a ktls" \
    "$(told_of auto | jq -rs '[.[].process_http // empty | "\(.path) \(.visibility)"] | join(", ")')"
expect_grep "status says what the kernel does" '"ktls": ?"tx' <(status)

HTTP='egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]'
apply rules auto "$HTTP"
if [ "$backend" = sockmap ]; then
    goes_for kernel "the kernel encrypts for it"
    go "rules that hold there" on "200 kernel" "kernel ktls"
else
    goes_for proxy "policies judge what it says, and a denial of kTLS can be raced in this kernel"
    go "rules that could be raced there" on "200 kernel" "proxy terminated"
fi
apply rules auto "route: kernel" "$HTTP"
expect_grep "it is warned of" 'route: kernel with http rules' "$T/said"
goes_for kernel "policies say so"
go "unless the policy says so" on "200 kernel" "kernel ktls"
remove rules

go "it encrypts by itself" off "200 itself" "kernel opaque"
go "... twice" off "200 itself" "kernel opaque"
wait_for 30 has_blind 2
go "... three times" off "200 itself" "kernel opaque"
wait_for 30 goes_by proxy
seen "0 of 3" "0 of 2"
go "then it is back" off "200 itself" "proxy terminated"

# comes NUMBER: so many sightings bring it into the kernel again
comes() {
    local i
    for ((i = 1; i <= $1; i++)); do
        goes_by proxy || fail "it is in the kernel after $((i - 1)) of $1"
        seen "0 of 3" "$((i - 1)) of $1"
        go "sighting $i of $1" on "200 kernel" "proxy terminated"
    done
    wait_for 30 goes_by kernel
}
comes 2

# ---- what only the proxy can keep comes while one is open

expect_eq "one that stays open" "200 kernel" "$(ask p keep "$URL")"
apply bodies auto 'egress: [{toEntities: [all]}]' \
    'inspect: {bodies: [{patterns: [payment-card], direction: request, action: deny}]}'
posts() { ask p again /put/c card=4111111111111111; }
expect_eq "what it says then" PermissionError "$(posts | sed 's/SSL.*Error/PermissionError/')"
connections=$((connections + 1))
wait_for 30 has_told auto close $connections
expect_eq "how it is told" "deny policies want of it what only the proxy can keep" \
    "$(told_of auto | jq -rs '[.[].process_policy // empty] | last | "\(.verdict) \(.reason | sub(".*: "; ""))"')"
goes_for proxy "policies want of it what only the proxy can keep"
go "its next one" on "200 kernel" "proxy terminated"
remove bodies
go "and without them" on "200 kernel" "kernel ktls"

# ---- what rules must see, and the kernel route cannot

if [ "$backend" = sockmap ]; then
    OK='egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: "/a.*"}]}}]}]'
    apply rules auto "$OK"
    go "what it encrypts by itself is refused" off SSLEOFError "kernel opaque"
    wait_for 30 goes_by proxy
    go "once" off "200 itself" "proxy terminated"
    comes 4
    go "a path that is not decided" on SSLEOFError "kernel ktls" "$URL//b"
    wait_for 30 goes_by proxy
    go "once" on "404 kernel" "proxy terminated" "$URL//b"
    remove rules
fi
HTTP2=https://127.0.0.1:$http2/a
for ((i = 1; i <= 8; i++)); do
    goes_by proxy || break
    go "HTTP/2, a sighting" h2 "200 kernel" "proxy terminated" "$HTTP2"
done
wait_for 30 goes_by kernel
go "HTTP/2 in the kernel, where no rule judges it" h2 "200 kernel" "kernel ktls" "$HTTP2"
apply rules auto "$HTTP"
go "... and where one does" h2 "200 kernel" "proxy terminated" "$HTTP2"
go "... again" h2 "200 kernel" "proxy terminated" "$HTTP2"
if [ "$backend" = sockmap ]; then goes_for proxy "it speaks HTTP/2"; else goes_for proxy "can be raced"; fi
remove rules
goes_for kernel "the kernel encrypts for it"
echo "ok: auto, there and back, $backend on $(uname -r)"
