# crowd: what the limits_*.sh share: an agent with a crowd of clients (tests/netns/crowd.py), led step
# by step, and what of the machine that agent holds. Source it after lib.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that only the scripts use

PY=/usr/bin/python3
CROWD=$HERE/crowd.py

# A sanitizer keeps what was freed for a while, and takes its own memory: figures are for others.
SANITIZED=''
if grep -q __asan_init "$SALLYPORT"; then SANITIZED=yes; fi
AGENT_EXEC=("${CLEAN[@]}" ASAN_OPTIONS=quarantine_size_mb=1 "${EXEC_LOCAL[@]:${#CLEAN[@]}}")

CROWD_AGENT='' # its pid
# start_crowd CMD...: with an agent of its own, on whose stdin step() leads it and whose stdout is $T/out. An
# honest client in it waits for a line from $T/honest.
start_crowd() {
    rm -f "$T/go" "$T/honest" "$T/out"
    mkfifo "$T/go" "$T/honest"
    exec 4<>"$T/go" 6<>"$T/honest"
    background "${AGENT_EXEC[@]}" -- "$@" <"$T/go" >"$T/out" 2>"$T/client.err"
    CROWD_AGENT=$!
}
# step SECONDS REGEX: lets it go on, until it says this.
step() {
    echo >&4
    said "$@"
}
# probe SECONDS: the honest client, until it is done.
probe() {
    echo >&6
    said "$1" '^slowest'
}
said() {
    wait_for "$1" bash -c 'grep -qE "$1" "$2" || ! kill -0 "$3"' - "$2" "$T/out" "$CROWD_AGENT"
    grep -qE "$2" "$T/out" || fail "instead of '$2': $(cat "$T/out" "$T/client.err")"
}
# end_crowd [STATUS]
end_crowd() {
    echo >&4
    expect_status "the crowd" "${1:-0}" wait "$CROWD_AGENT"
    expect_eq "what is left" '' \
        "$(find "$(cgroup2)" /run/sallyport/exec -maxdepth 1 '(' -name "sallyport-$CROWD_AGENT-*" -o -name "$CROWD_AGENT-*" ')' 2>/dev/null || true)"
    exec 4>&- 6>&-
}

# Of the agent and its crowd, but for what another test left.
complaints() { grep -v 'removing what a dead instance left' "$T/client.err" || true; }

# ---- what an agent holds -----------------------------------------------------------------------

files() { find "/proc/$1/fd" -type l 2>/dev/null | wc -l || true; }
rss_kb() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status"; }
# cpu_ms PID: used so far.
cpu_ms() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*[)] /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$1/stat"; }
# map_entries PID: NAME COUNT of each hash map of its own.
map_entries() {
    local id
    for id in $(sed -n 's/^map_id:[[:space:]]*//p' "/proc/$1"/fdinfo/* 2>/dev/null | sort -nu || true); do
        bpftool -j map show id "$id" | jq -e '.type == "hash" or .type == "lru_hash"' >/dev/null || continue
        echo "$(bpftool -j map show id "$id" | jq -r .name) $(bpftool -j map dump id "$id" | jq length)"
    done
}
holds() { echo "files $(files "$1")"; map_entries "$1"; }
# expect_holds WHAT FILE: the agent holds what it did when `holds PID >FILE` was.
expect_holds() {
    local _
    for _ in {1..100}; do
        holds "$CROWD_AGENT" >"$T/holds"
        cmp -s "$2" "$T/holds" && return
        sleep 0.1
    done
    diff "$2" "$T/holds" >&9
    fail "$1 the agent does not hold what it did (lines with >)"
}
