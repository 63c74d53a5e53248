# lib: what the scripts in tests/netns and tests/vm share. Source it first.
#
# Gives a temporary directory ($T), real origins (nginx, openssl s_server), assertions, what
# deploy/internet.sh has (a private CA, namespaces joined by veth, a DNS server), and takes everything
# down at the end, by pid and by name of what it made. $SALLYPORT is the program under test. Exit
# status 77 means skipped.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that only the scripts use

set -Eeuo pipefail
shopt -s inherit_errexit

exec 9>&2 # a failure is told there, wherever the command that failed has sent its own stderr
fail() { echo "FAIL: $*" >&9; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }

[ "$(id -u)" = 0 ] || fail "${0##*/} must run as root"
SALLYPORT=$(realpath -e "${SALLYPORT:?the program under test: SALLYPORT=build/dev/sallyport $0}")
HERE=$(dirname "$(realpath "$0")")
FULL=${SALLYPORT_FULL:-}

# Others may enter but not list it: commands under --user read what they are told of.
T=$(mktemp -d "${TMPDIR:-/tmp}/sallyport-test.XXXXXX")
chmod 711 "$T"
EVENTS=$T/events
# What Go has compiled (net/http takes long) is there for the next script, if there is a place for it.
GO_CACHE=$(realpath -m "$HERE/../../build/cache/go")
[ -w "${GO_CACHE%/*}" ] || GO_CACHE=$T/go-cache
INTERNET=sallyport-test
# shellcheck source=../../deploy/internet.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/internet.sh"
export STATE_DIRECTORY=$T/state # where an agent makes its CA when nobody says
CLEAN+=("STATE_DIRECTORY=$STATE_DIRECTORY" "SALLYPORT_SLOW=${SALLYPORT_SLOW:-1}")

# shellcheck disable=SC2317 # called by the trap
tear_down() {
    local status=$?
    trap - EXIT ERR
    set +e
    exec 2>&9
    if [ "$status" != 0 ] && [ "$status" != 77 ]; then
        for log in "$EVENTS" "$T"/*.err "$T"/nginx.log; do
            [ -s "$log" ] || continue
            echo "--- end of ${log##*/}:" # without who did it, which is most of a JSON line
            tail -n 12 "$log" | sed -E 's/"process":.*"process_credentials":[^}]*[}]+,?//' | cut -c 1-400
        done >&9
    fi
    if [ -n "${SYSTEMD:-}" ]; then systemd_down; fi
    internet_down
    rm -rf "$T"
    exit "$status"
}
trap tear_down EXIT
trap 'echo "FAIL: ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&9' ERR
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- assertions -------------------------------------------------------------

expect_eq() { # what, wanted, got
    [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
}

expect_grep() { # what, extended regular expression, file
    grep -qE -e "$2" "$3" || { head -n 40 "$3" >&9; fail "$1: nothing in ${3##*/} matches '$2'"; }
}

expect_no_grep() { # what, extended regular expression, file
    if grep -E -e "$2" "$3" >&9; then fail "$1: a line in ${3##*/} matches '$2'"; fi
}

expect_same() { # what, file, file it must be equal to
    cmp "$2" "$3" || fail "$1 came changed"
}

# expect_lines WHAT FILE REGEX...: each matches a line of its own, in this order.
expect_lines() {
    local what=$1 file=$2 lines at=0 regex
    shift 2
    mapfile -t lines <"$file"
    for regex in "$@"; do
        until [[ ${lines[at]:-} =~ $regex ]]; do
            at=$((at + 1))
            [ "$at" -lt ${#lines[@]} ] || { cat "$file" >&9; fail "$what: no line, in its place, matches '$regex'"; }
        done
        at=$((at + 1))
    done
}

# expect_status WHAT WANTED CMD...
expect_status() {
    local what=$1 wanted=$2 got=0
    shift 2
    "$@" || got=$?
    expect_eq "exit status of $what" "$wanted" "$got"
}

# alive PID: it runs (a zombie that nobody has waited for yet does not).
alive() { grep -qs '^State:[^Z]*$' "/proc/$1/status"; }
dead() { ! alive "$1"; }

# ---- running things ---------------------------------------------------------

clean() { "${CLEAN[@]}" "$@"; }

# `sallyport exec` as most tests want it: loopback, all ports, our CA, events as JSON in $EVENTS.
EXEC_LOCAL=("${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS" --loopback --ports all
            --upstream-ca "$T/ca.pem")
sallyport() { clean "$SALLYPORT" "$@"; }
exec_local() { "${EXEC_LOCAL[@]}" "$@"; }

# events FILTER: a jq filter over the array of all events in $EVENTS. (With -s, jq 1.6 takes five times
# as long for 20,000 of them.)
events() { jq -n -r "[inputs] | $1" "$EVENTS"; }

# "seq counts per sink without a gap": from 1 to the number of lines.
expect_all_seq() {
    expect_eq "seq without a gap" true \
        "$(jq -n '[inputs.seq | tonumber] | . == [range(1; length + 1)]' "$EVENTS")"
}

ORIGIN_SAN=DNS:localhost,DNS:origin.test,IP:127.0.0.1,IP:::1,IP:203.0.113.10,IP:2001:db8:2::10

# make_client NAME CA BASIC: a client's certificate (CA:FALSE), or a CA between (CA:TRUE).
make_client() {
    {
        openssl req -config "$T/openssl.cnf" -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -keyout "$T/$1.key" -out "$T/$1.csr" -subj "/CN=client $1" &&
        openssl x509 -req -in "$T/$1.csr" -CA "$T/$2.pem" -CAkey "$T/$2.key" -CAcreateserial -days 20 \
            -out "$T/$1.pem" -extfile - <<<"basicConstraints=critical,$3"
    } 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
}

# ---- origins ----------------------------------------------------------------

# free_ports N: that many TCP ports nobody uses now, on one line; none that the kernel gives to whoever
# connects meanwhile.
free_ports() {
    /usr/bin/python3 - "$1" <<'PY'
import random, socket, sys
with open("/proc/sys/net/ipv4/ip_local_port_range") as given:
    first = int(given.read().split()[0])
sockets = []
while len(sockets) < int(sys.argv[1]):
    sockets.append(socket.socket(socket.AF_INET6))
    try:
        sockets[-1].bind(("::", random.randrange(10000, first) if first > 20000 else 0))
    except OSError:
        sockets.pop()
print(*(s.getsockname()[1] for s in sockets))
PY
}

# listening ADDRESS PORT: somebody accepts there (in this namespace).
listening() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# nginx_server PORT [CERT [DIRECTIVES]]: one more server for start_nginx, with TLS if CERT is named, and
# with HTTP/2 if NGINX_SPEAKS is that (http2; in the clear it speaks nothing else then).
NGINX_SERVERS=''
NGINX_PORTS=()
NGINX_LISTEN=(127.0.0.1 '[::1]')
nginx_server() {
    local address tls=''
    NGINX_PORTS+=("$1")
    NGINX_SERVERS+="server {"
    [ -z "${2:-}" ] || tls=' ssl'
    for address in "${NGINX_LISTEN[@]}"; do NGINX_SERVERS+=" listen $address:$1$tls ${NGINX_SPEAKS:-};"; done
    [ -z "${2:-}" ] || NGINX_SERVERS+=" ssl_certificate $T/$2.pem; ssl_certificate_key $T/$2.key;"
    NGINX_SERVERS+=" ${3:-} include $T/locations; }"$'\n'
}

# What nginx_server asked for, as $T/nginx.conf.
nginx_conf() {
    mkdir -p "$T/www" "$T/put" "$T/nginx.tmp"
    cat >"$T/locations" <<CONF
        root $T/www;
        location /chunked/ { ssi on; ssi_types *; alias $T/www/; }
        location /204 { return 204; }
        location /put/ { alias $T/put/; dav_methods PUT; client_max_body_size 1g; }
        location /post/ { client_max_body_size 1g; proxy_method PUT; proxy_pass http://unix:$T/put.sock:/; }
CONF
    cat >"$T/nginx.conf" <<CONF
user root; worker_processes 2; daemon off; pid $T/nginx.pid; error_log $T/nginx.log;
worker_rlimit_nofile 20000; events { worker_connections ${NGINX_CONNECTIONS:-2048}; }
http {
    default_type application/octet-stream; sendfile on; keepalive_requests 100000; keepalive_timeout 1h;
    client_body_temp_path $T/nginx.tmp/body; proxy_temp_path $T/nginx.tmp/proxy;
    fastcgi_temp_path $T/nginx.tmp/fastcgi; uwsgi_temp_path $T/nginx.tmp/uwsgi;
    scgi_temp_path $T/nginx.tmp/scgi;
    ssl_protocols TLSv1.2 TLSv1.3;
    log_format all escape=json '\$server_port \$request \$status length=\$request_length '
        'host=\$http_host agent=\$http_user_agent accept=\$http_accept from=\$remote_addr '
        'sni=\$ssl_server_name \$ssl_protocol added=\$http_via\$http_x_forwarded_for\$http_forwarded reused=\$ssl_session_reused';
    access_log $T/access all;
$NGINX_SERVERS
    server { listen unix:$T/put.sock; access_log off; client_max_body_size 1g;
             location / { alias $T/put/; dav_methods PUT; } }
}
CONF
    : >"$T/access"
}
# start_nginx [PROGRAM ARGS...]: nginx with what nginx_server asked for, started by PROGRAM (nsenter).
# It serves $T/www, logs to $T/access what it saw of each request, and stores what is put into /put
# (or posted to /post) in $T/put.
start_nginx() {
    nginx_conf
    background "${CLEAN[@]}" "$@" nginx -c "$T/nginx.conf" -e "$T/nginx.log"
    local port
    for port in "${NGINX_PORTS[@]}"; do
        wait_for 20 clean "$@" bash -c "exec 3<>/dev/tcp/${NGINX_LISTEN[0]}/$port"
    done
}

# start_s_server PORT CERT OPTIONS...: openssl s_server on [::1] with the responder's stdin from the
# pipe $T/s_server.PORT.in and what the client sent in $T/s_server.PORT.out.
start_s_server() {
    local port=$1 cert=$2 pipe=$T/s_server.$1.in
    shift 2
    mkfifo "$pipe"
    background "${CLEAN[@]}" openssl s_server -accept "[::1]:$port" -cert "$T/$cert.pem" -key "$T/$cert.key" \
        "$@" <>"$pipe" >>"$T/s_server.$port.out" 2>"$T/s_server.$port.err"
    wait_for 20 grep -q ":$(printf %04X "$port") 0*:0000 0A" /proc/net/tcp6
}

# ---- what is left behind ----------------------------------------------------

cgroup2() { awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts; }

# Everything an instance could leave, one thing a line. systemd's own programs (sd_...) come and
# go as they like.
leftovers() {
    find "$(cgroup2)" -type d -name '*sallyport*' -printf 'cgroup %p\n' || true
    find /run/sallyport -printf 'file %p\n' 2>/dev/null || true
    find /sys/fs/bpf -name '*sallyport*' -printf 'pin %p\n' 2>/dev/null || true
    find "${TMPDIR:-/tmp}" /dev/shm -maxdepth 1 -name '*sallyport*' ! -name 'sallyport-test.*' \
        ! -name 'sallyport-vm.*' -printf 'file %p\n'
    awk '{ print "mount", $5, $9 }' /proc/self/mountinfo
    bpftool -j prog list | jq -r '.[] | select(.name // "" | startswith("sd_") | not) | "program \(.id) \(.name)"'
    bpftool -j link list | jq -r '.[] | "link \(.id) \(.type)"'
    bpftool -j map list | jq -r '.[] | select(.name // "" | startswith("sd_") | not) | "map \(.id) \(.name)"'
    ip -o link | awk '{ print "device", $2 }'
    ip netns list | awk '{ print "namespace", $1 }'
    find /proc -maxdepth 2 -name exe -lname "$SALLYPORT" -printf 'process %p\n' 2>/dev/null || true
}

# note_leftovers FILE: what is there before a test. What an earlier one had is freed, and its keeper ends,
# a moment after its end: so until two looks see the same.
# shellcheck disable=SC2317 # called by wait_for
settled() { leftovers >"$1" && sleep 0.3 && leftovers | cmp -s - "$1"; }
note_leftovers() { wait_for 20 settled "$1"; }

# expect_leftovers FILE: the same as when `note_leftovers FILE` was called. The kernel frees programs and
# cgroups a moment after their last user is gone.
expect_leftovers() {
    local _
    for _ in {1..50}; do
        leftovers >"$T/leftovers.now"
        cmp -s "$1" "$T/leftovers.now" && return
        sleep 0.1
    done
    diff "$1" "$T/leftovers.now" >&9
    fail "something was left behind (lines with >) or taken away (<)"
}
