#!/usr/bin/env bash
# Promise: an agent that works for months does not grow: 50,000 requests (--full: 1,000,000) later it takes
# as much memory as after the first 10,000, by which what it keeps for followers of events is full, within
# 5 %.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

few=10000 many=50000 slack=5
[ -z "$FULL" ] || many=1000000
# a sanitizer keeps what was freed for a while, and remembers who allocated it
if grep -q __asan_init "$SALLYPORT"; then
    CLEAN+=("ASAN_OPTIONS=quarantine_size_mb=1:malloc_context_size=2")
fi

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
head -c 1024 /dev/urandom >"$T/www/file"
make_cgroup load
EVENTS=/dev/null
agent_up
pods add --cgroup "$CGROUPS/load" --netns "/run/netns/$POD" --name load

rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$AGENT/status"; }
requests() { # N [OPTION]: most over ten connections, some over one each
    "${IN_CGROUP[@]}" "$CGROUPS/load" "${IN_POD[@]}" "${CLEAN[@]}" hey -n "$1" -c 10 "${@:2}" https://203.0.113.10/file \
        >"$T/hey" 2>&1
    expect_grep "answers" "\[200\].*$1 responses" "$T/hey"
}
requests "$few"
requests 500 -disable-keepalive
early=$(rss)
start=$(date +%s%N)
requests "$many"
requests 1000 -disable-keepalive
late=$(rss)
echo "ok: $many requests in $((($(date +%s%N) - start) / 1000000)) ms; RSS $early kB after $few, $late kB at the end"
[ $((late * 100)) -le $((early * (100 + slack))) ] || fail "the agent grew from $early kB to $late kB"
