# golden: a client that lets the kernel encrypt does the same in two pods, one on each route, and what is
# told of it is equal, field by field, but for the route, ports, cookies and times, what TLS adds to the
# bytes, the protocol and the certificate that a server chooses encrypted (TLS 1.3), the certificate that a
# resumed session has of its beginning, and the answers that the kernel does not decrypt: OpenSSL 3.0 reads
# TLS 1.3 by itself. The server's pod, on the kernel route, tells the same requests and answers, and the
# same of TLS.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

echo hello >"$T/www/a"
: >"$T/www/empty"
declare -A told
for pod in proxy kernel; do
    told[$pod]=$(count $pod '') told[served]=$(count served '')
    closes=$(count $pod close)
    rm -f "$T"/put/*
    in_pod $pod /usr/bin/python3 "$HERE/route/ktls.py" "$T/trusted.pem" golden "localhost:$aes128" >"$T/$pod.said" \
        2>"$T/client.err" || fail "the client, on route $pod: $(cat "$T/client.err")"
    wait_for 10 has_told $pod close $((closes + 4))
done
diff "$T/proxy.said" "$T/kernel.said" >&9 || fail "the client hears differently"
expect_eq "where the kernel encrypts" "TLSv1.2 tx/rx TLSv1.2 tx/rx resumed TLSv1.3 tx/- TLSv1.3 tx/- resumed" "$(grep -o 'TLSv.*' "$T/kernel.said" | uniq | paste -sd ' ')"

news_of() { told_of "$1" | tail -n +$((told[$1] + 1)); } # POD: what was told since
HEARD='.process_http // empty | select(.method) | {method, url, protocol, request_headers, request_bytes, code, response_headers, response_bytes}'
has_heard() { [ "$(news_of served | jq -c "$HEARD" | wc -l)" -ge "$1" ]; }
wait_for 10 has_heard 11
SAME='map_values(del(.parent, .time, .route, .visibility, .latency_ns, .duration_ns, .tx, .rx, .socket.sport,
        .socket.cookie)
    | .process |= {binary, arguments} | if .response_headers then .response_headers |= map(select(.key | ascii_downcase != "date")) else . end
    | if any(.request_headers[]?; .key == "X-Tls" and .value == "13") then del(.code, .response_headers, .response_bytes) else . end)'
SEEN='if .process_tls.version == "TLS1.3" then del(.process_tls.alpn, .process_tls.server)
    elif .process_tls.resumed then del(.process_tls.server) else . end' # of what the proxy tells
news_of proxy | jq -c "$SAME | $SEEN" | LC_ALL=C sort >"$T/proxy.golden"
news_of kernel | jq -c "$SAME" | LC_ALL=C sort >"$T/kernel.golden"
diff "$T/proxy.golden" "$T/kernel.golden" | cut -c 1-1500 >&9 || fail "the routes tell differently"
expect_eq "requests" 22 "$(grep -c process_http "$T/kernel.golden")"
expect_eq "handshakes, sessions that go on, certificates" "4 2 1" \
    "$(jq -rs '[.[].process_tls // empty] | "\(length) \(map(select(.resumed)) | length) \(map(select(.server)) | length)"' "$T/kernel.golden")"
expect_eq "protocols and certificates that the proxy tells" "4 4" \
    "$(news_of proxy | jq -rs '[.[].process_tls // empty] | "\(map(select(.alpn)) | length) \(map(select(.server)) | length)"')"
news_of kernel | jq -c "$HEARD"' | select(any(.request_headers[]; .key == "X-Tls" and .value == "12"))' | sort >"$T/client.golden"
news_of served | jq -c "$HEARD" | sort | diff "$T/client.golden" - | cut -c 1-1500 >&9 || fail "the server's pod tells differently"
expect_eq "requests by TLS 1.2" 11 "$(wc -l <"$T/client.golden")"
TLS='.process_tls // empty | {sni, version, cipher, alpn, resumed, ja4, server}'
news_of kernel | jq -c "$TLS" | sort >"$T/client.golden"
news_of served | jq -c "$TLS" | sort | diff "$T/client.golden" - | cut -c 1-1500 >&9 || fail "the server's pod tells differently of TLS"
echo "ok: both routes, and both ends, tell the same of kTLS, $backend on $(uname -r)"
