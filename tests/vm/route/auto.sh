# auto: a program is first read by the proxy; when it was seen to let the kernel encrypt, its next
# connections bypass the proxy, and are read in the kernel. If it encrypts by itself after all, it is back
# on the proxy after three of them. What must be denied stays on the proxy where a denial in the kernel
# could be raced.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

URL=https://127.0.0.1:$aes256/a
PYTHON=$(realpath /usr/bin/python3)

start_asked p auto "${CLEAN[@]}" /usr/bin/python3 "$HERE/route/auto.py" "$T/trusted.pem"

goes() { status | jq -r --arg p "$PYTHON" '.programs[] | select(.pod == "auto" and .program == $p) | .route'; }
goes_by() { [ "$(goes)" = "$1" ]; }
connections=0
# go WHAT on|off WANTED ROUTE: one more connection, what its program says of it, and which route it took
go() {
    local said
    connections=$((connections + 1))
    said=$(ask p "$2" "$URL")
    expect_eq "$1: the program" "$3" "$said"
    wait_for 30 has_told auto close $connections
    expect_eq "$1: the route" "$4" "$(told_of auto | jq -r '.process_close // empty | "\(.route) \(.visibility)"' | tail -n 1)"
}

go "a program that nobody knows" off "200 itself" "proxy terminated"
expect_eq "it stays on the proxy" proxy "$(goes)"
go "it lets the kernel encrypt" on "200 kernel" "proxy terminated"
wait_for 30 goes_by kernel
go "from now on it bypasses" on "200 kernel" "kernel ktls"
expect_eq "requests are told all the same" "/a terminated, /a terminated, /a ktls" \
    "$(told_of auto | jq -rs '[.[].process_http // empty | "\(.path) \(.visibility)"] | join(", ")')"
expect_grep "status says what the kernel does" '"ktls": ?"tx' <(status)

HTTP='egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]'
apply rules auto "$HTTP"
if [ "$backend" = sockmap ]; then
    go "rules that hold there" on "200 kernel" "kernel ktls"
else
    go "rules that could be raced there" on "200 kernel" "proxy terminated"
fi
apply rules auto "route: kernel" "$HTTP"
expect_grep "it is warned of" 'route: kernel with http rules' "$T/said"
go "unless the policy says so" on "200 kernel" "kernel ktls"
remove rules

go "it encrypts by itself" off "200 itself" "kernel opaque"
go "... twice" off "200 itself" "kernel opaque"
go "... three times" off "200 itself" "kernel opaque"
wait_for 30 goes_by proxy
go "then it is back" off "200 itself" "proxy terminated"
echo "ok: auto, there and back, $backend on $(uname -r)"
