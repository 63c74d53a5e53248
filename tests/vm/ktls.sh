#!/usr/bin/env bash
# Promise: on the kernel route, who lets the kernel encrypt goes on doing so, and what it says is told
# and judged as by the proxy: a client and nginx as a server, both in the pod, TLS 1.2 and 1.3, AES-GCM
# and ChaCha20. One command for all: the guest is slow. ktls.sh lsm|sockmap
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r aes128 aes256 chacha <<<"$(free_ports 3)"
OF_12=ECDHE-ECDSA
KTLS='ssl_conf_command Options KTLS; ssl_conf_command Ciphersuites'
nginx_server "$aes128" origin "$KTLS TLS_AES_128_GCM_SHA256; ssl_ciphers $OF_12-AES128-GCM-SHA256;"
nginx_server "$aes256" origin "$KTLS TLS_AES_256_GCM_SHA384; ssl_ciphers $OF_12-AES256-GCM-SHA384;"
nginx_server "$chacha" origin "$KTLS TLS_CHACHA20_POLY1305_SHA256; ssl_ciphers $OF_12-CHACHA20-POLY1305;"
nginx_conf
URLS=()
for port in "$aes128" "$aes256" "$chacha"; do
    URLS+=("12:https://127.0.0.1:$port/of12" "13:https://127.0.0.1:$port/of13")
done
head -c 100000 /dev/urandom | tee "$T/www/of12" "$T/www/of13" >"$T/www/admin"
cat >"$T/policy.yaml" <<'POLICY'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: ktls}
spec:
  route: kernel
  egress:
  - toEntities: [all]
    toPorts:
    - ports: [{port: "1", endPort: 65535, protocol: TCP}]
      rules: {http: [{method: GET, path: "/of1[23]"}]}
POLICY

# the file comes with the module
encrypted() { { cat /proc/net/tls_stat 2>/dev/null || true; } | awk '$1 == "TlsTxSw" { n = $2 } END { print n + 0 }'; }
before=$(encrypted)
expect_status "the command" 0 exec_local --route kernel --policy "$T/policy.yaml" -- bash -c '
    nginx -c "$0/nginx.conf" -e "$0/nginx.log" & server=$!
    until (exec 3<>/dev/tcp/127.0.0.1/'"$chacha"') 2>/dev/null; do sleep 0.1; done
    "$@"; kill $server; wait' "$T" /usr/bin/python3 "$HERE/ktls.py" "$T/ca.pem" "${URLS[@]}" \
    "13:https://127.0.0.1:$aes128/admin" >"$T/out" 2>"$T/client.err"
cat "$T/out"

expect_eq "the client, and that the kernel encrypts" \
    "$(for _ in 1 2 3; do printf '%s\n' "/of12 200 TLSv1.2 tx/rx" "/of13 200 TLSv1.3 tx/-"; done
       echo "/admin SSLEOFError TLSv1.3 tx/-")" "$(cat "$T/out")" # what Python's OpenSSL makes of EPERM
# both ends of each connection; exec itself has tried it once or twice
[ "$(encrypted)" -ge $((before + 14)) ] || fail "connections that the kernel encrypted: from $before to $(encrypted)"

told() { # BINARY: what its process said: or heard, if it is a server
    events "[.[].process_http // empty | select(.process.binary | endswith(\"/$1\")) |
        \"\(.method // \"-\") \(.path // \"-\") \(.code // \"-\") \(.visibility) \(.route) \(.verdict)\"] | sort | join(\"\\n\")"
}
expect_eq "the client's requests" \
    "$(echo "GET /admin - ktls kernel deny"; printf 'GET /of12 200 ktls kernel allow\n%.0s' 1 2 3
       printf 'GET /of13 - ktls kernel allow\n%.0s' 1 2 3)" "$(told "$(basename "$(realpath /usr/bin/python3)")")"
expect_eq "the server's answers, and the requests that the kernel decrypted" \
    "$(printf -- '- - 200 ktls kernel\n%.0s' 1 2 3; printf 'GET /of12 200 ktls kernel\n%.0s' 1 2 3)" \
    "$(told nginx | sed 's/ [^ ]*$//')" # its pod's rules are not about these
expect_no_grep "what was denied came" '/admin' "$T/access"
expect_all_seq
echo "ok: $1 on $(uname -r)"
