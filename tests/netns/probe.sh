#!/usr/bin/env bash
# Promise: `probe` says, a line each, what this machine offers and what follows if it does not; where
# something is taken away, that line changes, and the exit status is 1 exactly when `exec` cannot work;
# programs of others on our hooks are listed; and it leaves nothing behind, even when interrupted.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

note_leftovers "$T/before"
PROBE=("${CLEAN[@]}" "$SALLYPORT" probe)

# probe WHAT WANTED [PROGRAM ARGS...]: run by PROGRAM, both forms, into $T/text and $T/json.
probe() {
    local what=$1 wanted=$2
    shift 2
    expect_status "$what" "$wanted" "$@" "${PROBE[@]}" >"$T/text" 2>"$T/client.err"
    expect_status "$what, as JSON" "$wanted" "$@" "${PROBE[@]}" -o json >"$T/json" 2>>"$T/client.err"
    expect_eq "stderr of $what" "" "$(cat "$T/client.err")"
    expect_eq "lines of JSON" 1 "$(wc -l <"$T/json")"
    # columns by width, as people read them: state, name, words; behind them the last line
    expect_eq "lines of $what without three parts" "" \
        "$(head -n -1 "$T/text" | grep -vE '^(ok|missing|absent|foreign|unknown|lsm|sockmap|none) +[^ ].*[^ ]  +[^ ].*' || true)"
    expect_eq "checks of $what in both forms" \
        "$(jq -r '.checks[] | "\(if .found then "ok" elif .required then "missing" else "absent" end) \(.name): \(.consequence)"' "$T/json")" \
        "$(sed -nE 's/^(ok|missing|absent) +([^ ].*[^ ])  +(else|so) (.*)$/\1 \2: \4/p' "$T/text" |
            sed -E '/^(missing|absent)/s/ \([^()]*(\([^()]*\)[^()]*)*\)$//; s/ +:/:/')"
    expect_eq "kernel route of $what in both forms" "$(jq -r '"\(.kernel_route) \(.kernel_route_words)"' "$T/json")" \
        "$(sed -nE 's/^([a-z]+) +kernel route +/\1 /p' "$T/text")"
    expect_eq "what is wrong with $what" "$(jq -r '[.checks[] | select(.required and (.found | not)) | .name] | join(", ")' "$T/json")" \
        "$(tail -n 1 "$T/text" | sed -E 's/^exec works here$//; s/^exec cannot work here: (.*) missing$/\1/')"
    expect_eq "exec: true, if nothing is wrong" "$(jq -r .exec "$T/json")" \
        "$([ "$wanted" = 0 ] && echo true || echo false)"
    echo "ok: $what: $(tail -n 1 "$T/text")"
}
found() { jq -r --arg name "$1" '.checks[] | select(.name == $name) | .found' "$T/json"; }

# ---- as it is -----------------------------------------------------------------

probe "this machine" 0
expect_eq "kernel" "$(uname -r)" "$(jq -r .kernel "$T/json")"
for name in capabilities BTF "cgroup v2" cgroup/connect4 sockops raw_tp/sched_process_exec "exec's programs"; do
    expect_eq "$name" true "$(found "$name")"
done
expect_no_grep "no colours in a file" $'\033' "$T/text"
expect_leftovers "$T/before"

# what is said is so: exec works
expect_status "exec" 3 sallyport exec --events-file "$EVENTS" -- sh -c 'exit 3'

# ---- something taken away -------------------------------------------------------

without() { # what, the only required checks missing, shell words that take it away
    local what=$1 missing=$2
    probe "without $what" 1 unshare -m sh -c "$3"' && exec "$@"' sh
    expect_eq "missing without $what" "$missing" \
        "$(jq -r '[.checks[] | select(.required and (.found | not)) | .name] | join(", ")' "$T/json")"
    expect_leftovers "$T/before"
}
without BTF "BTF, exec's programs" 'mount -t tmpfs none /sys/kernel/btf'
without "cgroup v2" "cgroup v2, exec's programs" "umount -l $(cgroup2)"
without "a cgroup that can be written to" "cgroup v2, exec's programs" "mount -o remount,bind,ro $(cgroup2)"

probe "without CAP_NET_ADMIN" 1 setpriv --bounding-set -net_admin --inh-caps -net_admin
expect_grep "which capability" '^missing  capabilities .*lacks CAP_NET_ADMIN' "$T/text"

refused() { # what, word in the one sentence, CMD...
    local what=$1 word=$2
    shift 2
    expect_status "$what" 1 "$@" >"$T/out" 2>"$T/client.err"
    expect_eq "standard output: $what" 0 "$(wc -c <"$T/out")"
    expect_eq "sentences: $what" 1 "$(wc -l <"$T/client.err")"
    expect_grep "$what" "^sallyport: .*$word" "$T/client.err"
    echo "ok: $what: $(cat "$T/client.err")"
}
mkdir -m 755 "$T/open"
install -m 755 "$SALLYPORT" "$T/open/sallyport"
refused "not root" root clean setpriv --reuid 65534 --regid 65534 --clear-groups "$T/open/sallyport" probe
refused "root in name only" CAP_SYS_ADMIN clean setpriv --bounding-set -all --inh-caps -all "${PROBE[@]}"
refused "a full disk" "could not be written" sh -c 'exec "$@" >/dev/full' sh "${PROBE[@]}"

for wrong in --no-such-option "-o yaml" more; do
    # shellcheck disable=SC2086 # two words
    expect_status "probe $wrong" 2 sallyport probe $wrong >"$T/out" 2>"$T/client.err"
    expect_eq "standard output of probe $wrong" 0 "$(wc -c <"$T/out")"
done
expect_status "--help" 0 sallyport probe --help >"$T/out"
expect_grep "--help" 'compact.json' "$T/out"

# ---- programs of others ------------------------------------------------------------

CGROUP=$(cgroup2)$(sed -n 's|^0::/|/|p' /proc/self/cgroup)
CGROUP=${CGROUP%/}/sallyport-test-$$
# shellcheck disable=SC2317 # called by the trap
remove_cgroups() { rmdir "$CGROUP"/below "$CGROUP" 2>/dev/null || true; tear_down; }
trap remove_cgroups EXIT

stranger() { # flags of its attachment, wanted exit status, what follows
    mkdir -p "$CGROUP/below"
    /usr/bin/python3 "$HERE/attach_program.py" "$CGROUP" "$1"
    probe "a stranger's program, attached with flags $1" "$2" \
        sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$CGROUP/below"
    expect_eq "foreign programs" "cgroup/connect4 stranger cgroup_sock_addr $CGROUP" \
        "$(jq -r --arg at "$CGROUP" '.foreign_programs[] | select(.at == $at) | "\(.hook) \(.name) \(.type) \(.at)"' "$T/json")"
    expect_grep "its line" "^foreign  cgroup/connect4 +stranger \(id [0-9]+\) at $CGROUP: .*$3" "$T/text"
    rmdir "$CGROUP/below" "$CGROUP"
}
expect_eq "foreign programs before" "" \
    "$(jq -r '.foreign_programs[] | select(.name == "stranger")' "$T/json")"
stranger 2 0 'runs after ours'
stranger 1 0 'ours takes its place'
stranger 0 1 'exec cannot work'
expect_eq "the hook is taken" false "$(found cgroup/connect4)"
expect_leftovers "$T/before"

# ---- interrupted, whenever -----------------------------------------------------------

for signal in INT TERM HUP; do
    for after in 0.01 0.03 0.06 0.1 0.15 0.2; do
        timeout -s $signal $after "${PROBE[@]}" >"$T/out" 2>"$T/client.err" || true
        dead_cgroups=$(find "$(cgroup2)" -type d -name 'sallyport-probe-*')
        expect_eq "cgroups left by SIG$signal after $after s" "" "$dead_cgroups"
    done
done
expect_leftovers "$T/before"
