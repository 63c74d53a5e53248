# gateway: what the scripts about --listen share. Source it behind lib.sh.
#
# A client (198.51.100.2, 2001:db8:3::2) behind a gateway, which is internet.sh's pod, and servers behind
# that: nginx with the ports 80 and 443 of 203.0.113.10 and 2001:db8:2::10.
# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that only the scripts use

GATE=$POD
IN_GATE=("${IN_POD[@]}")
CLIENT=$INTERNET-$$-client
IN_CLIENT=(nsenter --net="/run/netns/$CLIENT")
GATE_ERR=$T/gate.err
PORT=15001
V4=203.0.113.10 V6=2001:db8:2::10
NGINX_LISTEN=("$V4" "[$V6]")

make_gateway() {
    command -v nft >/dev/null || fail "there is no nft here: deploy/deps --tests installs it"
    make_namespaces
    ip netns add "$CLIENT"
    NAMESPACES+=("$CLIENT")
    ip -n "$CLIENT" link set lo up
    ip link add eth0 netns "$CLIENT" type veth peer name eth1 netns "$GATE"
    ip -n "$CLIENT" address add 198.51.100.2/24 dev eth0
    ip -n "$CLIENT" address add 2001:db8:3::2/64 dev eth0 nodad
    ip -n "$GATE" address add 198.51.100.1/24 dev eth1
    ip -n "$GATE" address add 2001:db8:3::1/64 dev eth1 nodad
    ip -n "$CLIENT" link set eth0 up
    ip -n "$GATE" link set eth1 up
    ip -n "$CLIENT" route add default via 198.51.100.1
    ip -n "$CLIENT" route add default via 2001:db8:3::1
    wait_for 10 "${IN_CLIENT[@]}" bash -c '! ip -6 address show dev eth0 tentative | grep -q inet6'

    make_ca ca
    make_cert site ca "DNS:origin.test,IP:$V4,IP:$V6"
    make_ca gate
    mkdir "$T/gate" "$T/www"
    cp "$T/gate.pem" "$T/gate/tls.crt"
    cp "$T/gate.pem" "$T/gate/ca.crt"
    cp "$T/gate.key" "$T/gate/tls.key"
    head -c 100000 /dev/urandom >"$T/www/page"
    NGINX_SPEAKS=http2 nginx_server 443 site
    nginx_server 80
    start_nginx "${IN_UPSTREAM[@]}"
}

# rules CHAIN RULE...: nft's, of the gateway; those before are gone.
rules() {
    local chain=$1
    shift
    "${IN_GATE[@]}" nft -f - <<NFT 2>"$T/nft.err" && return
flush ruleset
table inet gate {
    chain only {
        type $chain;
$(printf '%s\n' "$@")
    }
}
NFT
    ! grep -q 'Could not process rule' "$T/nft.err" || skip "this kernel lacks what the rules take: $(head -n 1 "$T/nft.err")"
    fail "nft: $(cat "$T/nft.err")"
}

# start_gate [PROGRAM ARGS...]: the agent on the gateway, started by PROGRAM. Its pid is $gate.
start_gate() {
    [ -d "$T/run" ] || mkdir -m 700 "$T/run"
    : >"$EVENTS"
    background "${CLEAN[@]}" "${IN_GATE[@]}" "$@" "$SALLYPORT" run --listen "0.0.0.0:$PORT,[::]:$PORT" \
        --runtime-dir "$T/run" --ca "$T/gate" --upstream-ca "$T/ca.pem" -o json --events-file "$EVENTS" \
        2>"$GATE_ERR"
    gate=$!
    wait_for 20 gate_listens
}
gate_listens() { "${IN_GATE[@]}" ss -Hltn "sport = $PORT" | grep -q "\[::\]:$PORT"; }

stop_gate() {
    kill -TERM "$gate"
    expect_status "the agent" 0 wait "$gate"
    expect_all_seq
}

# fetch WHERE ARGS...: curl, in this namespace, trusting the gateway's CA alone.
fetch() {
    local where=$1
    shift
    clean nsenter --net="/run/netns/$where" curl -sS --max-time 10 --cacert "$T/gate.pem" "$@"
}

# expect_page WHAT WHERE URL: it comes whole, through the agent.
expect_page() {
    fetch "$2" --resolve "origin.test:443:$V4" -o "$T/got" "$3" || fail "$1: curl exit $?"
    expect_same "$1" "$T/got" "$T/www/page"
}
expect_reset() { # WHAT WHERE URL
    local status=0
    fetch "$2" -o /dev/null "$3" 2>"$T/curl.err" || status=$?
    [[ $status = 35 || $status = 52 || $status = 56 || $status = 55 || $status = 7 ]] || fail "$1: curl exit $status: $(cat "$T/curl.err")"
}

# closes FILTER: how many process_close satisfy it.
closes() { events "map(.process_close // empty | select($1)) | length"; }
