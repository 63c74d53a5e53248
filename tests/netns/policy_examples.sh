#!/usr/bin/env bash
# Promise: each policy of deploy/policies checks out, and does what it says: what it allows reaches the server, what it
# denies does not, and is told under its name.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

EXAMPLES=$HERE/../../deploy/policies
expect_status "all of them" 0 sallyport policy check "$EXAMPLES" >"$T/out"
expect_eq "one in each file" "$(cd "$EXAMPLES" && ls)" "$(sed -nE 's/^.*\/([^/]+\.yaml): .*/\1/p' "$T/out")"

# ---- a pod, shop/cart with app=cart, and whom it speaks to ---------------------------------------

make_ca ca
make_ca partner-ca
make_cert origin ca "DNS:api.example.com,DNS:www.svc.example.com,DNS:other.example.com,DNS:www.evil.example,IP:203.0.113.10"
make_cert partner partner-ca DNS:partner.example.com
make_client client partner-ca CA:FALSE
make_namespaces
for address in 203.0.113.11/32 203.0.113.200/32; do ip -n "$UPSTREAM" address add "$address" dev lo; done
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
nginx_server 443 origin
NGINX_LISTEN=(203.0.113.200)
nginx_server 443 origin
NGINX_LISTEN=(203.0.113.11)
nginx_server 443 partner "ssl_verify_client on; ssl_client_certificate $T/partner-ca.pem;"
NGINX_PORTS=()
mkdir -p "$T/www/v1"
echo fine | tee "$T/www/ok" "$T/www/v1/orders" >"$T/www/v1/ok"
start_nginx "${IN_UPSTREAM[@]}"
for address in 203.0.113.10:443 203.0.113.10:80 203.0.113.11:443 203.0.113.200:443; do
    wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/${address/:/\/}"
done
start_dnsmasq address=/example.com/203.0.113.10 address=/evil.example/203.0.113.10 host-record=partner.example.com,203.0.113.11
mkdir "$T/run"
mount -t tmpfs -o size=1m,mode=700 none "$T/run"
make_cgroup cart
agent_up
IN_CART=("${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD_DNS[@]}" "${CLEAN[@]}")
background "${IN_CART[@]}" sleep 1000
wait_for 10 grep -qs 203.0.113.53 "/proc/$!/root/etc/resolv.conf"
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart --label app=cart

# try EXAMPLE [SED-SCRIPT]: it alone is in force.
IN_FORCE=
try() {
    [ -z "$IN_FORCE" ] || sallyport policy remove --runtime-dir "$T/run" "$IN_FORCE" >"$T/out"
    sed "${2:-}" "$EXAMPLES/$1.yaml" >"$T/$1.yaml"
    IN_FORCE=$(sallyport policy apply --runtime-dir "$T/run" "$T/$1.yaml" | cut -d' ' -f1)
    : >"$T/access"
    : >"$T/dnsmasq.log"
    EXAMPLE=$1
}
in_cart() { "${IN_CART[@]}" "$@"; }
# get URL CURL-ARGS...: the status, and curl's own where that is not 0.
get() {
    local status=0
    in_cart curl -s -o "$T/answer" -w '%{http_code}' --max-time 20 --cacert "$T/trusted.pem" "${@:2}" "$1" || status=$?
    [ "$status" = 0 ] || echo " curl $status"
}
gets() { expect_eq "$EXAMPLE: $2 ${*:3}" "$1" "$(get "${@:2}")"; } # STATUS URL CURL-ARGS...
denied() { # POINT URL CURL-ARGS...: it got nothing, the server saw nothing, and it is told
    local point=$1 got before
    before=$(wc -l <"$T/access")
    got=$(get "${@:2}")
    case $got in 403 | 000\ curl*) ;; *) fail "$EXAMPLE: ${*:2}: got $got" ;; esac
    expect_eq "$EXAMPLE: ${*:2}: what servers saw" "$before" "$(wc -l <"$T/access")"
    wait_for 10 is_told ".process_policy | .policy == \"$IN_FORCE\" and .verdict == \"deny\" and .point == \"$point\""
}
asked() { sed -nE 's/.*query\[[A-Z]+\] ([^ ]+).*/\1/p' "$T/dnsmasq.log" | sort -u | paste -sd' '; }
resolves() { in_cart getent ahostsv4 "$1" >"$T/out"; }
ok() { echo "ok: $EXAMPLE"; }

gets_all() { for url in "$@"; do gets 200 "$url"; done; }
EXAMPLE=none
gets_all https://api.example.com/ok http://api.example.com/ok https://203.0.113.10/ok

# ---- whom it may speak to ------------------------------------------------------------------------

try deny-all
expect_status "a name" 2 resolves api.example.com
expect_eq "what the name server saw" "" "$(asked)"
denied connect https://203.0.113.10/ok
ok

try names
gets_all https://api.example.com/ok https://www.svc.example.com/ok
denied tls https://other.example.com/ok
denied connect https://203.0.113.200/ok
denied connect http://api.example.com/ok
ok

try networks
gets_all https://203.0.113.10/ok https://api.example.com/ok
denied connect http://203.0.113.10/ok
denied connect https://203.0.113.200/ok
denied connect http://169.254.169.254/ok
ok

try dns
expect_status "its name" 0 resolves api.example.com
expect_status "a name below, deep" 0 resolves a.b.svc.example.com
expect_status "another name" 2 resolves other.example.com
expect_status "of another type" 2 in_cart getent hosts 203.0.113.10
expect_eq "what the name server saw" "a.b.svc.example.com api.example.com" "$(asked)"
denied connect https://203.0.113.10/ok
ok

try binaries
gets 200 https://api.example.com/ok
denied connect https://203.0.113.200/ok
expect_eq "another program" 200 "$(in_cart /usr/bin/python3 -c '
import ssl, urllib.request as request
print(request.urlopen("https://other.example.com/ok", context=ssl.create_default_context(cafile="'"$T/trusted.pem"'")).status)')"
ok

# ---- how, and what -------------------------------------------------------------------------------

try http
for scheme in http https; do
    gets 200 $scheme://api.example.com/v1/ok -H 'X-Tenant: a'
    gets 403 $scheme://api.example.com/v1/ok
    gets 405 $scheme://api.example.com/v1/orders -d x
    denied http $scheme://api.example.com/v1/ok -X DELETE -H 'X-Tenant: a'
    denied http $scheme://api.example.com/v1/../ok --path-as-is -H 'X-Tenant: a'
done
ok

mkdir "$T/partner"
cp "$T/client.pem" "$T/partner/tls.crt"
install -m 600 "$T/client.key" "$T/partner/tls.key"
try tls "s|/etc/sallyport/partner/ca.pem|$T/partner-ca.pem|; s|/etc/sallyport/partner/client|$T/partner|"
gets 200 https://partner.example.com/ok
denied tls https://partner.example.com/ok --tls-max 1.2
denied connect https://api.example.com/ok
ok

try consistency
gets 200 https://api.example.com/ok
denied http https://api.example.com/ok -H 'Host: other.example.com'
ok

try monitor
gets 200 https://api.example.com/ok
gets 405 https://api.example.com/ok -X DELETE
wait_for 10 is_told '.process_policy | .policy == "monitor" and .verdict == "alert" and .mode == "monitor" and .point == "http"'
gets 200 http://api.example.com/ok
ok

try cilium
gets 200 https://api.example.com/v1/ok
denied http https://api.example.com/ok
expect_status "a name elsewhere" 2 resolves www.evil.example
expect_eq "what the name server saw" "api.example.com" "$(asked)"
ok

# ---- what must not leave -------------------------------------------------------------------------

try bodies
echo 'card=4111111111111111, until 12/30' >"$T/card"
echo 'see TICKET-123456' >"$T/ticket"
gets 201 https://api.example.com/put/fine -T "$T/www/ok"
expect_eq "bodies: what the server has" fine "$(cat "$T/put/fine")"
expect_eq "bodies: a card" 403 "$(get https://api.example.com/put/card -T "$T/card")"
expect_status "bodies: the server has it" 1 test -e "$T/put/card"
wait_for 10 is_told '.process_policy | .policy == "bodies" and .verdict == "deny" and .point == "body" and .pattern == "payment-card"'
gets 201 https://api.example.com/put/ticket -T "$T/ticket"
wait_for 10 is_told '.process_policy | .policy == "bodies" and .verdict == "alert" and .pattern == "ticket"'
ok

try tokens
base64url() { base64 -w0 | tr '/+' '_-' | tr -d =; }
head=$(printf '{"alg":"RS256","kid":"k"}' | base64url)
claims=$(printf '{"iss":"https://kubernetes.default.svc.cluster.local","sub":"system:serviceaccount:shop:cart","kubernetes.io":{"namespace":"shop","pod":{"name":"cart","uid":"77"},"serviceaccount":{"name":"cart"}}}' | base64url)
gets 200 https://api.example.com/ok -H 'Authorization: Bearer other'
denied token https://api.example.com/ok -H "Authorization: Bearer $head.$claims.c2lnbmF0dXJl"
ok

# ---- what becomes of who does not keep to it -----------------------------------------------------

try kill
gets 200 https://api.example.com/ok
killed() { # WHAT PROGRAM...
    : >"$T/access"
    expect_status "$1" 137 in_cart "${@:2}" >"$T/answer" 2>"$T/client.err"
    expect_eq "kill: $1: what servers saw" "" "$(cat "$T/access")"
}
killed "a request" curl -s --cacert "$T/trusted.pem" https://www.evil.example/ok
# a connect is refused at once, and then it is told who is to be killed
killed "a connect" /usr/bin/python3 -c '
import socket, time
print(socket.socket().connect_ex(("203.0.113.10", 22)))
time.sleep(60)'
ok

# A program that takes no certificate but the server's own, and one whose words nobody knows.
try no-visibility
expect_status "a pinned program" 60 in_cart curl -s -o "$T/answer" --cacert "$T/ca.pem" https://api.example.com/ok
expect_eq "once more" "000 curl 60" "$(get https://api.example.com/ok --cacert "$T/ca.pem")"
expect_eq "what the server saw" "" "$(cat "$T/access")"
expect_eq "unknown words" "" "$(in_cart bash -c 'exec 3<>/dev/tcp/203.0.113.10/80; printf "\0\1\2\3\n\n" >&3; cat <&3' 2>/dev/null || true)"
wait_for 10 is_told '.process_policy | .policy == "no-visibility" and .verdict == "deny" and .point == "visibility"'
ok

# ---- who reads it --------------------------------------------------------------------------------

try kernel-route
gets 200 http://api.example.com/ok
wait_for 10 is_told '.process_http | .path == "/ok" and .route == "kernel" and .visibility == "plaintext"'
gets 200 https://api.example.com/ok --cacert "$T/ca.pem"
wait_for 10 is_told '.process_close | .socket.dport == 443 and .route == "kernel" and .visibility == "opaque"'
ok
