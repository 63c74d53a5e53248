#!/usr/bin/env bash
# Promise: deploy/demo shows the story from a checkout, in seconds when nothing is missing, as
# lines and as JSON; runs a command of one's own with its status; and leaves nothing behind, ended by
# ^C or otherwise. It runs the release build of this checkout, which is made first if it is not there.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

demo=$HERE/../../deploy/demo
SALLYPORT=$(realpath "$HERE/../..")/build/release/sallyport # whose processes are leftovers

expect_status "usage" 0 "$demo" -h >"$T/usage"
expect_grep "usage" '^usage: deploy/demo ' "$T/usage"
expect_status "an unknown option" 2 "$demo" --fast 2>"$T/usage"
expect_status "an unknown form" 2 "$demo" -o yaml 2>"$T/usage"
expect_status "without root" 125 setpriv --reuid 65534 --clear-groups "$demo" 2>"$T/usage"
expect_grep "what to do" 'must be root.* sudo deploy/demo$' "$T/usage"

mkdir "$T/bin"
ln -s "$(command -v bash)" "$(command -v id)" "$T/bin/"
expect_status "where there is no apt" 125 env PATH="$T/bin" "$demo" 2>"$T/usage"
expect_grep "what to do there" 'no apt-get here: install what deploy/deps lists' "$T/usage"

expect_status "the first run, which may build" 0 "$demo" >"$T/first" 2>"$T/first.err"
note_leftovers "$T/before"

begin=$SECONDS
expect_status "the second run" 0 "$demo" >"$T/again" 2>"$T/again.err"
echo "again: $((SECONDS - begin)) s" # under 10 on a machine that does nothing else
for run in first again; do
    expect_eq "words beside the events" '' "$(cat "$T/$run.err")"
    expect_eq "lines" 13 "$(wc -l <"$T/$run")"
    expect_lines "the $run run" "$T/$run" '^🚀 process HOST /usr/bin/curl https://ebpf.io/tetragon$' \
        '^📖 dns .* NOERROR \[ebpf.io.\] \[A\] \[203.0.113.10\]$' \
        '^🔌 connect .* => 203.0.113.10:443 \[ebpf.io.\]$' \
        '^🔐 tls .* ebpf.io TLS1.3 TLS_AES_128_GCM_SHA256$' \
        '^🌐 http .* ebpf.io GET /tetragon 200 ' \
        '^🧹 close .* rx 226 kB$' \
        '^💥 exit    HOST /usr/bin/curl https://ebpf.io/tetragon 0$'
done
expect_status "as JSON" 0 "$demo" -o json >"$EVENTS"
expect_all_seq
expect_eq "events" 13 "$(events length)"

echo hello | expect_status "a command of one's own" 7 "$demo" -- \
    sh -c 'cat; cat /etc/resolv.conf; exit 7' >"$T/answer" 2>"$EVENTS"
expect_eq "what it read and wrote" $'hello\nnameserver 203.0.113.53' "$(cat "$T/answer")"
expect_grep "its events" '^💥 exit .* 7$' "$EVENTS"
expect_leftovers "$T/before"

# ---- ended early --------------------------------------------------------------

# As at a terminal, all of the process group gets the signal; then the script alone.
for target in -INT:- -TERM:; do
    setsid env --default-signal=INT,QUIT "$demo" -- sh -c "touch $T/started; exec sleep 60" 2>"$EVENTS" &
    pid=$!
    PIDS+=("$pid")
    wait_for 30 test -e "$T/started"
    rm "$T/started"
    kill "${target%:*}" -- "${target#*:}$pid"
    status=0
    wait "$pid" || status=$?
    case $target in -INT:*) wanted=130 ;; *) wanted=143 ;; esac
    expect_eq "status after ${target%:*}" "$wanted" "$status"
    expect_leftovers "$T/before"
done
expect_status "a command that there is not" 127 "$demo" -- /no/such/command 2>"$EVENTS"
expect_leftovers "$T/before"
