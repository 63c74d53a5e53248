#!/usr/bin/env bash
# Promise: a command in a network namespace of its own is steered like one on the host: the origin
# sees the pod's own address, the program sees the addresses it asked for, by IPv4, IPv6 and
# IPv4-mapped, and the namespace looks to outsiders as before. What a command enters later is steered
# as well, and left again when it has left.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 443 origin
nginx_server 80
nginx_server 9999 origin
start_nginx "${IN_UPSTREAM[@]}"
head -c 1000000 /dev/urandom >"$T/www/file"

EXEC_POD=("${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS"
          --upstream-ca "$T/ca.pem")
exec_pod() { "${EXEC_POD[@]}" "$@"; }

# ---- curl, by name and address, TLS and plain -----------------------------------

for address in 203.0.113.10 2001:db8:2::10; do
    shown=$address from=192.0.2.2
    case $address in *:*) shown="[$address]" from=2001:db8:1::2 ;; esac
    for url in "https://origin.test/file" "https://$shown/file" "http://$shown/file"; do
        : >"$T/access"
        expect_status "curl $url at $address" 0 exec_pod -- curl -sS -o "$T/answer" \
            --resolve "origin.test:443:$shown" "$url"
        expect_same "$url" "$T/answer" "$T/www/file"
        expect_grep "source address at the origin" " from=$from " "$T/access"
        expect_eq "source, destination, route" "$from $address proxy" \
            "$(events '.[].process_connect // empty | "\(.socket.saddr) \(.socket.daddr) \(.route)"')"
        expect_eq "http events of $url" "GET /file 200" \
            "$(events '.[].process_http // empty | "\(.method) \(.path) \(.code)"')"
        expect_all_seq
    done
    expect_eq "pod leg without TLS" plaintext "$(events '.[].process_http // empty | .visibility')"
done

# a port that is not steered by default is left alone: the origin's own certificate is seen
expect_status "openssl s_client at 9999" 0 exec_pod -- openssl s_client -connect 203.0.113.10:9999 \
    </dev/null >"$T/seen" 2>"$T/client.err"
openssl x509 -in "$T/seen" -out "$T/leaf.pem"
expect_eq "certificate at a port that is not steered" "$(openssl x509 -in "$T/origin.pem")" "$(cat "$T/leaf.pem")"
expect_eq "connects told of a port that is not steered" "" "$(events '.[].process_connect // empty | .route' | grep -v direct || true)"

# ---- the program's own view of its sockets --------------------------------------

cat >"$T/view.py" <<'PY'
import socket, ssl, sys
family, address, bound = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
s = socket.socket(family)
if bound:
    s.bind((bound[0], int(bound[1])))
s.settimeout(20)
s.connect((address, 443))
print("peer", s.getpeername()[0], s.getpeername()[1])
print("name", s.getsockname()[0])
if bound:
    print("port", s.getsockname()[1])
t = ssl.create_default_context().wrap_socket(s, server_hostname="origin.test")
t.sendall(b"GET /file HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
print("first", t.recv(15).decode())
PY
view() { # what, wanted lines, arguments of view.py...
    local what=$1 wanted=$2
    shift 2
    exec_pod -- /usr/bin/python3 "$T/view.py" "$@" >"$T/view" 2>"$T/client.err" || fail "$what: $(cat "$T/client.err")"
    expect_eq "$what" "$wanted" "$(cat "$T/view")"
}
first='first HTTP/1.1 200 OK'
view IPv4 $'peer 203.0.113.10 443\nname 192.0.2.2\n'"$first" 2 203.0.113.10
view IPv6 $'peer 2001:db8:2::10 443\nname 2001:db8:1::2\n'"$first" 10 2001:db8:2::10
view "IPv4-mapped" $'peer ::ffff:203.0.113.10 443\nname ::ffff:192.0.2.2\n'"$first" 10 ::ffff:203.0.113.10
expect_eq "IPv4-mapped is told as IPv4" 203.0.113.10 "$(events '.[].process_connect // empty | .socket.daddr')"
: >"$T/access"
view "a bind of its own" $'peer 203.0.113.10 443\nname 192.0.2.2\nport 23456\n'"$first" 2 203.0.113.10 192.0.2.2 23456
expect_grep "the origin sees the bound address" ' from=192.0.2.2 ' "$T/access"

# ---- namespaces that a command of the host enters, and leaves --------------------

cat >"$T/enter.sh" <<SH
set -eu
held() { ls /proc/\$PPID/fd | wc -l; } # our parent is sallyport
until_held() { for _ in {1..150}; do [ "\$(held)" "\$@" ] && return; sleep 0.1; done; echo "held: \$(held), not \$*"; exit 1; }
fetch() { # the agent needs a moment to get there, until which a connect is refused, as curl says each time
    ip netns exec $POD curl -sS --stderr "$T/curl.err" --retry 5 --retry-all-errors -o /dev/null \\
        -w '%{http_code} %{local_ip}\n' --resolve origin.test:443:203.0.113.10 https://origin.test/\$1
}
before=\$(held)
for _ in {1..100}; do unshare -n true; done
until_held -le \$((before + 10))
for _ in {1..20}; do unshare -n sleep 60 & done
until_held -ge \$((before + 80)) # each is entered
kill \$(jobs -p)
until_held -le \$((before + 10))
fetch first
until_held -le \$((before + 10))
fetch second
ip netns exec $POD sleep 60 &
until_held -ge \$((before + 4))
sleep 1 # more than two looks: somebody lives there
[ "\$(held)" -ge \$((before + 4)) ] || echo "left while inhabited"
fetch third
kill \$(jobs -p)
SH
cp "$T/www/file" "$T/www/first"
cp "$T/www/file" "$T/www/second"
cp "$T/www/file" "$T/www/third"
expect_status "a command that enters namespaces" 0 "${CLEAN[@]}" "$SALLYPORT" exec -o json \
    --events-file "$EVENTS" --upstream-ca "$T/ca.pem" -- bash "$T/enter.sh" >"$T/entered" 2>"$T/client.err"
expect_eq "each request" $'200 192.0.2.2\n200 192.0.2.2\n200 192.0.2.2' "$(cat "$T/entered")"
expect_eq "http events" $'/first\n/second\n/third' "$(events '.[].process_http // empty | .path')"
expect_eq "what the agent complained of" '' "$(cat "$T/client.err")"
expect_all_seq

# ---- nobody outside reaches the listener ----------------------------------------

: >"$EVENTS"
background "${EXEC_POD[@]}" -- sleep 30
wait_for 20 test -s "$EVENTS"
ports=$("${IN_POD[@]}" ss -Hltn | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -u)
[ -n "$ports" ] || fail "no listener in the pod's namespace"
for port in $ports; do
    for address in 192.0.2.2 2001:db8:1::2; do
        if "${IN_UPSTREAM[@]}" timeout 1 bash -c "exec 3<>/dev/tcp/$address/$port" 2>/dev/null; then
            fail "a stranger reached $address:$port inside the pod"
        fi
    done
done
