#!/usr/bin/env bash
# Promise: `exec` is transparent to who calls it: CMD's exit status, stdin, stdout, stderr and
# signals are its own; 126 and 127 as shells do; 2 for bad usage; 125 with one sentence, which says
# what to do, when Sallyport itself failed. Job control of `exec -- bash` works.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

RUN=("${CLEAN[@]}" "$SALLYPORT" exec --events-file "$EVENTS")
run() { "${RUN[@]}" "$@"; }

# ---- exit status ---------------------------------------------------------------

echo 'not a program' >"$T/not-executable"
expect_status "true" 0 run -- true
expect_status "exit 3" 3 run -- sh -c 'exit 3'
expect_status "exit 255" 255 run -- sh -c 'exit 255'
expect_status "death by SIGTERM" 143 run -- sh -c 'kill -TERM $$'
expect_status "death by SIGKILL" 137 run -- sh -c 'kill -KILL $$'
expect_status "a command that is not there" 127 run -- no-such-command 2>"$T/client.err"
expect_eq "lines about it" 1 "$(wc -l <"$T/client.err")"
expect_status "a file that is no program" 126 run -- "$T/not-executable" 2>"$T/client.err"
expect_eq "lines about it" 1 "$(wc -l <"$T/client.err")"
expect_status "--help" 0 sallyport exec --help >"$T/out"
expect_grep "--help" 'upstream-ca' "$T/out"
expect_status "--version" 0 sallyport --version >"$T/out"
expect_grep "--version" '[0-9]+[.][0-9]+' "$T/out"

usage() { # arguments that cannot be right
    expect_status "sallyport $*" 2 sallyport "$@" >"$T/out" 2>"$T/client.err"
    expect_eq "standard output of sallyport $*" 0 "$(wc -c <"$T/out")"
    expect_grep "sallyport $*" . "$T/client.err"
}
usage
usage no-such-command
usage exec
usage exec --
usage exec --no-such-option -- true
usage exec -o yaml -- true
usage exec --ports 0 -- true
usage exec --ports 65536 -- true
usage exec --ports 443,x -- true
usage exec --ports '' -- true
usage exec --user '' -- true
usage exec --user 1: -- true
usage exec --user :1 -- true
usage exec --user 1:x -- true
usage exec --user nobody:1 -- true
expect_no_grep "its message" '::' "$T/client.err"

# ---- 125: one sentence, and nothing else happened -------------------------------

refused() { # what, word in the sentence, CMD...
    local what=$1 word=$2
    shift 2
    expect_status "$what" 125 "$@" >"$T/out" 2>"$T/client.err"
    expect_eq "standard output: $what" 0 "$(wc -c <"$T/out")"
    expect_eq "sentences: $what" 1 "$(wc -l <"$T/client.err")"
    expect_grep "$what" "^sallyport: .*$word" "$T/client.err"
    echo "ok: $what: $(cat "$T/client.err")"
}
mkdir -m 755 "$T/open"
install -m 755 "$SALLYPORT" "$T/open/sallyport"
unprivileged=(setpriv --reuid 65534 --regid 65534 --clear-groups)
refused "not root" root clean "${unprivileged[@]}" "$T/open/sallyport" exec -- echo ran
refused "root in name only" . clean setpriv --bounding-set -all --inh-caps -all \
    "$SALLYPORT" exec -- echo ran
refused "no BTF" BTF clean unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$0" exec -- echo ran' "$SALLYPORT"
refused "no cgroup v2" "cgroup v2" clean unshare -m sh -c 'umount -l "$1" && exec "$0" exec -- echo ran' "$SALLYPORT" "$(cgroup2)"
refused "a read-only /run" 'Read-only file system; make it writable' clean unshare -m \
    sh -c 'mount -t tmpfs -o ro none /run && exec "$0" exec -- echo ran' "$SALLYPORT"
# cgroup v2 read-only, as a container has it
refused "a read-only cgroup" 'Read-only file system; make it writable' clean unshare -m \
    sh -c 'mount -o bind,remount,ro "$1" && exec "$0" exec -- echo ran' "$SALLYPORT" "$(cgroup2)"
for files in 8 24 64; do # too few for the loop, for the kernel's maps, for the listeners
    refused "$files open files" 'ulimit -n' clean sh -c 'ulimit -n "$1" && exec "$0" exec -- echo ran' "$SALLYPORT" $files
done
refused "no such user" no-such-user clean "$SALLYPORT" exec --user no-such-user -- echo ran
refused "no CA file" "$T/nowhere.pem" clean "$SALLYPORT" exec --upstream-ca "$T/nowhere.pem" -- echo ran
refused "a CA file without a certificate" "$T/not-executable" \
    clean "$SALLYPORT" exec --upstream-ca "$T/not-executable" -- echo ran
refused "no place for events" "$T/nowhere/events" \
    clean "$SALLYPORT" exec --events-file "$T/nowhere/events" -- echo ran

# ---- stdin, stdout, stderr, environment, directory, user ------------------------

printf 'in\0put' | run -- sh -c 'cat; echo oops >&2; cd /proc && pwd' >"$T/out" 2>"$T/client.err"
expect_eq "stdout" "$(printf 'in\0put/proc' | od -c)" "$(tr -d '\n' <"$T/out" | od -c)"
expect_eq "stderr" oops "$(cat "$T/client.err")"
expect_eq "events without a file go to stderr" "out" "$(sallyport exec -- echo out 2>"$T/client.err")"
expect_lines "events on stderr" "$T/client.err" '^🚀 process HOST /[^ ]*/echo out$' '^💥 exit    HOST /[^ ]*/echo out 0$'
expect_no_grep "no colours in a file" $'\033' "$T/client.err"
cd "$T/open"
expect_eq "working directory" "$T/open" "$(run -- pwd)"
cd "$HERE"
# what adds trust for Node.js is all that is new
expect_eq "environment" "$(clean FOO='a b' env | sort)" \
    "$(clean FOO='a b' "${RUN[@]:${#CLEAN[@]}}" -- env | grep -v '^NODE_EXTRA_CA_CERTS=' | sort)"
expect_eq "descriptors" "$(clean ls /proc/self/fd | xargs)" "$(run -- ls /proc/self/fd | xargs)"
expect_eq "--user" nobody "$(run --user nobody -- id -un)"
expect_eq "--user's groups" "$(id -G nobody)" "$(run --user nobody -- id -G)"
expect_eq "--user has no capabilities" 0000000000000000 \
    "$(run --user nobody -- awk '/^CapEff/ { print $2 }' /proc/self/status)"
# who USER: whom CMD takes itself for, when we are root in the environment, too
who() {
    clean USER=root LOGNAME=root "${RUN[@]:${#CLEAN[@]}}" --user "$1" -- \
        sh -c 'echo "$(id -u) $(id -G) ${USER-unset} ${LOGNAME-unset} $HOME"'
}
IFS=: read -r _ _ uid _ _ home _ <<<"$(getent passwd nobody)"
expect_eq "--user by name" "$uid $(id -G nobody) nobody nobody $home" "$(who nobody)"
expect_eq "--user by number" "$uid $(id -G nobody) nobody nobody $home" "$(who "$uid")"
expect_eq "--user by number with a group" "$uid 54321 nobody nobody $home" "$(who "$uid:54321")"
expect_eq "--user that nobody is" "54321 54321 unset unset /" "$(who 54321)"
expect_eq "--user that nobody is with a group" "54321 12345 unset unset /" "$(who 54321:12345)"
for ignored in PIPE CHLD; do
    expect_eq "SIG$ignored ignored" "$(clean env --ignore-signal=$ignored awk '/^SigIgn/' /proc/self/status)" \
        "$(clean env --ignore-signal=$ignored "${RUN[@]:${#CLEAN[@]}}" -- awk '/^SigIgn/' /proc/self/status)"
done
expect_eq "exec inside exec" inside \
    "$(run -- "$SALLYPORT" exec --events-file "$T/events.inside" -- echo inside)"
expect_eq "file is truncated at start" 2 "$(run -- true && grep -c . "$EVENTS")"

# ---- files of roots that not everybody may read ----------------------------------

# with SSL_CERT_FILE=FILE: [OPTION...] -- CMD
with_roots() { clean SSL_CERT_FILE="$1" "${RUN[@]:${#CLEAN[@]}}" "${@:2}"; }
make_ca roots
install -m 600 /dev/null "$T/secret.pem"
cat "$T/roots.key" "$T/roots.pem" >"$T/secret.pem"
install -m 644 "$T/roots.pem" "$T/public.pem"
cp "$T/secret.pem" "$T/group.pem" && chgrp nogroup "$T/group.pem" && chmod 640 "$T/group.pem"
for file in secret public group; do
    expect_eq "our authority in $file.pem inside" 1 \
        "$(with_roots "$T/$file.pem" -- grep -c '^# The authority of Sallyport' "$T/$file.pem")"
done
expect_status "a stranger who reads root's file" 1 \
    with_roots "$T/secret.pem" --user nobody -- cat "$T/secret.pem" >"$T/out" 2>"$T/client.err"
expect_eq "what he saw of it" 0 "$(wc -c <"$T/out")"
expect_grep "why he saw nothing" 'Permission denied' "$T/client.err"
expect_status "one who is not of the group" 1 \
    with_roots "$T/group.pem" --user 54321 -- cat "$T/group.pem" >"$T/out" 2>"$T/client.err"
expect_eq "our authority for one of the group" 1 \
    "$(with_roots "$T/group.pem" --user 54321:"$(id -g nobody)" -- grep -c '^# The authority of Sallyport' "$T/group.pem")"
expect_eq "our authority for a stranger in everybody's file" 1 \
    "$(with_roots "$T/public.pem" --user nobody -- grep -c '^# The authority of Sallyport' "$T/public.pem")"

# ---- signals ---------------------------------------------------------------------

signalled() { # signal, wanted status: sent to sallyport, reaches CMD
    local status=0
    background "${RUN[@]}" -- sh -c "echo \$\$ >'$T/pid'; exec sleep 100"
    local pid=$!
    wait_for 20 grep -q 'sleep' "$EVENTS"
    kill "-$1" "$pid"
    wait "$pid" || status=$?
    expect_eq "exit status after $1" "$2" "$status"
    dead "$(cat "$T/pid")" || fail "CMD still runs after $1"
    : >"$EVENTS"
}
: >"$EVENTS"
signalled TERM 143
signalled HUP 129
expect_status "a signal that CMD handles" 7 run -- bash -c 'trap "exit 7" TERM; kill -TERM $PPID; for i in {1..100}; do sleep 0.1; done'

# stopped and woken by somebody who has nothing to do with a terminal: we serve it all the while
expect_status "a command that is stopped and woken" 4 timeout 20 setsid -w "${RUN[@]}" -- \
    sh -c '(sleep 0.3; kill -CONT $$) & kill -STOP $$; exit 4'
# a caller's odd heritage: it ignores SIGCHLD, or has no stdin, stdout and stderr
expect_status "SIGCHLD ignored" 5 timeout 20 /usr/bin/python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])' "${RUN[@]}" -- sh -c 'exit 5'
expect_status "no standard descriptors" 6 timeout 20 "${RUN[@]}" -- \
    sh -c '[ ! -e /proc/$$/fd/1 ] && [ ! -e /proc/$$/fd/2 ] && exit 6' <&- >&- 2>&-
expect_grep "its events" '^🚀 process HOST' "$EVENTS"

run -- sh -c "setsid sleep 100 >/dev/null 2>&1 & echo \$! >'$T/pid'"
dead "$(cat "$T/pid")" || fail "a child left in the background outlives the command"

# ---- events nobody takes -----------------------------------------------------------

expect_status "a full disk" 3 sallyport exec --events-file /dev/full -- sh -c 'exit 3' 2>"$T/client.err"
expect_grep "what is missing" '[0-9]+ events could not be written to /dev/full: No space left' "$T/client.err"
mkfifo "$T/fifo"
exec 3<>"$T/fifo" # a reader that never reads; the pipe holds 64 kB
rm "$T/pid"
background "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$T/fifo" -- \
    bash -c "echo \$\$ >'$T/pid'; for i in {1..60}; do /bin/true; done; exit 3" 2>"$T/client.err"
wait_for 20 test -s "$T/pid"
wait_for 20 dead "$(cat "$T/pid")"
alive "${PIDS[-1]}" || fail "a reader who does not read is not waited for"
started=$SECONDS
kill -TERM "${PIDS[-1]}" # else half a minute
expect_status "a reader that does not read" 3 wait "${PIDS[-1]}"
[ $((SECONDS - started)) -lt 20 ] || fail "a signal does not end the wait for a reader"
expect_grep "what is missing" 'events could not be written to .*/fifo: its reader stopped reading' "$T/client.err"
exec 3>&-
# less, say: it comes late, and then reads all; more than the pipe holds
sallyport exec -o json -- bash -c 'for i in {1..60}; do /bin/true; done' 2>&1 | (sleep 3; cat) >"$T/out"
jq -e . "$T/out" >"$T/client.err" || fail "a slow reader got a line that is no JSON"
expect_eq "events a slow reader got" true "$(jq -s '[.[].seq | tonumber] == [range(1; 1 + 2 * 61)]' "$T/out")"

# ---- a terminal ------------------------------------------------------------------

clean /usr/bin/python3 "$HERE/job_control.py" "$SALLYPORT" "$T"
