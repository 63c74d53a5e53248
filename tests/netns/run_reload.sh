#!/usr/bin/env bash
# Promise: a running agent takes up configuration, CA and trust anew: by SIGHUP, when files are renamed
# over, when Kubernetes swaps ..data, when a whole directory is replaced, and when a published CA's time
# has come. A connection that is open goes on, handshakes at that moment succeed, those after it see the
# new CA. What is broken changes nothing, and is told with its place. systemd is told, too.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

CGROUP=$(cgroup2)/sallyport-test-$$
# shellcheck disable=SC2317 # called by the trap
remove_cgroup() {
    local status=$?
    trap - ERR
    set +e
    [ -z "${AGENT:-}" ] || kill -TERM "$AGENT" 2>/dev/null
    [ ! -e "$CGROUP/pod" ] || echo 1 >"$CGROUP/pod/cgroup.kill"
    for _ in {1..100}; do
        rmdir "$CGROUP/pod" "$CGROUP" 2>/dev/null
        [ -e "$CGROUP" ] || break
        sleep 0.05
    done
    ! mountpoint -q "$T/run/bpf" || umount -l "$T/run/bpf" 2>/dev/null
    (exit "$status")
    tear_down
}
trap remove_cgroup EXIT
mkdir -p "$CGROUP/pod"

make_ca ca
make_ca other
make_ca first
make_ca second
make_cert origin ca "$ORIGIN_SAN"
make_cert stranger other "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 8443 stranger
start_nginx "${IN_UPSTREAM[@]}"
echo hello >"$T/www/file"
HTTPS=https://203.0.113.10

fill_ca() { # DIR NAME [NAME_OF_KEY]
    mkdir -p "$1"
    cp "$T/$2.pem" "$1/tls.crt"
    cp "$T/$2.pem" "$1/ca.crt"
    install -m 600 "$T/${3:-$2}.key" "$1/tls.key"
}

# As a Kubernetes volume: swap_ca NAME [NAME_OF_KEY] puts another set of files into $T/ca.
sets=0
swap_ca() {
    local old=..$sets new=..$((++sets)) file
    fill_ca "$T/ca/$new" "$@"
    ln -s "$new" "$T/ca/..tmp"
    mv -T "$T/ca/..tmp" "$T/ca/..data"
    for file in tls.crt tls.key ca.crt; do [ -L "$T/ca/$file" ] || ln -s "..data/$file" "$T/ca/$file"; done
    rm -rf "${T:?}/ca/$old"
}

# config LINE...: renamed over, as editors and configuration management do.
config() {
    printf '%s\n' "cgroupRoot: $CGROUP" "runtimeDir: $T/run" "eventsFile: $EVENTS" 'output: json' \
        "adminAddress: ''" "upstreamCa: $T/roots.pem" "$@" >"$T/conf/.sallyport.yaml"
    mv "$T/conf/.sallyport.yaml" "$T/conf/sallyport.yaml"
}

# lines REGEX: how many lines of the agent's log match. logged N REGEX: waits for the N-th.
lines() { grep -cE -e "$1" "$T/agent.err" || true; }
enough() { [ "$(lines "$2")" -ge "$1" ]; }
reloads=0 failures=0
reloaded() { wait_for 10 enough $((++reloads)) '^sallyport: reloaded'; }
refused() { # WHAT REGEX
    wait_for 10 enough $((++failures)) '^sallyport: nothing was changed'
    expect_grep "$1" "$2" "$T/agent.err"
    expect_eq "reloads that were done, after $1" "$reloads" "$(lines '^sallyport: reloaded')"
}

# shellcheck disable=SC2016 # the inner shell's
AS_POD=("${CLEAN[@]}" sh -ec 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$CGROUP/pod" "${IN_POD[@]}")
ask() { "${AS_POD[@]}" curl -sS -m 10 -o "$T/answer" -w '%{http_code}' "$@" 2>"$T/client.err"; }
# signs NAME WHEN: what a new connection is shown leads to that root, and not to the other one.
signs() {
    local other=first
    [ "$1" = first ] && other=second
    expect_eq "$2: by the new CA" 200 "$(ask --cacert "$T/$1.pem" $HTTPS/file)"
    expect_status "$2: not by the one before" 60 ask --cacert "$T/$other.pem" $HTTPS/file >"$T/out"
}

mkdir "$T/conf" "$T/ca"
cp "$T/ca.pem" "$T/roots.pem"
swap_ca first
fill_ca "$T/plain" second
config "ca: $T/ca"
/usr/bin/python3 - "$T/notify" >"$T/notes" <<'PY' &
import socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
while True:
    print(manager.recv(4096).decode().replace("\n", " "), flush=True)
PY
PIDS+=("$!")
wait_for 10 test -S "$T/notify"
# of the machine's roots only the bundles: they are read anew each time
background "${CLEAN[@]}" NOTIFY_SOCKET="$T/notify" SSL_CERT_DIR="$T/none" "$SALLYPORT" run --config "$T/conf/sallyport.yaml" 2>"$T/agent.err"
AGENT=$!
wait_for 30 grep -qx 'READY=1 STATUS=Ready' "$T/notes"
mkdir -m 755 "$T/open"
expect_status "a directory that others may enter" 1 sallyport run --config "$T/conf/sallyport.yaml" --runtime-dir "$T/open" 2>"$T/second.err"
expect_grep "a directory that others may enter" "^sallyport: $T/open has mode 0755 and owner 0: nobody but us" "$T/second.err"
expect_status "a second agent" 1 sallyport run --config "$T/conf/sallyport.yaml" 2>"$T/second.err"
expect_grep "a second agent" "^sallyport: an agent runs already \(pid $AGENT\)" "$T/second.err"
sallyport pods add --runtime-dir "$T/run" --cgroup "$CGROUP/pod" --netns "/run/netns/$POD" --name test/pod
signs first "at the start"

# ---- meanwhile: one connection that stays, and one after another that does not -----------------------

sallyport ca init --ca "$T/own" >"$T/out"
sallyport ca bundle --ca "$T/own" >"$T/own.pem"
# trust NAME...: what the two clients trust from now on.
trust() {
    (cd "$T" && cat "${@/%/.pem}") >"$T/.trusted.pem"
    mv "$T/.trusted.pem" "$T/trusted.pem"
}
trust first second own
# shellcheck disable=SC2016 # the inner shells'
KEPT='exec stdbuf -oL curl -sS -m 120 --rate 20/s --cacert "$2" -o /dev/null -w "%{http_code} %{num_connects}\n" "$1/file?[1-100000]"'
# shellcheck disable=SC2016
FRESH='while [ ! -e "$3" ]; do curl -sS -m 10 --cacert "$2" -o /dev/null -w "%{http_code}\n" "$1/file" || echo "failed: $?"; sleep 0.1; done'
background "${AS_POD[@]}" sh -c "$KEPT" sh $HTTPS "$T/trusted.pem" >"$T/kept" 2>"$T/kept.err"
KEPT_PID=$!
background "${AS_POD[@]}" sh -c "$FRESH" sh $HTTPS "$T/trusted.pem" "$T/enough" >"$T/fresh" 2>"$T/fresh.err"
FRESH_PID=$!
wait_for 10 grep -q 200 "$T/kept"
wait_for 10 grep -q 200 "$T/fresh"

# ---- what is taken up --------------------------------------------------------------------------------

kill -HUP "$AGENT"
reloaded
wait_for 5 grep -qE '^RELOADING=1 MONOTONIC_USEC=[0-9]+$' "$T/notes"
ready_again() { [ "$(grep -cx 'READY=1 STATUS=Ready' "$T/notes")" -ge 2 ]; }
wait_for 5 ready_again
signs first "after a SIGHUP with nothing new"

config "ca: $T/plain" '# renamed over'
reloaded
signs second "the configuration renamed over"

config "ca: $T/ca" 'ports: [443, 8443]'
reloaded
signs first "and back"
swap_ca second
reloaded
signs second "..data swapped"

expect_status "a server that nobody vouches for" 35 ask --cacert "$T/second.pem" $HTTPS:8443/file >"$T/out"
cat "$T/ca.pem" "$T/other.pem" >"$T/.roots.pem"
mv "$T/.roots.pem" "$T/roots.pem"
reloaded
expect_eq "once its root is trusted" 200 "$(ask --cacert "$T/second.pem" $HTTPS:8443/file)"

mkdir "$T/conf.new"
sed "s,^ca:.*,ca: $T/plain," "$T/conf/sallyport.yaml" >"$T/conf.new/sallyport.yaml"
fill_ca "$T/plain.new" first
mv "$T/plain" "$T/plain.old"
mv "$T/plain.new" "$T/plain"
mv "$T/conf" "$T/conf.old"
mv "$T/conf.new" "$T/conf"
reloaded
signs first "both directories replaced"
echo "ok: what is taken up"

# ---- what is broken ----------------------------------------------------------------------------------

echo 'upstreamCA: x' >>"$T/conf/sallyport.yaml"
refused "an unknown key" "^$T/conf/sallyport.yaml:9:1: error: there is no key 'upstreamCA'; did you mean 'upstreamCa'\?$"
expect_lines "with its line" "$T/agent.err" "'upstreamCA'; did you mean" '^    upstreamCA: x$' '^    \^$'
status() { sallyport status --runtime-dir "$T/run"; }
expect_grep "the status says so" "conf/sallyport.yaml:9:1: error: there is no key 'upstreamCA'" <(status)
wait_for 5 grep -qE '^READY=1 STATUS=Ready, with what was read before: .*:9:1: error' "$T/notes"
config "ca: $T/plain" 'workers: 7'
refused "what cannot change" "sallyport.yaml:8:1: error: workers was otherwise when the agent started"
config "ca: [$T/plain"
refused "no YAML" "sallyport.yaml:8:1: error: this is no YAML"
config "ca: $T/nowhere"
refused "a CA that is not there" "nothing was changed: .*$T/nowhere"
: >"$T/conf/.empty"
mv "$T/conf/.empty" "$T/conf/sallyport.yaml"
refused "an empty file" "sallyport.yaml: error: is empty"
rm "$T/conf/sallyport.yaml"
refused "no file" "cannot read $T/conf/sallyport.yaml: No such file"
mkdir "$T/conf/sallyport.yaml"
refused "a directory" "sallyport.yaml is not a regular file"
rmdir "$T/conf/sallyport.yaml"
wait_for 10 enough $((++failures)) '^sallyport: nothing was changed'
config "ca: $T/ca"
reloaded
signs second "mended"
swap_ca first second
refused "a key that is another's" "$T/ca/tls.key is not the key of"
signs second "with a key that is another's"
: >"$T/.roots.pem"
mv "$T/.roots.pem" "$T/roots.pem"
wait_for 10 enough $((++failures)) '^sallyport: nothing was changed'
swap_ca first
refused "roots that are none" "nothing was changed: .*$T/roots.pem"
cp "$T/ca.pem" "$T/roots.pem"
reloaded
signs first "mended again"
expect_grep "the status counts, and has forgotten why" "^reloads +done $reloads, failed $failures, last [^,]*\$" <(status)
echo "ok: what is broken"

# ---- a CA whose time comes ---------------------------------------------------------------------------

config "ca: $T/own"
reloaded
sallyport ca rotate --ca "$T/own" --overlap 3s >"$T/out"
sallyport ca bundle --ca "$T/own" >"$T/bundle.pem"
trust bundle
reloaded
expect_eq "published: the one before signs" 200 "$(ask --cacert "$T/own.pem" $HTTPS/file)"
expect_eq "published: by the bundle" 200 "$(ask --cacert "$T/bundle.pem" $HTTPS/file)"
reloaded
expect_eq "its time came" 200 "$(ask --cacert "$T/bundle.pem" $HTTPS/file)"
expect_status "the one before signs no more" 60 ask --cacert "$T/own.pem" $HTTPS/file >"$T/out"
echo "ok: a CA whose time comes"

# ---- a server that is left alone ---------------------------------------------------------------------

trust bundle ca
config "ca: $T/own" 'passthrough: [203.0.113.0/28]'
reloaded
expect_eq "left alone" 200 "$(ask --cacert "$T/ca.pem" $HTTPS/file)"
config "ca: $T/own" 'passthrough: [a..b]'
refused "what is no name" "sallyport.yaml:8:.*passthrough.*'a..b' is no name; say one such as"
expect_eq "left alone still" 200 "$(ask --cacert "$T/ca.pem" $HTTPS/file)"
config "ca: $T/own"
reloaded
expect_eq "no more" 200 "$(ask --cacert "$T/bundle.pem" $HTTPS/file)"
echo "ok: a server that is left alone"

# ---- and all the while -------------------------------------------------------------------------------

touch "$T/enough"
wait "$FRESH_PID"
kill "$KEPT_PID"
wait "$KEPT_PID" || true
requests=$(grep -c '^200' "$T/kept")
handshakes=$(grep -c '^200' "$T/fresh")
[ "$requests" -ge 100 ] || fail "only $requests requests over the connection that stays"
[ "$handshakes" -ge 30 ] || fail "only $handshakes handshakes"
expect_eq "connections for the requests" 1 "$(awk '{ all += $2 } END { print all }' "$T/kept")"
expect_no_grep "over the connection that stays" '^[^2]' "$T/kept"
expect_no_grep "handshakes" '^[^2]' "$T/fresh"
kill -TERM "$AGENT"
status=0
wait "$AGENT" || status=$?
AGENT=''
expect_eq "exit status of the agent" 0 "$status"
wait_for 5 grep -q '^STOPPING=1' "$T/notes"
expect_all_seq
echo "ok: $requests requests over one connection, $handshakes handshakes, $reloads reloads, $failures refused"
