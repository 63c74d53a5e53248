#!/usr/bin/env bash
# Promise: whatever programs are called, given and do, and whatever becomes of the events' way out, the
# program is unharmed, no control byte comes through, and what is not told is counted.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

RUN=("${CLEAN[@]}" "$SALLYPORT" exec --events-file "$EVENTS")
run() { "${RUN[@]}" "$@"; }
PY=/usr/bin/python3

# Bytes of control characters: C0 and DEL; C1, bidirectional overrides and isolates, in UTF-8.
CONTROL='[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xa9]'
expect_clean() { # what, file
    if LC_ALL=C grep -aqP "$CONTROL" "$2"; then LC_ALL=C grep -aP "$CONTROL" "$2" | cat -v | cut -c 1-200 >&9; fail "$1: control bytes"; fi
}
# told_or_lost JQ: lines of which JQ is true, and what is counted as lost.
told_or_lost() {
    jq -n -r "reduce inputs as \$e ([0, 0]; if \$e | $1 then .[0] += 1
        else .[1] += (\$e.lost_events.count // 0 | tonumber) end) | \"\\(.[0]) \\(.[1])\"" "$EVENTS"
}
told='' lost=''
expect_sum() { # what, wanted, jq filter
    read -r told lost <<<"$(told_or_lost "$3")"
    expect_eq "$1: told and lost" "$2" $((told + lost))
    echo "ok: $1: $told told, $lost lost"
}

# ---- arguments of 2 MB ------------------------------------------------------------------------------

# The kernel takes 128 kB less one byte in one argument, and 2 MB in all with a stack of 8 MB.
ulimit -S -s 8192
for format in compact json; do
    expect_status "2 MB in big arguments" 0 run -o $format -- "$PY" -c \
        'import os; os.execv("/bin/true", ["true"] + ["x" * 131071] * 15)'
    expect_eq "lines" 3 "$(wc -l <"$EVENTS")" # python, true, exit
    [ "$(wc -c <"$EVENTS")" -lt 65536 ] || fail "$(wc -c <"$EVENTS") bytes tell of 2 MB"
    expect_status "2 MB in many arguments" 0 run -o $format -- "$PY" -c \
        'import os; os.execv("/bin/true", ["true"] + ["y"] * 190000)'
    expect_eq "lines" 3 "$(wc -l <"$EVENTS")"
done
expect_eq "it is told that they are cut" 'execve truncArgs' "$(events '.[1].process_exec.process.flags')"
expect_status "2 MB of our own" 0 "$PY" - "${RUN[@]}" <<'PY'
import subprocess, sys
done = subprocess.run([*sys.argv[1:], "--", "wc", "-c", "/dev/null", *["/dev/null"] * 100000], stdout=subprocess.PIPE, check=True)
sys.exit(not done.stdout.endswith(b"0 total\n"))
PY

# ---- odd bytes everywhere -----------------------------------------------------------------------------

odd=$'\e[31mred\e]0;title\a \xff\xfe\xc3( new\nline\ttab\r \xe2\x80\xaetxt.exe\xe2\x81\xa6 \xc2\x9b31m \x7f 🚀 process HOST /bin/forged'
file=${odd//\//_}
dir=$T/$file
mkdir "$dir"
cp /bin/true "$dir/a $file"
for format in compact json; do
    status=0
    (cd "$dir" && "${CLEAN[@]}" ODD="$odd" "${RUN[@]:${#CLEAN[@]}}" -o $format -- "$dir/a $file" "$odd" '' "two words" "--$odd") || status=$?
    expect_eq "status with odd bytes" 0 $status
    expect_eq "lines about odd bytes" 2 "$(wc -l <"$EVENTS")"
    expect_clean "odd bytes, $format" "$EVENTS"
    iconv -f UTF-8 -t UTF-8 "$EVENTS" >"$T/out" || fail "$format: not UTF-8"
done
printable=$(printf %s "$dir/a $file" | iconv -c -f UTF-8 -t UTF-8)
expect_eq "what JSON says it was" true "$(jq -s --arg wanted "$printable" \
    '.[0].process_exec.process.binary | gsub("\ufffd"; "") == $wanted' "$EVENTS")"
expect_eq "cwd is told" true "$(events '.[0].process_exec.process.cwd | startswith("'"$T"'/\u001b[31mred")')"
expect_status "a program of an odd name that is not there" 127 run -- "/nowhere$odd" 2>"$T/client.err"
expect_no_grep "our own words about it" $'[\x01-\x1f\x7f]' "$T/client.err"
expect_status "a file of events of an odd name" 0 "${CLEAN[@]}" "$SALLYPORT" exec --events-file "$dir/events" -- true
expect_eq "lines in it" 2 "$(wc -l <"$dir/events")"
expect_status "no place for events of an odd name" 125 "${CLEAN[@]}" "$SALLYPORT" exec --events-file "/nowhere$odd" -- true 2>"$T/client.err"
expect_no_grep "our own words about that" $'[\x01-\x1f\x7f]' "$T/client.err"

# ---- forks ----------------------------------------------------------------------------------------------

cat >"$T/forks.py" <<'PY'
import os, sys
count, at_once, running = int(sys.argv[1]), 64, 0
for i in range(count):
    if running == at_once:
        os.wait()
        running -= 1
    if os.fork() == 0:
        os._exit(0)
    running += 1
while running:
    os.wait()
    running -= 1
print("forked", count)
PY
count=10000
[ -z "$FULL" ] || count=100000
expect_eq "what forks $count times" "forked $count" "$(run -o json -- "$PY" "$T/forks.py" $count)"
expect_all_seq
expect_eq "lines about one program" 2 "$(wc -l <"$EVENTS")"

# ---- an agent that does not come to read what the kernel tells ----------------------------------------

# spawn.py COUNT ACTION [EVENTS]: runs so many programs. ACTION is a file that goes away in the middle; or
# "stop": the agent stands still all the while, and then is waited for.
cat >"$T/spawn.py" <<'PY'
import os, signal, sys, time
count, action = int(sys.argv[1]), sys.argv[2]
def spawn(n):
    for _ in range(n):
        os.waitpid(os.posix_spawn("/bin/true", ["true"] + ["argument"] * 100, {}), 0)
agent = os.getppid()
if action == "stop":
    os.kill(agent, signal.SIGSTOP)
    spawn(count)
    os.kill(agent, signal.SIGCONT)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not any("lost_events" in line for line in open(sys.argv[3])):
        time.sleep(0.05)
else:
    spawn(count // 2)
    os.unlink(action)
    spawn(count // 2)
PY
count=8000
expect_status "$count programs while the agent is stopped" 0 run -o json -- "$PY" "$T/spawn.py" $count stop "$EVENTS"
expect_all_seq
# What is lost there is records: beside those of a program's beginning and end also that of its fork.
read -r told lost <<<"$(told_or_lost 'has("process_exec") or has("process_exit")')"
missing=$((2 * count + 2 - told))
[ $missing -gt 0 ] || fail "$count programs did not fill the ring: this proves nothing"
[[ $lost -ge $missing && $lost -le $((missing + missing / 2 + 10)) ]] ||
    fail "an agent that was stopped: $missing events are missing, $lost records lost"
expect_eq "the end of the program is told all the same" true \
    "$(events 'last | .process_exit.process.arguments | contains(" stop ")')"
echo "ok: an agent that was stopped: $told told, $missing missing, $lost records lost"

# ---- ways out: full, blocked, gone -----------------------------------------------------------------------

count=400
mkdir "$T/disk"
# full_disk.sh FILLER: in a mount namespace of its own
cat >"$T/full_disk.sh" <<'SH'
mount -t tmpfs -o size=5m none "$T/disk"
head -c 4800k /dev/zero >"$T/disk/filler"
: >"$T/disk/other"
status=0
"$SALLYPORT" exec -o json --events-file "$T/disk/events" -- "$PY" "$T/spawn.py" "$count" "$1" || status=$?
cp "$T/disk/events" "$EVENTS"
exit $status
SH
full_disk() {
    expect_status "a full disk" 0 "${CLEAN[@]}" T="$T" EVENTS="$EVENTS" PY="$PY" SALLYPORT="$SALLYPORT" count=$count \
        unshare --mount bash -e "$T/full_disk.sh" "$1" 2>"$T/client.err"
}
full_disk "$T/disk/filler" # room comes back in the middle
expect_eq "complaints" '' "$(cat "$T/client.err")"
expect_all_seq
expect_sum "a disk that was full for a while" $((2 * count + 2)) 'has("process_exec") or has("process_exit")'
[ "$lost" -gt 0 ] || fail "the disk was never full: this proves nothing"
full_disk "$T/disk/other" # full to the end
[ "$(tail -c 1 "$EVENTS" | wc -l)" = 1 ] || sed -i '$d' "$EVENTS" # a line that was cut is none
expect_all_seq
told=$(wc -l <"$EVENTS")
[[ $(cat "$T/client.err") =~ ([0-9]+)' events could not be written to '.*': No space left on device' ]] ||
    fail "instead of a count: $(cat "$T/client.err")"
expect_eq "a disk that is full to the end: told and lost" $((2 * count + 2)) $((told + BASH_REMATCH[1]))
echo "ok: a disk that is full to the end: $told told, ${BASH_REMATCH[1]} lost"

mkfifo "$T/fifo"
exec 3<>"$T/fifo" # a reader that never reads; the pipe holds 64 kB
: >"$T/any"
expect_status "a standard error that nobody reads" 0 timeout -k 1 90 "${CLEAN[@]}" "$SALLYPORT" exec -o json -- \
    "$PY" "$T/spawn.py" $count "$T/any" 2>&3
exec 3>&-
expect_status "no standard error" 3 timeout -k 1 30 "${CLEAN[@]}" "$SALLYPORT" exec -- sh -c 'exit 3' 2>&-

# ---- many requests ------------------------------------------------------------------------------------------

make_ca ca
read -r port <<<"$(free_ports 1)"
nginx_server "$port"
start_nginx
cat >"$T/requests.py" <<'PY'
import os, socket, sys
port, count, clients = (int(word) for word in sys.argv[1:])
def client(number):
    with socket.create_connection(("127.0.0.1", port)) as s, s.makefile("rb") as answers:
        for i in range(count // clients):
            s.sendall(f"GET /204?{number}-{i} HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
            while line := answers.readline().strip():
                if line.startswith(b"HTTP/") and b" 204 " not in line:
                    sys.exit(1)
children = []
for number in range(clients):
    children.append(os.fork())
    if not children[-1]:
        client(number)
        os._exit(0)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
PY
count=20000
[ -z "$FULL" ] || count=200000
expect_status "$count requests" 0 exec_local -- "$PY" "$T/requests.py" "$port" $count 8 2>"$T/client.err"
expect_eq "complaints" '' "$(cat "$T/client.err")"
expect_eq "requests the origin saw" $count "$(wc -l <"$T/access")"
expect_all_seq
expect_sum "$count requests over 8 connections" $((count + 2 + 16)) '(keys - ["node_name", "time", "seq", "lost_events"]) != []'
