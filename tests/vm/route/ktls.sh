# ktls: who lets the kernel encrypt on the kernel route goes on doing so, and what it says is told and
# judged as by the proxy: a client, and nginx as a server, TLS 1.2 and 1.3, AES-GCM and ChaCha20; what is
# no HTTP is opaque, as in the clear.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

URLS=()
for port in "$aes128" "$aes256" "$chacha"; do
    URLS+=("12:https://127.0.0.1:$port/of12" "13:https://127.0.0.1:$port/of13")
done
head -c 100000 /dev/urandom | tee "$T/www/of12" "$T/www/of13" >"$T/www/admin"
apply ktls kernel 'egress:' '- toEntities: [all]' '  toPorts:' \
    '  - ports: [{port: "1", endPort: 65535, protocol: TCP}]' '    rules: {http: [{method: GET, path: "/of1[23]"}]}'

before=$(encrypted)
in_pod kernel /usr/bin/python3 "$HERE/route/ktls.py" "$T/trusted.pem" "${URLS[@]}" "13:https://127.0.0.1:$aes128/admin" \
    >"$T/out" 2>"$T/client.err" || fail "the client: $(cat "$T/client.err")"
expect_eq "the client, and that the kernel encrypts" \
    "$(for _ in 1 2 3; do printf '%s\n' "/of12 200 TLSv1.2 tx/rx" "/of13 200 TLSv1.3 tx/-"; done
       echo "/admin SSLEOFError TLSv1.3 tx/-")" "$(cat "$T/out")" # what Python's OpenSSL makes of EPERM
[ "$(encrypted)" -ge $((before + 14)) ] || fail "connections that the kernel encrypted: from $before to $(encrypted)"
wait_for 10 has_told kernel close 7
wait_for 10 has_told served http 6

ciphers() { # POD PORT: sport or dport, the server's
    told_of "$1" | jq -r --arg port "$2" '.process_tls // empty | "\(.socket[$port]) \(.version) \(.cipher) \(.visibility) \(.route)"' | sort -u
}
for pod in kernel:dport served:sport; do
    expect_eq "TLS of ${pod%:*}" "$(sort <<CIPHERS
$aes128 TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 ktls kernel
$aes128 TLS1.3 TLS_AES_128_GCM_SHA256 ktls kernel
$aes256 TLS1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 ktls kernel
$aes256 TLS1.3 TLS_AES_256_GCM_SHA384 ktls kernel
$chacha TLS1.2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 ktls kernel
$chacha TLS1.3 TLS_CHACHA20_POLY1305_SHA256 ktls kernel
CIPHERS
)" "$(ciphers "${pod%:*}" "${pod#*:}")"
done
said() { # POD: its requests, or the answers to them and what it could hear of them, if it is a server
    told_of "$1" | jq -r '.process_http // empty |
        "\(.method // "-") \(.path // "-") \(.code // "-") \(.visibility) \(.route) \(.verdict)"' | sort
}
expect_eq "the client's requests" \
    "$(echo "GET /admin - ktls kernel deny"; printf 'GET /of12 200 ktls kernel allow\n%.0s' 1 2 3
       printf 'GET /of13 - ktls kernel allow\n%.0s' 1 2 3)" "$(said kernel)"
expect_eq "the server's answers, and the requests that the kernel decrypted" \
    "$(printf -- '- - 200 ktls kernel\n%.0s' 1 2 3; printf 'GET /of12 200 ktls kernel\n%.0s' 1 2 3)" \
    "$(said served | sed 's/ [^ ]*$//')" # its pod's rules are not about these
wait_for 10 has_told served tls 7
tls() { told_of "$1" | jq -r '.process_tls // empty | "\(.version) \(.visibility)\(.visibility_reason // "")"' | sort | uniq -c | xargs; }
for pod in kernel served; do
    expect_eq "TLS, told once a connection: $pod" "3 TLS1.2 ktls 4 TLS1.3 ktls" "$(tls $pod)"
done
"${CLEAN[@]}" curl -sS --http2 --cacert "$T/ca.pem" -o "$T/got" "https://127.0.0.1:$http2/of13"
cmp -s "$T/got" "$T/www/of13" || fail "what nginx sends by HTTP/2"
wait_for 10 has_told served http 7
expect_eq "a server's answer by HTTP/2, the request of which it decrypts by itself" "HTTP/2 - 200 ktls 100000" \
    "$(told_of served | jq -r '.process_http // empty | select(.protocol == "HTTP/2") |
        "\(.protocol) \(.method // "-") \(.code) \(.visibility) \(.response_bytes)"')"
expect_eq "its TLS, told once" "3 TLS1.2 ktls 5 TLS1.3 ktls" "$(tls served)"
in_pod kernel /usr/bin/python3 "$HERE/route/urgent.py" "$aes128" >"$T/out" 2>"$T/client.err" || fail "who encrypts itself: $(cat "$T/client.err")"
expect_eq "who encrypts itself, and hides it" "plain no answer, urgent no answer" "$(paste -sd, "$T/out" | sed 's/,/, /g')"
expect_no_grep "what was denied came" '/admin' "$T/access"
remove ktls

apply lines kernel 'onNoVisibility: alert'
closes=$(count kernel close) seen=$(count kernel '')
in_pod kernel /usr/bin/python3 "$HERE/route/lines.py" "$T/origin.pem" "$T/origin.key" >"$T/out" 2>"$T/client.err" ||
    fail "who speaks in lines: $(cat "$T/client.err")"
expect_eq "who speaks in lines, and that the kernel encrypts" "TLSv1.2 tx/rx 250 tx/rx, TLSv1.3 tx/- 250 tx/-" \
    "$(paste -sd, "$T/out" | sed 's/,/, /')"
wait_for 10 has_told kernel close $((closes + 2))
of_lines() { told_of kernel | tail -n +$((seen + 1)) | jq -rs "$1"; }
expect_eq "how it is told" "opaque unknown, opaque unknown" \
    "$(of_lines 'map(.process_close // empty | "\(.visibility) \(.visibility_reason)") | join(", ")')"
expect_eq "... to whom nothing may stay unseen" "alert alert" "$(of_lines 'map(.process_policy // empty | .verdict) | join(" ")')"
expect_eq "no requests" 0 "$(of_lines 'map(.process_http // empty) | length')"
remove lines
echo "ok: kTLS, $backend on $(uname -r)"
