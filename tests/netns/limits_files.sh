#!/usr/bin/env bash
# Promise: when open files or memory for another connection are used up, it is refused, counted and told;
# those that are open go on, and there is room again as soon as some have ended. Without any descriptor
# left the agent waits and does not spin. The command keeps its own limit of open files.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/crowd.sh
. "$(dirname "$0")/../harness/crowd.sh"

make_ca ca
read -r port <<<"$(free_ports 1)"
nginx_server "$port" '' 'keepalive_timeout 600s;'
start_nginx

refused() { events "map(.process_close.error // empty | select(test(\"$1\"))) | length"; }

# ---- few files, or little memory: known before --------------------------------------------------------

cat >"$T/crowds.sh" <<SH
echo "allowed \$(ulimit -S -n) \$(ulimit -H -n)"
"$PY" "$CROWD" gather "$port" "\$@"
exec "$PY" "$CROWD" gather "$port" 5
SH
# expect_limit WHAT COUNT SERVED ERROR ADVICE: of COUNT who come one after the other and stay.
expect_limit() {
    local reset
    said 60 "^served .* of $2\$"
    [[ $(cat "$T/out") =~ served\ ($3)\ reset\ ([0-9]+)\ of\ $2 ]] || fail "$1: $(cat "$T/out")"
    reset=${BASH_REMATCH[2]}
    [ $((BASH_REMATCH[1] + reset)) = "$2" ] || fail "$1: some were neither served nor reset"
    [ "$reset" -gt 0 ] || fail "$1: nobody was refused"
    step 20 '^closed'
    step 20 '^served 5 reset 0 of 5'
    echo >&4
    end_crowd
    expect_eq "$1: closes that say why" "$reset" "$(refused "^refused: too many connections for the $4")"
    expect_grep "$1" "warning: refused [0-9]+ connections beside [0-9]+ open ones: $5" "$T/client.err"
    expect_all_seq
    echo "ok: $1: $(grep "of $2" "$T/out")"
}

ulimit_exec=("${AGENT_EXEC[@]}")
AGENT_EXEC=("${CLEAN[@]}" bash -c 'ulimit -S -n 130 && ulimit -H -n 160 && exec "$@"' - "${ulimit_exec[@]}")
start_crowd bash "$T/crowds.sh" 90
said 20 '^allowed 130 160'
expect_limit "160 files" 90 '[1-9][0-9]?' 'open files allowed' 'more open files than allowed'

sed 's/^MemAvailable:.*/MemAvailable: 1000 kB/' /proc/meminfo >"$T/meminfo"
AGENT_EXEC=("${CLEAN[@]}" unshare --mount bash -c 'mount --bind "$0" /proc/meminfo && exec "$@"' "$T/meminfo" "${ulimit_exec[@]}")
start_crowd bash "$T/crowds.sh" 300 100000
expect_limit "16 MB" 300 204 'memory available' 'more memory than a quarter'

expect_grep "a head of 100 kB without memory for it" '^bulky True' "$T/out"
expect_eq "its close says why" 1 "$(events 'map(.process_close // empty | select(.error == "refused: not enough memory for a head")) | length')"

# ---- no descriptor at all: found out by accept ---------------------------------------------------------

AGENT_EXEC=("${ulimit_exec[@]}")
mkfifo "$T/hold"
exec 5<>"$T/hold"
cat >"$T/files.sh" <<SH
"$PY" "$CROWD" gather "$port" 40 <"$T/hold" &
read -r _ && "$PY" "$CROWD" gather "$port" 6 </dev/null
read -r _ && "$PY" "$CROWD" gather "$port" 1 </dev/null
read -r _
SH
start_crowd bash "$T/files.sh"
said 20 '^served 40 reset 0'
# the one in reserve is the agent's last /dev/null; what is open beyond it stays open
reserve=$(find "/proc/$CROWD_AGENT/fd" -lname /dev/null -printf '%f\n' | sort -n | tail -n 1)
allowed=$(prlimit --pid "$CROWD_AGENT" --nofile -o HARD --noheadings)
prlimit --pid "$CROWD_AGENT" --nofile=$((reserve + 1)):"$allowed"
cpu=$(cpu_ms "$CROWD_AGENT") start=$(date +%s%N)
step 60 '^served 0 reset 6'
took=$((($(date +%s%N) - start) / 1000000))
cpu=$(($(cpu_ms "$CROWD_AGENT") - cpu))
[ $took -ge 900 ] || fail "they were reset after $took ms: nobody waited for a descriptor"
[ $cpu -lt $((took / 20)) ] || fail "$cpu ms of CPU in $took ms without descriptors"
echo >&4
sleep 0.3 # if it has dialled by now it waits, and not yet for a second; served it is either way
prlimit --pid "$CROWD_AGENT" --nofile="$allowed":"$allowed"
said 20 '^served 1 reset 0'
echo >&5
said 20 '^closed'
end_crowd
exec 5>&-
expect_eq "closes that say why" 6 "$(refused '^refused: too many connections for the open files allowed')"
expect_all_seq
echo "ok: without descriptors: $cpu ms of CPU in $took ms, $(grep -c ' refused ' "$T/client.err") lines in the log"
