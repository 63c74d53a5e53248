#!/usr/bin/env bash
# Promise: a running agent makes its CA where there is none, and follows it: while `ca rotate` publishes
# and changes who signs, a pod that trusts `ca bundle` as of the overlap never fails, and a connection
# that is open goes on; a client certificate that is renewed, in a volume of its own, is the one shown
# next. The agent's pods trust one bundle: whatever files of the node's trust a server, its CA signs.
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
    ! mountpoint -q "$T/run/bpf" || umount -l "$T/run/bpf"
    (exit "$status")
    tear_down
}
trap remove_cgroup EXIT
mkdir -p "$CGROUP/pod"

make_ca ca
make_ca clients
make_cert origin ca "$ORIGIN_SAN"
make_client one clients CA:FALSE
make_client two clients CA:FALSE
read -r port asks <<<"$(free_ports 2)"
nginx_server "$port" origin
nginx_server "$asks" origin "ssl_client_certificate $T/clients.pem; ssl_verify_client optional_no_ca;
    location /who { return 200 \"\$ssl_client_s_dn\"; }"
start_nginx
echo hello >"$T/www/file"

put() { # NUMBER CERT: another set of files in the volume of localhost's certificate
    local dir=$T/certs/localhost
    mkdir -p "$dir/..$1"
    cp "$T/$2.pem" "$dir/..$1/tls.crt"
    install -m 600 "$T/$2.key" "$dir/..$1/tls.key"
    ln -s "..$1" "$dir/..tmp"
    mv -T "$dir/..tmp" "$dir/..data"
    ln -sf ..data/tls.crt ..data/tls.key "$dir/"
}
put 1 one

# one file of the node's trusts the origins: no reason to sign as nobody's authority but the CA
background "${CLEAN[@]}" SSL_CERT_FILE="$T/ca.pem" "$SALLYPORT" run --runtime-dir "$T/run" \
    --cgroup-root "$CGROUP" -o json --events-file "$EVENTS" --client-certificates "$T/certs" --loopback \
    --ports all --admin-address '' 2>"$T/agent.err"
AGENT=$!
wait_for 30 sallyport pods add --runtime-dir "$T/run" --cgroup "$CGROUP/pod" \
    --netns /proc/self/ns/net --name test/pod >"$T/out" 2>&1
expect_status "the CA it made" 0 test -s "$STATE_DIRECTORY/ca/tls.crt"

in_pod() { clean sh -ec 'echo 0 >"$0/cgroup.procs"; exec "$@"' "$CGROUP/pod" "$@"; }
fetch() { in_pod curl -sS -m 10 --cacert "$T/bundle.pem" "$@"; }
ca() { sallyport ca "$@"; }
current() { ca show -o json | jq -r '.authorities[] | select(.state == "current") | .subject'; }
issuer() {
    in_pod openssl s_client -connect "localhost:$port" -servername localhost </dev/null 2>"$T/client.err" |
        openssl x509 -noout -issuer -nameopt RFC2253 | sed 's/^issuer=//'
}

first=$(current)
expect_eq "who signs at the start" "$first" "$(issuer)"
ca bundle >"$T/bundle.pem"
expect_eq "by the bundle" hello "$(fetch "https://localhost:$port/file")"
# shellcheck disable=SC2016 # the inner shell's
{ in_pod sh -c 'exec stdbuf -oL curl -sS -m 120 --rate 20/s --cacert "$1" -o /dev/null -w "%{http_code} %{num_connects}\n" "$2/file?[1-100000]"' \
    sh "$T/bundle.pem" "https://localhost:$port" >"$T/kept" 2>"$T/kept.err" || true; } &
KEPT=$!
PIDS+=("$KEPT")
wait_for 10 grep -q 200 "$T/kept"

ca rotate --overlap 5s >"$T/out"
ca bundle >"$T/bundle.pem" # what pods take up during the overlap
# shellcheck disable=SC2016
in_pod sh -c 'while [ ! -e "$3" ]; do curl -sS -m 10 --cacert "$1" -o /dev/null -w "%{http_code}\n" "$2/file" || echo "failed: $?"; done' \
    sh "$T/bundle.pem" "https://localhost:$port" "$T/enough" >"$T/fresh" 2>"$T/fresh.err" &
FRESH=$!
PIDS+=("$FRESH")
expect_eq "who signs during the overlap" "$first" "$(issuer)"
changed() { second=$(issuer) && [ -n "$second" ] && [ "$second" != "$first" ]; }
wait_for 20 changed
expect_eq "who signs after it" "$(current)" "$second"
before=$(wc -l <"$T/fresh")
more() { [ "$(wc -l <"$T/fresh")" -gt "$before" ]; }
wait_for 10 more
touch "$T/enough"
wait "$FRESH"
expect_no_grep "connections during the rotation" '^(failed|[^2])' "$T/fresh"
echo "ok: followed, $(wc -l <"$T/fresh") connections, none failed"

ca rotate --now >"$T/out" # nobody has waited for the pods
at_once() { [ "$(issuer)" = "$(current)" ]; }
wait_for 10 at_once
alive "$KEPT" || fail "the connection that was open has ended"
before=$(wc -l <"$T/kept")
on() { [ "$(wc -l <"$T/kept")" -gt "$before" ]; }
wait_for 5 on
expect_eq "connects of the one that was open" 1 "$(awk '{ n += $2 } END { print n }' "$T/kept")"
echo "ok: followed at once; the open connection went on"

ca bundle >"$T/bundle.pem"
expect_eq "the client certificate" "CN=client one" "$(fetch "https://localhost:$asks/who")"
put 2 two
renewed() { [ "$(fetch "https://localhost:$asks/who")" = "CN=client two" ]; }
wait_for 10 renewed
echo "ok: a renewed client certificate"
