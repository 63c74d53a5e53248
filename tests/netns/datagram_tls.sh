#!/usr/bin/env bash
# Promise: the ClientHello of QUIC and DTLS is read, however it is cut: told as TLS that is opaque, with name and
# protocols, once a handshake. Where rules want a name nothing but it leaves before it was judged; one that no rule
# allows ends the exchange, also behind one that does; what says none is refused. Real clients of QUIC: quic-go; of
# DTLS: OpenSSL, GnuTLS.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca DNS:a.test,DNS:evil.test
make_namespaces
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/datagram_tls.py" serve "$T/got" 203.0.113.10 4433
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/datagram_tls.py" serve "$T/got6" 2001:db8:2::10 4433
wait_for 20 grep -q serves "$T/got"
wait_for 20 grep -q serves "$T/got6"

policy() { # SPEC-LINES...
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }" >"$T/policy.yaml"
    POLICY=(--policy "$T/policy.yaml")
}
POLICY=()
exec_pod() {
    echo serves >"$T/got"
    "${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS" --upstream-ca "$T/ca.pem" "${POLICY[@]}" -- "$@"
}
says() { exec_pod /usr/bin/python3 "$HERE/datagram_tls.py" say "$@" 2>"$T/client.err" || fail "$(cat "$T/client.err")"; }
lines() { printf '%s\n' "$@"; }
hellos() { events '.[].process_tls // empty | "\(.transport) \(.sni // "-") \(.alpn // "-") \(.ja4 // "-" | .[:10]) \(.visibility) \(.route) \(.verdict // "-")"'; }
decided() { events '.[].process_policy // empty | "\(.verdict) \(.action // "-") \(.point): \(.reason)"'; }
closes() { events '.[].process_close // empty | "\(.socket.protocol) \(.socket.dport) \(.visibility // "-") \(.error // "-")"'; }
got() { grep -v serves "$T/got" | sort -u | paste -sd ' ' || true; }

# ---- told ---------------------------------------------------------------------------------------------

says 203.0.113.10 4433 plain quic:a.test one quic:a.test two retry:a.test three new quic2:b.test unknown four junk five >"$T/out"
expect_eq "all goes" "plain answered one answered two answered three answered four answered five answered" \
    "$(grep answered "$T/out" | paste -sd ' ')"
expect_eq "told once a handshake" "$(lines "QUICv1 a.test h3,hq q13d "{1,2} "QUICv2 b.test h3,hq q13d" | sed 's/ [12]$//; s/q13d.*/q13d/')" \
    "$(hellos | cut -d' ' -f1-4 | sed 's/q13d.*/q13d/' | sort)"
expect_grep "as what cannot be read" 'opaque direct -$' <(hellos)
expect_eq "closes" "$(lines 'UDP 4433 opaque -' 'UDP 4433 opaque -')" "$(closes)"
says 2001:db8:2::10 4433 quic:six.test one >"$T/out"
expect_eq "by IPv6" "QUICv1 six.test" "$(hellos | cut -d' ' -f1-2)"
exec_pod /usr/bin/python3 "$HERE/datagram_tls.py" say 203.0.113.10 4433 unknown one >"$T/out"
expect_eq "of an unknown version" "QUIC - - - opaque direct -" "$(hellos)"
echo "ok: QUIC is told"

# ---- judged -------------------------------------------------------------------------------------------

names='  toPorts: [{ports: [{port: "4433", protocol: UDP}, {port: "4444", protocol: UDP}, {port: "4445", protocol: UDP}, {port: "4447", protocol: UDP}], serverNames: ["*.test"]}]'
by_name=('egress:' '- toCIDR: [203.0.113.0/24]' "$names" 'egressDeny:' '- toPorts: [{ports: [{port: "0", protocol: UDP}], serverNames: [evil.test]}]')
policy "${by_name[@]}"
says 203.0.113.10 4433 quic:a.test good quic2:b.test too quic:evil.test bad quic:a.test late new first new quic:c.org other new junk odd >"$T/out"
expect_eq "by the name" "$(lines 'good answered' 'too answered' 'bad EPERM' 'late EPERM' 'first EPERM' 'other EPERM' 'odd EPERM')" \
    "$(grep -v -e ^quic -e ^new -e ^junk "$T/out")"
expect_eq "what the server saw" "good too" "$(got)"
rule='egress[0].toPorts[0]'
expect_eq "what is told of names" "$(lines 'a.test allow' 'b.test allow' 'c.org deny' 'evil.test deny')" \
    "$(hellos | awk '{ print $2, $NF }' | sed 's/alert$/allow/' | sort)"
expect_grep "why" "^deny reject tls: a rule denies the name evil.test$" <(decided)
expect_grep "why" "^deny reject tls: no rule allows the name c.org$" <(decided)
expect_eq "what says none" 2 "$(decided | grep -c '^deny reset visibility: ')"
expect_grep "the close says so" "^UDP 4433 opaque denied by policy cart, ${rule//[\[\]]/.}: no rule allows the name c.org$" <(closes)
policy 'mode: monitor' "${by_name[@]}"
says 203.0.113.10 4433 first quic:evil.test bad >"$T/out"
expect_eq "monitor" "first answered quic:evil.test sent bad answered" "$(paste -sd ' ' "$T/out")"
expect_grep "monitor" "^alert reject tls: a rule denies the name evil.test$" <(decided)
policy 'onDeny: sigkill' "${by_name[@]}"
expect_status "sigkill" 137 exec_pod /usr/bin/python3 "$HERE/datagram_tls.py" say 203.0.113.10 4433 quic:evil.test bad bad bad >"$T/out"
expect_eq "sigkill: what the server saw" "" "$(got)"
echo "ok: QUIC is judged by its name"

# ---- a real client ------------------------------------------------------------------------------------

# shellcheck source=/dev/null
. /etc/os-release
if [ "${VERSION_CODENAME:-}" = bookworm ] || [ -d /usr/share/gocode/src/github.com/lucas-clemente/quic-go ]; then
    clean GOPATH=/usr/share/gocode GOCACHE="$GO_CACHE" GO111MODULE=off /usr/bin/go build -o "$T/quic" "$HERE/quic/quic.go"
    for port in 4444 4445; do # the second sends a Retry
        background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" "$T/quic" serve "203.0.113.10:$port" "$T/origin.pem" "$T/origin.key"
        wait_for 20 "${IN_UPSTREAM[@]}" grep -q "0A7100CB:$(printf %04X "$port")" /proc/net/udp
    done
    go_quic() { exec_pod "$T/quic" say "203.0.113.10:$1" "$T/ca.pem" "${@:2}" >"$T/out" 2>"$T/client.err" || fail "$(cat "$T/client.err")"; }
    POLICY=()
    go_quic 4445 a.test a.test
    expect_eq "quic-go" "$(lines 'a.test ok' 'a.test ok')" "$(cat "$T/out")"
    expect_eq "quic-go" "$(lines 'QUICv1 a.test echo,h3' 'QUICv1 a.test echo,h3')" "$(hellos | cut -d' ' -f1-3)"
    policy "${by_name[@]}"
    go_quic 4444 a.test a.test evil.test a.test
    expect_eq "quic-go: allowed" "$(lines 'a.test ok' 'a.test ok')" "$(head -n 2 "$T/out")"
    expect_grep "quic-go: denied" '^evil.test .*operation not permitted' "$T/out"
    expect_no_grep "quic-go: behind a denied one" '^a.test ok' <(tail -n 2 "$T/out")
    go_quic 4445 a.test
    expect_eq "quic-go: after a Retry" "a.test ok" "$(cat "$T/out")"
    echo "ok: quic-go"
else
    echo "left out: quic-go, which $PRETTY_NAME has no package of by that name"
fi

# ---- DTLS ---------------------------------------------------------------------------------------------

# A server asks for a cookie (HelloVerifyRequest), so there are two hellos.
dtls_server() { # PORT OPTIONS...
    mkfifo "$T/dtls.$1.in"
    background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" openssl s_server -accept "203.0.113.10:$1" -cert "$T/origin.pem" -key "$T/origin.key" \
        "${@:2}" <>"$T/dtls.$1.in" >>"$T/dtls.$1.out" 2>"$T/dtls.$1.err"
    wait_for 20 "${IN_UPSTREAM[@]}" grep -q "0A7100CB:$(printf %04X "$1")" /proc/net/udp
}
dtls_server 4446 -dtls1_2 -listen
dtls_server 4447 -dtls1_2
POLICY=()
mkfifo "$T/words"
exec_pod timeout 60 openssl s_client -dtls1_2 -connect 203.0.113.10:4446 -servername a.test -alpn coap -CAfile "$T/ca.pem" \
    <>"$T/words" >"$T/out" 2>&1 &
client=$!
echo hello from openssl >"$T/words"
wait_for 20 grep -q "hello from openssl" "$T/dtls.4446.out"
echo Q >"$T/words"
wait "$client" || fail "OpenSSL: $(tail -n 5 "$T/out")"
expect_eq "OpenSSL" "DTLS1.2 a.test coap" "$(hellos | cut -d' ' -f1-3)"
expect_grep "OpenSSL" '^dd2d' <(hellos | cut -d' ' -f4)
expect_eq "OpenSSL" "UDP 4446 opaque -" "$(closes)"
policy "${by_name[@]}"
for name in a.test evil.test; do
    exec_pod timeout 20 gnutls-cli --udp --port 4447 --x509cafile "$T/ca.pem" --sni-hostname $name --verify-hostname $name \
        --no-ca-verification 203.0.113.10 </dev/null >"$T/out.$name" 2>&1 || [ $name = evil.test ] || fail "GnuTLS: $(tail -n 5 "$T/out.$name")"
    expect_eq "GnuTLS, $name" "DTLS1.2 $name" "$(hellos | cut -d' ' -f1-2)"
done
expect_grep "GnuTLS, allowed" "Handshake was completed" "$T/out.a.test"
expect_no_grep "GnuTLS, denied" "Handshake was completed" "$T/out.evil.test"
expect_grep "GnuTLS, denied" "a rule denies the name evil.test" <(decided)
echo "ok: DTLS"
