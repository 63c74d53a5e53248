#!/usr/bin/env bash
# Promise: with route auto a program is first read by the proxy; when it was seen to let the kernel
# encrypt, its next connections bypass the proxy, and are read in the kernel. If it encrypts by itself
# after all, it is back on the proxy after three of them. What
# must be denied stays on the proxy where a denial in the kernel could be raced. auto.sh lsm|sockmap
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$(dirname "$0")/../harness/agent.sh"
backend=$1

# An emulated processor that others use, too, takes its time.
eval "$(declare -f wait_for | sed '1s/.*/wait_on_a_machine ()/')"
wait_for() { wait_on_a_machine $(($1 * 5)) "${@:2}"; }

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
echo hello >"$T/www/a"
URL=https://127.0.0.1:$port/a

# before anybody has used it the module's counters may not be there
sent() { { cat /proc/net/tls_stat 2>/dev/null || true; } | awk '$1 == "TlsTxSw" { n = $2 } END { print n + 0 }'; }
before=$(sent)
exec_local --ktls -- /usr/bin/python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "$URL" \
    2>"$T/said" || fail "exec --ktls: $(cat "$T/said")"
expect_eq "its request" "/a proxy" "$(events '.[].process_http // empty | "\(.path) \(.route)"')"
[ "$(sent)" -gt "$before" ] || fail "exec --ktls: the kernel has not encrypted"
rm "$EVENTS"
echo "ok: exec --ktls, on $(uname -r)"

make_cgroup pod
agent_up
pods add --cgroup "$CGROUPS/pod" --netns /proc/self/ns/net --name pod --ports all --loopback
PYTHON=$(realpath /usr/bin/python3)
status() { sallyport status --runtime-dir "$T/run" -o json; }
expect_eq "the back-end" "$backend" "$(status | jq -r .kernel_route.back_end)"

# One program for all: PROGRAM_IN and PROGRAM_OUT are ask's.
mkfifo "$T/p.in" "$T/p.out"
exec {in}<>"$T/p.in" {out}<>"$T/p.out"
PROGRAM_IN[p]=$in PROGRAM_OUT[p]=$out
"${IN_CGROUP[@]}" "$CGROUPS/pod" "${CLEAN[@]}" /usr/bin/python3 "$HERE/auto.py" "$T/trusted.pem" \
    <"$T/p.in" >"$T/p.out" 2>"$T/p.err" &
PROGRAM_PID[p]=$!
PIDS+=("$!")
expect_eq "the program is there" ready "$(ask p ready -)"

routes() { jq -r '.process_close // empty | "\(.route) \(.visibility)"' "$EVENTS" | paste -sd , ; }
closes() { jq -c '.process_close // empty' "$EVENTS" | wc -l; }
has_closed() { [ "$(closes)" -ge "$1" ]; }
goes() { status | jq -r --arg p "$PYTHON" '.programs[] | select(.program == $p) | .route'; }
goes_by() { [ "$(goes)" = "$1" ]; }
# go WHAT on|off WANTED ROUTE: one more connection, what its program says of it, and which route it took
go() {
    local before said
    before=$(closes)
    said=$(ask p "$2" "$URL")
    expect_eq "$1: the program" "$3" "$said"
    wait_for 30 has_closed $((before + 1))
    expect_eq "$1: the route" "$4" "$(routes | tr , '\n' | tail -n 1)"
}

go "a program that nobody knows" off "200 itself" "proxy terminated"
expect_eq "it stays on the proxy" proxy "$(goes)"
go "it lets the kernel encrypt" on "200 kernel" "proxy terminated"
wait_for 30 goes_by kernel
go "from now on it bypasses" on "200 kernel" "kernel ktls"
expect_eq "requests are told all the same" "/a terminated, /a terminated, /a ktls" \
    "$(jq -rs '[.[].process_http // empty | "\(.path) \(.visibility)"] | join(", ")' "$EVENTS")"
expect_grep "status says what the kernel does" '"ktls": ?"tx' <(status)
echo "ok: by itself, on $(uname -r)"

cat >"$T/rules.yaml" <<'YAML'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: rules}
spec: {egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /a}]}}]}]}
YAML
sallyport policy apply --runtime-dir "$T/run" "$T/rules.yaml" >"$T/out"
if [ "$backend" = sockmap ]; then
    go "rules that hold there" on "200 kernel" "kernel ktls"
else
    go "rules that could be raced there" on "200 kernel" "proxy terminated"
fi
sed -i 's/^spec: {/&route: kernel, /' "$T/rules.yaml"
sallyport policy apply --runtime-dir "$T/run" "$T/rules.yaml" >"$T/out" 2>"$T/said"
expect_grep "it is warned of" 'route: kernel with http rules' "$T/said"
go "unless the policy says so" on "200 kernel" "kernel ktls"
sallyport policy remove --runtime-dir "$T/run" rules >"$T/out"
echo "ok: what rules want, on $(uname -r)"

go "it encrypts by itself" off "200 itself" "kernel opaque"
go "... twice" off "200 itself" "kernel opaque"
go "... three times" off "200 itself" "kernel opaque"
wait_for 30 goes_by proxy
go "then it is back" off "200 itself" "proxy terminated"
echo "ok: there and back, on $(uname -r)"
