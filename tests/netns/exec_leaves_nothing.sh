#!/usr/bin/env bash
# Promise: `exec` leaves nothing behind (cgroup, pins, programs, links, mounts, files, devices,
# processes), however the run ends, and the host's CA bundle is the same file with the same bytes
# while the command sees one with our authority in it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

bundle=/etc/ssl/certs/ca-certificates.crt
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_cert expired ca "$ORIGIN_SAN" -1
read -r port bad <<<"$(free_ports 2)"
nginx_server "$port" origin
nginx_server "$bad" expired
start_nginx
head -c 1000000 /dev/urandom >"$T/www/file"
host_bundle=$(stat -Lc '%i %s %Y' "$bundle" && sha256sum "$bundle")
note_leftovers "$T/before"

nothing_left() {
    expect_leftovers "$T/before"
    expect_eq "the host's bundle after $1" "$host_bundle" "$(stat -Lc '%i %s %Y' "$bundle" && sha256sum "$bundle")"
    echo "ok: $1"
}

expect_status "a normal run" 0 exec_local -- curl -sS -o "$T/answer" "https://localhost:$port/file"
nothing_left "a normal run"

expect_status "a refused certificate" 60 exec_local -- curl -sS "https://localhost:$bad/file" 2>"$T/client.err"
nothing_left "a refused certificate"

expect_status "no such command" 127 exec_local -- no-such-command 2>"$T/client.err"
nothing_left "a command that is not there"

expect_status "no such CA file" 125 sallyport exec --upstream-ca "$T/nowhere" -- true 2>"$T/client.err"
nothing_left "a start that failed"

background "${EXEC_LOCAL[@]}" -- sh -c "curl -sS --limit-rate 10k -o /dev/null https://localhost:$port/file & sleep 100"
pid=$!
wait_for 20 grep -q process_http "$EVENTS"
kill -TERM "$pid"
expect_status "SIGTERM in the middle of a transfer" 143 wait "$pid"
nothing_left "SIGTERM in the middle of a transfer"

expect_status "a daemon left by the command" 0 exec_local -- sh -c 'setsid -f sleep 100 >/dev/null 2>&1'
nothing_left "a daemon left by the command"

# inside, the bundle is the host's and ours behind
exec_local -- cat "$bundle" >"$T/inside"
expect_eq "our authority in the bundle inside" 1 "$(grep -c '^# The authority of Sallyport' "$T/inside")"
cmp -n "$(stat -Lc %s "$bundle")" "$bundle" "$T/inside" || fail "the host's roots are not in the bundle inside"
# what root writes inside lands in the copy of this run
exec_local -- sh -c "echo x >>$bundle"
nothing_left "a look at the bundle"
