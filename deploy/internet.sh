# internet: a little internet in network namespaces, for deploy/demo and the tests. Source it.
#
#   pod        192.0.2.2, 2001:db8:1::2; where the command runs, with a resolv.conf of its own
#   upstream   its router, 192.0.2.1, 2001:db8:1::1; there live servers, at 203.0.113.10 and
#              2001:db8:2::10, and a DNS server, at 203.0.113.53 and 2001:db8:2::53
#
# Who sources it has a function `fail`, has set $T, the directory for what is made, and $INTERNET, how
# the namespaces' names begin; and calls internet_down at the end, which ends what was started by pid.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that only the scripts use

PIDS=()
NAMESPACES=()

# Machines export SSL_CERT_FILE, http_proxy and the like: nothing of that reaches a server or client.
CLEAN=(env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$T"
       TERM=dumb LC_ALL=C)

# background PROGRAM ARGS...: its pid is $! and is ended at the end. No function: that would run in
# a shell of its own, whose pid says nothing about the program.
background() {
    [ "$(type -t "$1")" != function ] || fail "background: $1 is a function"
    "$@" <&0 & # else bash gives it /dev/null
    PIDS+=("$!")
}

# wait_for SECONDS CMD...: until the command succeeds; its failure at the end is ours. On a machine that is
# known to be slow, SALLYPORT_SLOW times as long.
wait_for() {
    local seconds=$(($1 * ${SALLYPORT_SLOW:-1})) pause=0.05 deadline
    deadline=$((SECONDS + seconds))
    [ -z "${SALLYPORT_SLOW:-}" ] || pause=0.5 # who asks again and again keeps it from getting there
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -le $deadline ] || fail "not within $seconds s: $*"
        sleep $pause
    done
}

internet_down() {
    local pid ns
    for pid in "${PIDS[@]}"; do kill -CONT "$pid"; kill -TERM "$pid"; done 2>/dev/null
    for pid in "${PIDS[@]}"; do
        for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
        kill -KILL "$pid" 2>/dev/null
    done
    wait
    for ns in "${NAMESPACES[@]}"; do
        for pid in $(ip netns pids "$ns"); do kill -KILL "$pid"; done
        ip netns del "$ns"
    done
}

# ---- certificates -----------------------------------------------------------

# make_ca NAME: $T/NAME.pem and $T/NAME.key.
make_ca() {
    printf '[req]\ndistinguished_name=dn\n[dn]\n' >"$T/openssl.cnf"
    openssl req -config "$T/openssl.cnf" -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$T/$1.key" -out "$T/$1.pem" -days 30 -subj "/CN=test $1" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -addext subjectKeyIdentifier=hash 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
}

# make_cert NAME CA SAN [DAYS]: $T/NAME.pem and $T/NAME.key, signed by CA ("self": by itself).
# Negative DAYS make an expired one.
make_cert() {
    local signer=(-CA "$T/$2.pem" -CAkey "$T/$2.key" -CAcreateserial)
    [ "$2" != self ] || signer=(-signkey "$T/$1.key")
    {
        openssl req -config "$T/openssl.cnf" -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
            -keyout "$T/$1.key" -out "$T/$1.csr" -subj "/CN=test $1" &&
        openssl x509 -req -in "$T/$1.csr" "${signer[@]}" -days "${4:-20}" -out "$T/$1.pem" -extfile - <<EXT
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectAltName=$3
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
EXT
    } 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
}

# ---- namespaces -------------------------------------------------------------

POD=$INTERNET-$$-pod
UPSTREAM=$INTERNET-$$-up

# `ip netns exec` would hide cgroup v2, which sallyport needs.
IN_POD=(nsenter --net="/run/netns/$POD")
IN_UPSTREAM=(nsenter --net="/run/netns/$UPSTREAM")

# Names are asked of start_dnsmasq's server alone: over the machine's resolv.conf and nsswitch.conf,
# which may send libc to a daemon of the machine (as nscd's socket would), lie ours, in a mount
# namespace that goes with the command.
OWN_DNS=(unshare --mount sh -ec '
    for file in resolv.conf nsswitch.conf; do
        [ ! -e /etc/$file ] || mount --bind "$0/$file" /etc/$file
    done
    [ ! -d /run/nscd ] || mount -t tmpfs none /run/nscd
    exec "$@"' "$T")
IN_POD_DNS=("${IN_POD[@]}" "${OWN_DNS[@]}")

make_namespaces() {
    local ns address
    for ns in "$POD" "$UPSTREAM"; do
        ip netns add "$ns"
        NAMESPACES+=("$ns")
        ip -n "$ns" link set lo up
    done
    ip link add eth0 netns "$POD" type veth peer name eth0 netns "$UPSTREAM"
    ip -n "$POD" address add 192.0.2.2/24 dev eth0
    ip -n "$POD" address add 2001:db8:1::2/64 dev eth0 nodad
    ip -n "$UPSTREAM" address add 192.0.2.1/24 dev eth0
    ip -n "$UPSTREAM" address add 2001:db8:1::1/64 dev eth0 nodad
    for address in 203.0.113.10/32 203.0.113.53/32; do
        ip -n "$UPSTREAM" address add $address dev lo
    done
    for address in 2001:db8:2::10/128 2001:db8:2::53/128; do
        ip -n "$UPSTREAM" address add $address dev lo nodad
    done
    ip -n "$POD" link set eth0 up
    ip -n "$UPSTREAM" link set eth0 up
    ip -n "$POD" route add default via 192.0.2.1
    ip -n "$POD" route add default via 2001:db8:1::1
    wait_for 10 "${IN_POD[@]}" bash -c '! ip -6 address show dev eth0 tentative | grep -q inet6'
}

# ---- names, and the site of the story ---------------------------------------

# start_dnsmasq LINE...: a DNS server that knows what these lines of dnsmasq.conf say (and up.test),
# asks nobody else (a name it does not know is NXDOMAIN), and logs what it was asked to $T/dnsmasq.log.
start_dnsmasq() {
    printf '%s\n' keep-in-foreground user=root group=root pid-file= bind-interfaces no-hosts no-resolv \
        listen-address=203.0.113.53,2001:db8:2::53 "local=/#/" host-record=up.test,203.0.113.53 local-ttl=60 \
        log-queries "log-facility=$T/dnsmasq.log" "$@" >"$T/dnsmasq.conf"
    echo 'nameserver 203.0.113.53' >"$T/resolv.conf"
    echo 'hosts: files dns' >"$T/nsswitch.conf"
    # setsid: what a terminal sends to the command is not for the servers
    background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" setsid dnsmasq --conf-file="$T/dnsmasq.conf"
    wait_for 20 "${IN_UPSTREAM[@]}" "${OWN_DNS[@]}" getent hosts up.test
}

# start_site NAME: https://NAME/tetragon is a page of 224,500 bytes at 203.0.113.10 with a certificate
# by the root $T/ca.pem, and NAME has an IPv4 address only. $SITE_SAYS are directives more for its server.
start_site() {
    make_ca ca
    make_cert site ca "DNS:$1"
    mkdir -p "$T/site"
    printf '<p>A page that says little, but says so often</p>\n%.0s' {1..4490} >"$T/site/tetragon"
    cat >"$T/site.conf" <<CONF
user root; daemon off; pid $T/site.pid; error_log $T/site.log;
events { }
http {
    client_body_temp_path $T/site.tmp; proxy_temp_path $T/site.tmp; fastcgi_temp_path $T/site.tmp;
    uwsgi_temp_path $T/site.tmp; scgi_temp_path $T/site.tmp;
    access_log off; default_type text/html;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    server { listen 203.0.113.10:443 ssl; server_name $1; root $T/site;
             ssl_certificate $T/site.pem; ssl_certificate_key $T/site.key; ${SITE_SAYS:-} }
}
CONF
    background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" setsid nginx -c "$T/site.conf" -e "$T/site.log"
    wait_for 20 "${IN_UPSTREAM[@]}" bash -c 'exec 3<>/dev/tcp/203.0.113.10/443'
}

# internet_up NAME LINE...: all of it, with the site, and the lines for start_dnsmasq. curl's own words
# are told to be few: its progress would run into the lines about it.
internet_up() {
    local name=$1
    shift
    make_namespaces
    start_site "$name"
    start_dnsmasq "host-record=$name,203.0.113.10" "$@"
    printf 'silent\nshow-error\n' >"$T/.curlrc"
}
