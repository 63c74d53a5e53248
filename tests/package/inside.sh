#!/usr/bin/env bash
# inside: what package.sh proves of an installed package, run in a systemd of its own, where the
# package of two versions lies in /run.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

unset STATE_DIRECTORY # what is installed keeps its state where it does
mapfile -t debs < <(printf '%s\n' /run/sallyport_*.deb | sort -V)
main_pid() { systemctl show -p MainPID --value sallyport.service; }
is_active() { systemctl --quiet is-active sallyport.service; }

# shellcheck disable=SC2317 # called by the trap
inside_down() {
    local status=$?
    trap - ERR
    set +e
    journalctl --no-pager -o short-precise -u sallyport.service | grep -v "[🌐🔌🧹🔐]" >"$T/journal.err"
    (exit "$status")
    tear_down
}
trap inside_down EXIT

# ---- installed --------------------------------------------------------------

dpkg -i "${debs[0]}" >"$T/dpkg.err" 2>&1 || fail "dpkg -i: $(tail -n 3 "$T/dpkg.err")"
is_active || fail "the agent is not active after installing"
systemctl --quiet is-enabled sallyport.service || fail "the service is not enabled"
systemd-analyze verify sallyport.service 2>"$T/verify.err" || fail "systemd-analyze verify: $(cat "$T/verify.err")"
expect_no_grep "systemd-analyze verify" . "$T/verify.err"
systemd-analyze security --no-pager --threshold=35 sallyport.service >"$T/security" ||
    fail "the service is exposed: $(tail -n 1 "$T/security")"
echo "systemd-analyze security: $(grep -o 'exposure level .*' "$T/security")"
/usr/sbin/sallyport status >"$T/status" || fail "sallyport status"
expect_eq "the CA's key is private" 600 "$(stat -Lc %a /var/lib/sallyport/ca/tls.key)"
sallyport=/usr/sbin/sallyport

# ---- a pod, and clients that must notice nothing ----------------------------

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
start_nginx "${IN_UPSTREAM[@]}"
head -c 10000 /dev/urandom >"$T/www/file"
cp "$T/ca.pem" /etc/sallyport/upstream.pem
echo "upstreamCa: /etc/sallyport/upstream.pem" >>/etc/sallyport/sallyport.yaml
systemctl reload sallyport.service

pod=/sys/fs/cgroup/shop-cart
mkdir $pod
$sallyport pods add --cgroup $pod --netns "/run/netns/$POD" --name shop/cart --label app=cart
$sallyport ca bundle >"$T/bundle.pem"
in_pod() { # shellcheck disable=SC2016
    "${IN_POD[@]}" bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' $pod "$@"
}
# the reload is under way when systemctl returns
wait_for 20 in_pod curl -sS --cacert "$T/bundle.pem" https://203.0.113.10/file -o "$T/got"
expect_same "a file through the agent" "$T/got" "$T/www/file"

mkfifo "$T/stop"
in_pod /usr/bin/python3 "$HERE/../harness/load.py" 203.0.113.10 443 /file "$T/bundle.pem" 2 2 1 \
    <"$T/stop" >"$T/load" &
load=$!
PIDS+=("$load")
exec 7>"$T/stop"
served() { [ "$(wc -l <"$T/access")" -gt "$1" ]; }
more() { wait_for 30 served $(($(wc -l <"$T/access") + 50)); }
more

# ---- upgraded, reloaded, restarted ------------------------------------------

before=$(main_pid)
dpkg -i "${debs[1]}" >"$T/dpkg.err" 2>&1 || fail "dpkg -i: $(tail -n 3 "$T/dpkg.err")"
[ "$(main_pid)" != "$before" ] || fail "the agent was not replaced when it was upgraded"
is_active || fail "the agent is not active after the upgrade"
more
systemctl reload sallyport.service
more
systemctl restart sallyport.service
is_active || fail "the agent is not active after a restart"
more
exec 7>&-
wait "$load"
cat "$T/load"
expect_eq "failures under reload, upgrade and restart" 0 "$(jq .failed "$T/load")"
expect_eq "pods after all that" shop/cart "$($sallyport pods list -o json | jq -r '.namespace + "/" + .name')"

# ---- all killed ------------------------------------------------------------

stored() { systemctl show -p NFileDescriptorStore --value sallyport.service; }
stored_is() { [ "$(stored)" = "$1" ]; }
parts=$(stored) # of one namespace, several times over
[ "$parts" -ge 11 ] || fail "systemd keeps $parts descriptors"
: >"$T/go"
for i in 1 2 3 4; do
    # shellcheck disable=SC2016
    in_pod bash -c 'while [ -e "$1" ]; do "${@:2}"; echo $?; done' - "$T/go" curl -s -o /dev/null \
        --connect-timeout 20 -m 20 --cacert "$T/bundle.pem" https://203.0.113.10/file >"$T/codes.$i" &
    PIDS+=($!)
done
more
for _ in 1 2 3; do
    mapfile -t killed </sys/fs/cgroup/system.slice/sallyport.service/cgroup.procs
    [ ${#killed[@]} = 2 ] || fail "agent and keeper: ${killed[*]}"
    systemctl kill --kill-who=all -s KILL sallyport.service
    for pid in "${killed[@]}"; do wait_for 10 dead "$pid"; done
    wait_for 20 is_active
    more
done
rm "$T/go"
wait "${PIDS[@]: -4}"
sort "$T"/codes.? | uniq -c | awk '{ print "curl\047s exit code " $2 ": " $1 }'
expect_eq "connects refused while all were killed" 0 "$(cat "$T"/codes.? | grep -cxE '7|28' || true)"
expect_eq "what systemd keeps" "$parts" "$(stored)"
$sallyport pods remove shop/cart
wait_for 10 stored_is 0
$sallyport pods add --cgroup $pod --netns "/run/netns/$POD" --name shop/cart
wait_for 10 stored_is "$parts"

# ---- removed, purged --------------------------------------------------------

dpkg -r sallyport >"$T/dpkg.err" 2>&1 || fail "dpkg -r: $(tail -n 3 "$T/dpkg.err")"
expect_eq "processes after removal" '' "$(pgrep -x sallyport || pgrep -x keeper || true)"
in_pod curl -sS --cacert "$T/ca.pem" https://203.0.113.10/file -o "$T/got"
expect_same "a file past the removed agent" "$T/got" "$T/www/file"
[ -e /var/lib/sallyport ] || fail "removing took the CA, too"
dpkg -P sallyport >"$T/dpkg.err" 2>&1 || fail "dpkg -P: $(tail -n 3 "$T/dpkg.err")"
for path in /etc/sallyport /var/lib/sallyport /run/sallyport /sys/fs/bpf/sallyport \
    /usr/sbin/sallyport /lib/systemd/system/sallyport.service; do
    [ ! -e $path ] || fail "purging left $path"
done
rmdir $pod
