#!/usr/bin/env bash
# Promise: a program and a server agree through us on what they would have agreed on without us, or not
# at all: versions, cipher suites, kinds of certificate, early data. What goes on after the handshake
# (new keys, attempts to renegotiate) is borne in its measure, and ended with a reason beyond it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
: "${CHATTER:=$(dirname "$SALLYPORT")/tests/netns/chatter}"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
openssl req -config "$T/openssl.cnf" -x509 -newkey rsa:2048 -nodes -keyout "$T/rsa.key" -out "$T/rsa.pem" -days 20 \
    -CA "$T/ca.pem" -CAkey "$T/ca.key" -subj /CN=rsa -addext "subjectAltName=$ORIGIN_SAN" \
    -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature,keyEncipherment \
    -addext extendedKeyUsage=serverAuth 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
openssl dhparam -dsaparam -out "$T/dh.pem" 2048 2>/dev/null
read -r ecdsa rsa old13 old12 weak early talk named <<<"$(free_ports 8)"
nginx_server "$ecdsa" origin
nginx_server "$rsa" rsa "ssl_dhparam $T/dh.pem; ssl_ciphers DEFAULT;"
nginx_server "$old12" rsa 'ssl_protocols TLSv1.2;'
nginx_server "$old13" origin 'ssl_protocols TLSv1.3;'
nginx_server "$weak" rsa 'ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA;'
nginx_server "$early" origin 'ssl_early_data on;'
make_cert named ca DNS:localhost,DNS:other.test
nginx_server "$named" named
start_nginx
echo small >"$T/www/small"
tls() { events '.[].process_tls // empty | "\(.version // "-") \(.error // "well")"'; }
ended() { events '[.[].process_close // empty][0] | .error // "well"'; } # of the first connection

# ---- the same outcome as direct ----------------------------------------------------
request='GET /small HTTP/1.0\r\n\r\n'
# outcome PREFIX...: the version, cipher and kind of signature that s_client ends up with, or the alert
s_client() { # PORT OPTIONS...
    { printf '%b' "$request" | "${through[@]}" openssl s_client -connect "localhost:$1" -servername localhost -ign_eof \
        -verify_return_error "${@:2}" 2>&1 || true; } | awk '
            /^New, / { cipher = $NF }
            /^Peer signature type/ { kind = $NF }
            /SSL alert number/ { alert = "alert " $NF }
            /^small/ { served = " served" }
            END { print (alert != "" ? alert : cipher " " kind served) }'
}
same() { # WHAT PATTERN PORT OPTIONS...: so it ends, without us and with us (TLS_…: it is 1.3)
    local what=$1 pattern=$2 direct
    shift 2
    through=("${CLEAN[@]}" "SSL_CERT_FILE=$T/ca.pem")
    direct=$(s_client "$@")
    [[ $direct =~ $pattern ]] || fail "$what, direct: '$direct' is not like '$pattern'"
    through=("${EXEC_LOCAL[@]}" --)
    expect_eq "$what, as direct" "$direct" "$(s_client "$@")"
    echo "ok: $what: $direct"
}
same "nothing special" '^TLS_.*ECDSA served' "$ecdsa"
same "TLS 1.3 only, a server of 1.2 only" '^alert 70$' "$old12" -tls1_3
expect_grep "is told" 'alert.*protocol version' <(tls)
same "TLS 1.2 only, a server of 1.3 only" '^alert 70$' "$old13" -tls1_2
same "TLS 1.1 only" '^alert 70$' "$ecdsa" -tls1_1 -cipher DEFAULT:@SECLEVEL=0
expect_grep "passed on" passthrough <(events '.[].process_close // empty | .route')
same "strong ciphers only, a weak server" '^alert 40$' "$weak" -tls1_2 -cipher ECDHE+AESGCM
same "any cipher, a weak server" '^AES128-SHA +served' "$weak" -tls1_2 -cipher AES128-SHA
same "ECDSA only, a server with RSA" '^alert 40$' "$rsa" -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256
same "ciphers that nobody has" '^alert 40$' "$ecdsa" -tls1_2 -cipher CAMELLIA128-SHA
same "RSA signs, 1.2" '^ECDHE-RSA-AES128-GCM-SHA256 RSA-PSS served' "$rsa" -tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256
same "RSA signs, 1.3" '^TLS_.*RSA-PSS served' "$rsa" -sigalgs RSA-PSS+SHA256:RSA+SHA256
same "RSA decrypts" '^AES256-GCM-SHA384 ' "$rsa" -tls1_2 -cipher AES256-GCM-SHA384
same "finite fields, RSA signs" '^DHE-RSA-AES128-GCM-SHA256 RSA-PSS served' "$rsa" -tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256
same "old names of signatures" ' RSA served' "$rsa" -tls1_2 -sigalgs RSA+SHA256

# no name is told, but known to the client: the server's own names are for it to judge
unnamed() { # PORT NAME
    { "${through[@]}" openssl s_client -connect "127.0.0.1:$1" -noservername -verify_hostname "$2" -verify_return_error \
        </dev/null 2>&1 || true; } | sed -n 's/.*Verify return code: //p' | sort -u
}
for through in "clean SSL_CERT_FILE=$T/ca.pem" "exec_local --"; do
    read -ra through <<<"$through"
    expect_eq "${through[0]}, no SNI, its name" '0 (ok)' "$(unnamed "$named" other.test)"
    expect_eq "${through[0]}, no SNI, not its name" '62 (hostname mismatch)' "$(unnamed "$named" www.test)"
    expect_status "${through[0]}, no SNI, an address that it is not for" 60 \
        "${through[@]}" curl -sS "https://127.0.0.1:$named/small" 2>"$T/client.err"
done
echo "ok: no name"

# other stacks that know RSA only
expect_status "curl, RSA only" 0 exec_local -- curl -sS -o "$T/answer" --tls-max 1.2 \
    --ciphers ECDHE-RSA-AES128-GCM-SHA256 "https://localhost:$rsa/small"
expect_status "GnuTLS, RSA only" 0 exec_local -- gnutls-cli -p "$rsa" --priority \
    'NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-RSA' localhost >"$T/out" 2>&1 </dev/null
expect_grep "GnuTLS verifies" 'Status: The certificate is trusted' "$T/out"
# many of them at once, before there is such a key
expect_eq "RSA only, 20 at once" 20 "$(exec_local -- sh -c 'for i in $(seq 20); do
    curl -s --tls-max 1.2 --ciphers ECDHE-RSA-AES128-GCM-SHA256 "$0" & done; wait' "https://localhost:$rsa/small" | grep -c small)"
echo "ok: RSA only"

# ---- early data for a server spoken to before --------------------------------------
printf '%b' "$request" | clean openssl s_client -connect "localhost:$early" -servername localhost -CAfile "$T/ca.pem" \
    -ign_eof -sess_out "$T/session" >"$T/out" 2>&1
grep -q 'Max Early Data: [1-9]' "$T/out" || fail "nginx gave no ticket for early data"
printf 'GET /early HTTP/1.0\r\n\r\n' >"$T/early"
try_early() { printf '%b' "$request" | "$@" openssl s_client -connect "localhost:$early" -servername localhost \
    -ign_eof -sess_in "$T/session" -early_data "$T/early" >"$T/out" 2>&1; }
try_early clean
expect_grep "direct, it is accepted" 'Early data was accepted' "$T/out"
printf '%b' "$request" | clean openssl s_client -connect "localhost:$early" -servername localhost -CAfile "$T/ca.pem" \
    -ign_eof -sess_out "$T/session" >"$T/out" 2>&1
head -c 15000 /dev/zero >>"$T/early"
: >"$T/access"
try_early exec_local --
expect_grep "through us it is rejected" 'Early data was rejected' "$T/out"
expect_grep "and the client goes on without" '^small' "$T/out"
expect_eq "requests told" "/small" "$(events '.[].process_http // empty | .path')"
expect_no_grep "no early request reached the origin" '/early' "$T/access"
echo "ok: early data"

# ---- renegotiation -----------------------------------------------------------------
(sleep 0.5; printf 'R\n'; sleep 0.5) | exec_local -- openssl s_client -connect "localhost:$ecdsa" -servername localhost \
    -tls1_2 >"$T/out" 2>"$T/client.err" || true
expect_grep "s_client is refused" 'no renegotiation' "$T/client.err"
echo "ok: renegotiation refused"

# ---- new keys, and no end of it ----------------------------------------------------
chatter_client() { exec_local -- "$CHATTER" client "$1" "$2" 2>"$T/client.err"; }
chatter_server() { # COUNT: how curl fares with two requests
    background "${CLEAN[@]}" "$CHATTER" server "$talk" "$T/origin.pem" "$T/origin.key" "$1" 2>"$T/chatter.err"
    wait_for 10 grep -q ":$(printf %04X "$talk") 0*:0000 0A" /proc/net/tcp
    exec_local -- curl -sS "https://localhost:$talk/one" "https://localhost:$talk/two" >"$T/out" 2>"$T/client.err"
}
expect_status "a client with new keys now and then" 0 chatter_client "$ecdsa" 8
expect_eq "requests told" "200 200" "$(events '.[].process_http // empty | .code' | xargs)"
expect_status "a client with new keys without end" 3 chatter_client "$ecdsa" 100000
expect_eq "why it was ended" "the program's side: handshake messages (KeyUpdate and such) without end" "$(ended)"
expect_status "a server with new keys now and then" 0 chatter_server 8
expect_eq "requests answered" 2 "$(grep -c small "$T/out")"
status=0
chatter_server 100000 || status=$?
[ $status != 0 ] || fail "a server that talks without end was listened to"
expect_eq "why it was ended" "the upstream's side: handshake messages (KeyUpdate and such) without end" "$(ended)"
echo "ok: new keys"
