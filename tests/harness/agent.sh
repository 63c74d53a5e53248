# agent: what the scripts share that test `sallyport run` and its pods. Source it behind lib.sh.
#
# $CGROUPS is a cgroup of the test's own, all of whose pods are below it; what lives in it at the end
# is killed. The agent's runtime directory is $T/run, its log $T/agent.err, its events are in $EVENTS,
# and clients that trust it read $T/trusted.pem.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that only the scripts use

CGROUPS=$(cgroup2)/sallyport-test-$$
AGENT=

# shellcheck disable=SC2317 # called by the trap
agent_tear_down() {
    local status=$? dir pid
    trap - ERR
    set +e
    [ ! -e "$CGROUPS/cgroup.kill" ] || echo 1 >"$CGROUPS/cgroup.kill"
    [ -z "$AGENT" ] || { kill -CONT "$AGENT"; kill -TERM "$AGENT"; wait "$AGENT"; } 2>/dev/null
    pkill -TERM -f -- "--runtime-dir $T/run " # one that took its place
    for pid in "${PROGRAM_PID[@]}"; do wait "$pid"; done 2>/dev/null
    for _ in {1..100}; do # those that were killed go when they are gone
        find "$CGROUPS" -depth -type d -exec rmdir {} + 2>/dev/null
        [ -e "$CGROUPS" ] || break
        sleep 0.05
    done
    for dir in "$T/run/bpf" "$T/run"; do
        ! mountpoint -q "$dir" || umount -l "$dir"
    done
    (exit "$status")
    tear_down
}
trap agent_tear_down EXIT

make_cgroup() { # NAME...: below $CGROUPS
    local name
    for name in "$@"; do mkdir -p "$CGROUPS/$name"; done
}

# agent_up OPTIONS...: starts it, with the authority `agent`, and waits until it answers.
agent_up() {
    local dir=$T/agent-ca
    mkdir -p "$CGROUPS"
    if [ ! -d "$dir" ]; then
        [ -e "$T/ca.pem" ] || make_ca ca
        make_ca agent
        mkdir "$dir"
        cp "$T/agent.pem" "$dir/tls.crt"
        cp "$T/agent.pem" "$dir/ca.crt"
        install -m 600 "$T/agent.key" "$dir/tls.key"
        cat "$T/ca.pem" "$T/agent.pem" >"$T/trusted.pem"
    fi
    "${CLEAN[@]}" "$SALLYPORT" run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" --ca "$dir" \
        --upstream-ca "$T/ca.pem" -o json --events-file "$EVENTS" --admin-address '' "$@" \
        2>>"$T/agent.err" &
    AGENT=$!
    wait_for 20 pods list
}

agent_down() { # SIGNAL
    kill "-${1:-TERM}" "$AGENT"
    wait "$AGENT" || [ "${1:-TERM}" = KILL ] || fail "the agent ended badly: $(tail -n 5 "$T/agent.err")"
    AGENT=
}

# The keeper process of the test's agent; nothing where there is none.
keeper_pid() { pgrep -fx "sallyport keeper $T/run/keeper.sock" || true; }

pods() { # VERB ARGS...
    local verb=$1
    shift
    sallyport pods "$verb" --runtime-dir "$T/run" "$@"
}
pods_listed() { pods list | awk '{ print $1 }' | paste -sd ' '; }
pods_are() { [ "$(pods_listed)" = "$*" ]; }

# in_cgroup NAME PROGRAM ARGS...: by exec, so that a background one's pid is the program's.
IN_CGROUP=(bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"')

# start_asked NAME CGROUP PROGRAM ARGS...: one that answers each line with a line, in a cgroup below $CGROUPS.
# start_program NAME CGROUP [PROGRAM...]: tests/netns/pod_program.py as such a one, started by PROGRAM (nsenter).
# ask NAME WORDS...: tells it to do something; its answer is on stdout.
declare -A PROGRAM_IN PROGRAM_OUT PROGRAM_PID
start_asked() {
    local name=$1 cgroup=$2 in out
    shift 2
    mkfifo "$T/$name.in" "$T/$name.out"
    exec {in}<>"$T/$name.in" {out}<>"$T/$name.out"
    PROGRAM_IN[$name]=$in PROGRAM_OUT[$name]=$out
    "${IN_CGROUP[@]}" "$CGROUPS/$cgroup" "$@" <"$T/$name.in" >"$T/$name.out" 2>"$T/$name.err" &
    PROGRAM_PID[$name]=$!
    PIDS+=("$!")
    expect_eq "$name is there" ready "$(ask "$name" ready)"
}
start_program() { start_asked "$1" "$2" "${@:3}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/pod_program.py" "$T/trusted.pem"; }
ask() {
    local name=$1 answer
    shift
    echo "$*" >&"${PROGRAM_IN[$name]}"
    read -r -t $((30 * ${SALLYPORT_SLOW:-1})) answer <&"${PROGRAM_OUT[$name]}" || fail "$name does not answer: $*: $(cat "$T/$name.err")"
    echo "$answer"
}

# told FILTER: how many events of what they have of the last line asked are there; the agent writes them
# a moment after.
told() { jq -c "select($1)" "$EVENTS" | wc -l; }
is_told() { [ "$(told "$1")" -ge "${2:-1}" ]; }
