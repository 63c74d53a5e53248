#!/usr/bin/env bash
# Promise: of two instances at once one is killed with SIGKILL: its CMD dies, what survives of its
# command gets EPERM instead of an unseen connection, the other instance works on; the next start
# removes what the dead one left, and nothing that the living one uses.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
echo small >"$T/www/small"
note_leftovers "$T/before"

# One line for each attempt: "ok", or the errno's name, of connecting every 100 ms.
cat >"$T/connect.py" <<'PY'
import errno, os, socket, sys, time
log = open(sys.argv[2], "a", buffering=1)
print(os.getpid(), file=open(sys.argv[2] + ".pid", "w"), flush=True)
while True:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
        print("ok", file=log)
    except OSError as e:
        print(errno.errorcode.get(e.errno, e), file=log)
    time.sleep(0.1)
PY
cat >"$T/fetch.sh" <<SH
while sleep 0.2; do
    curl -sS -o /dev/null -w '%{http_code}\n' https://localhost:$port/small || echo failed
done
SH

start() { # name, CMD...: its pid in $!
    local name=$1
    shift
    background "${EXEC_LOCAL[@]}" --events-file "$T/$name.events" -- "$@" >"$T/$name.out" 2>"$T/$name.err"
}
cgroup_of() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }

start doomed sh -c "echo \$\$ >'$T/command.pid'
    setsid -f /usr/bin/python3 '$T/connect.py' $port '$T/survivor.log' >/dev/null 2>&1; sleep 1000"
doomed=$!
start living bash "$T/fetch.sh"
living=$!
wait_for 30 grep -q ok "$T/survivor.log"
wait_for 30 grep -q 200 "$T/living.out"
survivor=$(cat "$T/survivor.log.pid")
command=$(cat "$T/command.pid")
PIDS+=("$survivor" "$command")
dead_cgroup=$(cgroup2)$(cgroup_of "$survivor")
test -d "$dead_cgroup" || fail "no cgroup $dead_cgroup"

kill -KILL "$doomed"
wait "$doomed" 2>/dev/null || true
: >"$T/survivor.log"
wait_for 10 dead "$command"
alive "$survivor" || fail "the survivor did not survive; this test would prove nothing"
wait_for 10 grep -q . "$T/survivor.log"
sleep 1
: >"$T/survivor.log"
wait_for 10 grep -q . "$T/survivor.log"
sleep 0.5
expect_eq "what the survivor gets" EPERM "$(sort -u "$T/survivor.log")"

seen=$(wc -l <"$T/living.out")
more() { [ "$(wc -l <"$T/living.out")" -ge $((seen + $1)) ]; }
wait_for 20 more 5
expect_eq "what the living instance's curl gets" 200 "$(sort -u "$T/living.out")"

# the next start cleans up
expect_status "the next start" 0 exec_local -- curl -sS -o "$T/answer" "https://localhost:$port/small"
wait_for 10 dead "$survivor"
[ ! -e "$dead_cgroup" ] || fail "$dead_cgroup is still there after the next start"
alive "$living" || fail "the living instance was taken for dead"
seen=$(wc -l <"$T/living.out")
wait_for 20 more 5
expect_eq "what the living instance's curl gets afterwards" 200 "$(sort -u "$T/living.out")"

kill -TERM "$living"
wait "$living" || true
expect_leftovers "$T/before"
