#!/usr/bin/env bash
# Promise: curl, wget (GnuTLS), python3 and openssl s_client, unchanged, fetch 100 MB through
# `sallyport exec` by IPv4 and IPv6 with the same sha256 as direct; each is told in the same
# lines; the client saw a leaf of Sallyport's authority; the origin saw nothing unusual.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port raw <<<"$(free_ports 2)"
nginx_server "$port" origin
start_nginx
head -c 100000000 /dev/urandom >"$T/www/big"
echo small >"$T/www/small"
want=$(sha256sum <"$T/www/big")

# ---- 100 MB by each client and family, told in order --------------------------

cat >"$T/fetch.py" <<'PY'
import shutil, sys, urllib.request
shutil.copyfileobj(urllib.request.urlopen(sys.argv[1]), sys.stdout.buffer)
PY
quantity='[0-9.]+ [kMG]?B'

fetch() { # binary, host, address as events show it, CMD...
    local binary host=$2 address=$3 what got
    binary=$(realpath "$(command -v "$1")")
    shift 3
    what="$* at $address"
    printf 'GET /big HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n' "$host" "$port" >"$T/request"
    expect_status "$what" 0 sallyport exec --events-file "$EVENTS" --loopback --ports all \
        --upstream-ca "$T/ca.pem" -- "$@" <"$T/request" >"$T/answer" 2>"$T/client.err"
    if [ "$binary" = "$(realpath "$(command -v openssl)")" ]; then
        got=$(LC_ALL=C sed '1,/^\r$/d' "$T/answer" | sha256sum)
    else
        got=$(sha256sum <"$T/answer")
    fi
    expect_eq "sha256 of $what" "$want" "$got"
    local flow="HOST $binary TCP $address:[0-9]+ => $address:$port( [[][^]]*[]])?"
    expect_lines "$what" "$EVENTS" \
        "^🚀 process HOST $binary .*" \
        "^🔌 connect $flow\$" \
        "^🔐 tls     HOST $binary $address:$port .*TLS1.3 TLS_[A-Z0-9_]+" \
        "^🌐 http    HOST $binary .*GET /big 200 [0-9.]+(µs|us|ms|s)\$" \
        "^🧹 close   $flow tx $quantity rx $quantity\$" \
        "^💥 exit    HOST $binary .* 0\$"
    expect_grep "$what" "^🌐 http .* [[]?${host//[][]/}[]]? GET /big" "$EVENTS"
    expect_grep "$what" "^🧹 close .* rx 10[0-9.]+ MB\$" "$EVENTS"
    expect_eq "lines about one fetch" 6 "$(wc -l <"$EVENTS")"
    echo "ok: $what"
}

for host in localhost '[::1]'; do
    case $host in
        localhost) at=127.0.0.1 shown=127.0.0.1 family=-4
                   name=(-servername localhost -verify_hostname localhost) ;;
        *) at='[::1]' shown='[[]::1[]]' family=-6
           name=(-noservername -verify_ip ::1) ;;
    esac
    url=https://$host:$port/big
    fetch curl "$host" "$shown" curl -sS "$family" "$url"
    fetch wget "$host" "$shown" wget -nv "$family" -O - "$url"
    fetch /usr/bin/python3 "$host" "$shown" /usr/bin/python3 "$T/fetch.py" "$url"
    fetch openssl "$host" "$shown" openssl s_client -quiet -verify_return_error "${name[@]}" -connect "$at:$port"
done

# ---- what the client saw -------------------------------------------------------

exec_local -- openssl s_client -connect "localhost:$port" -servername localhost -showcerts \
    </dev/null >"$T/seen" 2>"$T/client.err"
openssl x509 -in "$T/seen" -out "$T/leaf.pem"
expect_grep "verified by the bundle" '^ *Verify return code: 0 ' "$T/seen"
expect_eq "the leaf is not the origin's certificate" different \
    "$(cmp -s "$T/leaf.pem" "$T/origin.pem" && echo same || echo different)"
expect_grep "issuer of the leaf" '^issuer=.*[Ss]allyport' <(openssl x509 -in "$T/leaf.pem" -noout -issuer)
expect_eq "names in the leaf" 'DNS:localhost' \
    "$(openssl x509 -in "$T/leaf.pem" -noout -ext subjectAltName | sed -n 's/^ *\(DNS\|IP\)/\1/p')"
if openssl verify -CAfile "$T/ca.pem" "$T/leaf.pem" >/dev/null 2>&1; then
    fail "the leaf verifies against the origin's CA"
fi
exec_local -- curl -sSv -o /dev/null "https://localhost:$port/small" 2>"$T/client.err"
expect_grep "curl's word on the issuer" '^[*] +issuer: .*[Ss]allyport' "$T/client.err"
# ---- what the origin saw -------------------------------------------------------

: >"$T/access"
request=(curl -sS -A 'any agent/1.0' -H 'X-One: a' -H 'x-two:  b ' -H 'Cookie: c=d; e=f' -e https://localhost/
         "https://localhost:$port/small?q=%20+%2f&x")
clean "${request[@]}" --cacert "$T/ca.pem" >/dev/null
exec_local -- "${request[@]}" >/dev/null
expect_eq "requests in nginx's log" 2 "$(wc -l <"$T/access")"
expect_eq "nginx's log, direct and by exec" "$(sed -n 1p "$T/access")" "$(sed -n 2p "$T/access")"

# byte for byte: s_server shows what it was sent
start_s_server "$raw" origin -quiet
answer() { # after the request's head
    wait_for 20 grep -q $'^\r$' "$T/s_server.$raw.out"
    printf 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n' >"$T/s_server.$raw.in"
}
request[-1]="https://[::1]:$raw/p?q"
for way in direct exec; do
    : >"$T/s_server.$raw.out"
    answer &
    if [ $way = direct ]; then
        clean "${request[@]}" --cacert "$T/ca.pem" >"$T/answer"
    else
        exec_local -- "${request[@]}" >"$T/answer"
    fi
    wait $!
    expect_eq "answer of s_server, $way" ok "$(cat "$T/answer")"
    cp "$T/s_server.$raw.out" "$T/raw.$way"
done
cmp "$T/raw.direct" "$T/raw.exec" || fail "the origin was sent other bytes than direct"
