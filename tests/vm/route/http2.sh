# http2: a client that speaks HTTP/2 and lets the kernel encrypt does the same in two pods, one on each route, and what
# is told of its streams is equal, field by field; of TLS 1.3 without the answers, which the kernel does not
# decrypt. The server's pod tells the same.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

printf '%s\n' 'openssl_conf = all' '[all]' 'ssl_conf = ssl' '[ssl]' 'system_default = tls' '[tls]' 'Options = KTLS' >"$T/ktls.cnf"
head -c 20000 "$T/www/of12" >"$T/twenty"
ask_http2() { # POD PORT: on two connections
    local url=https://127.0.0.1:$2 client=(in_pod "$1" "OPENSSL_CONF=$T/ktls.cnf" nghttp -n -H "x-port: $2")
    { "${client[@]}" "$url/a" "$url/a?q=1" "$url/none" "$url/of12" "$url/empty" && "${client[@]}" -d "$T/twenty" "$url/post/h2"; } \
        >"$T/out" 2>&1 || fail "the client, on route $1: $(cat "$T/out")"
}
requests() { # POD LINES: behind so many lines
    told_of "$1" "$2" | jq -c --arg all "$h2_of12" '.process_http // empty | select(.method) | {host, method, url, path, protocol,
        stream, request_headers, request_bytes, error} + if any(.request_headers[]; .key == "x-port" and .value == $all)
        then {code, response_bytes, response_headers: .response_headers | map(select(.key != "date"))} else {} end' | LC_ALL=C sort
}
for pod in proxy kernel; do
    rm -f "$T"/put/*
    lines=$(so_far) closes=$(count $pod close) before=$(encrypted)
    ask_http2 $pod "$h2_of12"
    ask_http2 $pod "$http2"
    wait_for 10 has_told $pod close $((closes + 4))
    requests $pod "$lines" >"$T/$pod.http2"
done
[ "$(encrypted)" -ge $((before + 8)) ] || fail "of the four connections the kernel encrypted both ends: from $before to $(encrypted)"
diff "$T/proxy.http2" "$T/kernel.http2" | cut -c 1-1500 >&9 || fail "the routes tell differently of HTTP/2"
expect_eq "requests, answers" "12 6" "$(wc -l <"$T/kernel.http2") $(grep -c '"code":' "$T/kernel.http2")"
expect_eq "how they were seen" "12 12 12" "$(tail -n +$((lines + 1)) "$EVENTS" | grep '^{"process_http".*"name":"kernel"' | tee "$T/seen" | wc -l
    ) $(grep -c '"protocol":"HTTP/2"' "$T/seen") $(grep -c '"visibility":"ktls","route":"kernel"' "$T/seen")"
has_heard_http2() { [ "$(tail -n +$((lines + 1)) "$EVENTS" | grep '^{"process_http".*"name":"served"' | grep -c '"method"')" -ge 6 ]; }
wait_for 10 has_heard_http2
requests served "$lines" >"$T/served.http2"
grep '"code":' "$T/kernel.http2" | diff - "$T/served.http2" | cut -c 1-1500 >&9 || fail "the server's pod tells differently of HTTP/2"
echo "ok: both routes, and both ends, tell the same of HTTP/2 by kTLS, $backend on $(uname -r)"
