#!/usr/bin/env bash
# Promise: what is told of a socket's bytes is what its program counted, whether its connection was
# looked into or not, by TCP and UDP; its close comes before its process's exit; QUIC is refused at
# the first datagram, never at connect, and who falls back goes on; getaddrinfo() puts addresses in
# the same order in and out of the pod.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 443 origin
nginx_server 80
nginx_server 9999
start_nginx "${IN_UPSTREAM[@]}"
head -c 1000000 /dev/urandom >"$T/www/file"

EXEC_POD=("${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS"
          --upstream-ca "$T/ca.pem")
exec_pod() { "${EXEC_POD[@]}" "$@"; }
in_pod() { # what, python3 program's file, arguments...
    local what=$1
    shift
    exec_pod -- /usr/bin/python3 "$@" >"$T/counted" 2>"$T/client.err" || fail "$what: $(cat "$T/client.err")"
}

# One line a socket: protocol, address, port, what was written, what was read.
closes() {
    events '.[].process_close // empty | .socket as $s | "\($s.protocol) \($s.daddr) \($s.dport) \(.tx) \(.rx)"'
}
expect_closes_before_exit() {
    expect_eq "closes after their process's exit" '' "$(events '
        . as $all | to_entries[] | select(.value.process_close) | .key as $at
        | .value.process_close.process.exec_id as $id
        | select(any($all[:$at][]; .process_exit.process.exec_id == $id)) | $at')"
}

# ---- TCP and UDP ----------------------------------------------------------------

cat >"$T/server.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
s.bind(("::", int(sys.argv[1])))
open(sys.argv[2], "w").close()
while True: # a name server that says NXDOMAIN to all, and answers the rest with twice as much
    data, control, _, peer = s.recvmsg(65535, 256)
    if int(sys.argv[1]) == 53:
        data = data[:2] + b"\x81\x83" + data[4:]
    else:
        data += data
    s.sendmsg([data], control, 0, peer)
PY
for port in 53 5000; do
    background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$T/server.py" $port "$T/serves.$port" 2>"$T/server.err"
    wait_for 20 test -e "$T/serves.$port"
done

cat >"$T/count.py" <<'PY'
import socket
def tcp(address, port, want):
    s = socket.create_connection((address, port), 20)
    request = b"GET /file HTTP/1.1\r\nHost: " + (address if ":" not in address else f"[{address}]").encode() \
        + b"\r\nConnection: close\r\n\r\n"
    s.sendall(request)
    got = 0
    while got < want:
        data = s.recv(min(65536, want - got))
        if not data:
            break
        got += len(data)
    s.close()
    print("TCP", address, port, len(request), got)
def udp(family, address, port, data, connects):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(20)
    tx = rx = 0
    if connects:
        s.connect((address, port))
    for _ in range(3):
        tx += s.send(data) if connects else s.sendto(data, (address, port))
        got, peer = s.recvfrom(65535)
        assert peer[:2] == (address, port), peer
        rx += len(got)
    s.close()
    print("UDP", address.removeprefix("::ffff:"), port, tx, rx)
question = b"\0\7\1\0\0\1\0\0\0\0\0\0\4none\4test\0\0\1\0\1"
for address in "203.0.113.10", "2001:db8:2::10":
    for port in 80, 9999:
        tcp(address, port, 1 << 30)
        tcp(address, port, 1000)
for family, address in (2, "203.0.113.10"), (10, "2001:db8:2::10"), (10, "::ffff:203.0.113.10"):
    for connects in True, False:
        udp(family, address, 53, question, connects)
        udp(family, address, 5000, bytes(3000), connects)
PY
in_pod "the counting program" "$T/count.py"
expect_eq "counts told" "$(sort "$T/counted")" "$(closes | sort)"
expect_eq "routes" "$(printf '80 proxy\n9999 direct\n53 proxy\n5000 direct' | sort)" \
    "$(events '.[].process_close // empty | "\(.socket.dport) \(.route)"' | sort -u)"
expect_eq "counts of UDP, told as such" "$(grep ^UDP "$T/counted" | sort)" \
    "$(events '.[].process_sock_stats // empty | .socket as $s | "\($s.protocol) \($s.daddr) \($s.dport) \(.tx) \(.rx)"' | sort)"
expect_eq "connects" "$(wc -l <"$T/counted")" "$(events '[.[].process_connect // empty] | length')"
expect_closes_before_exit
expect_all_seq
echo "ok: counts"

# ---- QUIC -----------------------------------------------------------------------

cat >"$T/quic.py" <<'PY'
import errno, socket, ssl
address = "203.0.113.10"
only = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
only.connect((address, 443))
print("connect", only.getpeername()[0], only.getsockname()[0])
only.close()
quic = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
quic.connect((address, 443))
try:
    quic.send(bytes(1200))
    print("sent")
except OSError as e:
    print(errno.errorcode[e.errno])
quic.close()
t = ssl.create_default_context().wrap_socket(socket.create_connection((address, 443), 20), server_hostname=address)
t.sendall(b"GET /file HTTP/1.1\r\nHost: 203.0.113.10\r\nConnection: close\r\n\r\n")
print(t.recv(15).decode())
while t.recv(65536):
    pass
PY
in_pod "a client with a fallback" "$T/quic.py"
expect_eq "what it saw" $'connect 203.0.113.10 192.0.2.2\nEPERM\nHTTP/1.1 200 OK' "$(cat "$T/counted")"
expect_eq "connects told" $'UDP QUIC is refused, so that the program falls back to TCP\nTCP ' \
    "$(events '.[].process_connect // empty | "\(.socket.protocol) \(.error // "")"')"
expect_eq "bytes told of what was refused" "0 0" \
    "$(events '.[].process_close // empty | select(.socket.protocol == "UDP") | "\(.tx) \(.rx)"')"
expect_eq "told of the request" "GET /file 200" "$(events '.[].process_http // empty | "\(.method) \(.path) \(.code)"')"
expect_closes_before_exit
expect_all_seq
echo "ok: QUIC"

# ---- getaddrinfo() ---------------------------------------------------------------

cat >"$T/hosts" <<'HOSTS'
203.0.113.10 many.test
198.51.100.7 many.test
192.0.2.1 many.test
2001:db8:2::10 many.test
2001:db8:1::1 many.test
2001:db8:ffff::1 many.test
fd00::1 many.test
127.0.0.1 many.test
::1 many.test
HOSTS
cat >"$T/order.py" <<'PY'
import socket, sys
for service in sys.argv[1:]:
    for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
        print(service, *(a[4][0] for a in socket.getaddrinfo("many.test", service, type=kind)))
PY
WITH_HOSTS=(env RESOLV_MULTI=on unshare -m bash -c "mount --bind '$T/hosts' /etc/hosts && exec \"\$@\"" -)
same_order() { # what, services...
    local what=$1
    shift
    "${IN_POD[@]}" "${CLEAN[@]}" "${WITH_HOSTS[@]}" /usr/bin/python3 "$T/order.py" "$@" >"$T/outside"
    "${WITH_HOSTS[@]}" "${EXEC_POD[@]}" -- env RESOLV_MULTI=on /usr/bin/python3 "$T/order.py" "$@" >"$T/inside" 2>"$T/client.err" ||
        fail "$what: $(cat "$T/client.err")"
    expect_eq "lines of a service and nine addresses" $((2 * $#)) "$(awk 'NF == 10' "$T/outside" | wc -l)"
    expect_eq "$what" "$(cat "$T/outside")" "$(cat "$T/inside")"
    expect_eq "connects told: $what" 0 "$(events '[.[].process_connect // empty] | length')"
    echo "ok: $what"
}
same_order "order with both families" domain https 7000
first=$(cat "$T/outside")
ip -n "$POD" -6 route del default
ip -n "$POD" -6 address flush dev eth0 scope global
same_order "order without a route for IPv6" domain https 7000
[ "$first" != "$(cat "$T/outside")" ] || fail "the order does not depend on routes: the test shows nothing"
ip -n "$POD" address add 2001:db8:1::2/64 dev eth0 nodad
# Routes to some of a family's destinations: name servers alone are asked by connect() through us,
# where the kernel knows no more than whether the family has routes at all.
same_order "order with a route to neighbours by IPv6" https 7000
ip -n "$POD" route add default via 2001:db8:1::1
ip -n "$POD" -4 address flush dev eth0
same_order "order without a route for IPv4" domain https 7000
