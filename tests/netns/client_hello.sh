#!/usr/bin/env bash
# Promise: however a program's ClientHello is cut, however large it is and whatever stands in it, the
# program is answered as it would be direct; and what can be read is read.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

printf -v labels '%.0sn' {1..60}
make_ca ca
printf -v letters '%.0sa.' {1..100}
make_cert origin ca "$ORIGIN_SAN,DNS:*.names.test,DNS:under_score.names.test,DNS:${letters}names.test,DNS:$labels.$labels.$labels.$labels.names.test"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
echo small >"$T/www/small"

# ---- the same answers as direct ---------------------------------------------------
cuts=64
[ -z "$FULL" ] || cuts=1
hellos=(/usr/bin/python3 "$HERE/client_hello.py" "$port" "$cuts")
clean SSL_CERT_FILE="$T/ca.pem" "${hellos[@]}" >"$T/direct"
exec_local -- "${hellos[@]}" >"$T/answers"
diff "$T/direct" "$T/answers" >&9 || fail "not answered as direct (<)"

# and as it must be: a table that fails where both go wrong
well=$(grep -c ': TLSv1[.][23] 200$' "$T/answers")
[ "$well" -ge 35 ] || fail "only $well handshakes ended well"
expect_no_grep "none that is cut fails" '^(cut at|a byte in|records of|record version|[0-9]+ protocols).*: [^T]' "$T/answers"
expect_lines "first answers" "$T/answers" \
    '^no name: ServerHello' '^SNI: a closing dot: ServerHello' '^SNI: two names: alert 50' \
    '^a post-quantum share, in records of 16384: ServerHello' '^a post-quantum share, in records of 300: ServerHello' \
    '^nothing but a share nobody knows: HelloRetryRequest' '^padded to 40 kB: ServerHello' '^GREASE: ServerHello' \
    '^compressed certificates: ServerHello' '^an unknown extension twice: ServerHello' '^groups twice: alert 47' \
    '^no session id.*: ServerHello' '^nothing above 0302: alert 70' '^an empty record in front: ServerHello'
# nothing of it because it passed unread
expect_eq "requests read" "$well" "$(events '[.[].process_http // empty | select(.code == 200)] | length')"
expect_eq "each connection is told to its end" true \
    "$(events '([.[].process_connect // empty] | length) == ([.[].process_close // empty] | length)')"
echo "ok: $(wc -l <"$T/answers") ClientHellos"

# ---- a HelloRetryRequest, to the end -----------------------------------------------
# the client's only share is of a curve that OpenSSL does not offer
served() { grep -q '^small' "$T/out"; }
(printf 'GET /small HTTP/1.0\r\n\r\n'; wait_for 10 served) |
    exec_local -- gnutls-cli -d 4 -p "$port" --single-key-share --priority \
        'NORMAL:-GROUP-ALL:+GROUP-SECP192R1:+GROUP-X25519' localhost >"$T/out" 2>"$T/client.err"
expect_grep "asked to try again" 'HELLO RETRY REQUEST' "$T/client.err"
expect_grep "served" '^small' "$T/out"
expect_eq "told" "TLS1.3 200" "$(events '(.[].process_tls // empty | .version), (.[].process_http // empty | .code)' | xargs)"
echo "ok: HelloRetryRequest"
