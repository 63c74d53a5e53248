#!/usr/bin/env bash
# Promise: /metrics adds up to what pods did and to what events told, without a word of what they
# said, and is clean for promtool; /livez and /readyz say how the agent is; clients who are slow,
# silent, many or mad keep nobody from it; a port that is taken is told, and '' opens none.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"
add_pod() { # NAME
    make_cgroup "$1"
    pods add --cgroup "$CGROUPS/$1" --netns "/run/netns/$POD" --name "test/$1"
}
in_web() { "${IN_CGROUP[@]}" "$CGROUPS/web" "${IN_POD[@]}" "${CLEAN[@]}" "$@"; }

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_cert self self DNS:self.test
make_namespaces
start_dnsmasq host-record=origin.test,203.0.113.10
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 8443 self
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
head -c 100000 /dev/urandom >"$T/www/secret-file"

read -r port <<<"$(free_ports 1)"
agent_up --admin-address "127.0.0.1:$port"
add_pod web

admin() { curl -sS --max-time 15 "$@"; }
metrics() { admin "http://127.0.0.1:$port/metrics"; }
metric() { awk -v name="$1" '$1 == name { print $2; found = 1 } END { if (!found) print "none" }' "$T/metrics"; }
get() { in_web "${OWN_DNS[@]}" curl -s --cacert "$T/trusted.pem" --max-time 20 "$@" >/dev/null || true; }

# ---- slow ones: they have ten seconds, while the rest goes on ---------------------

cat >"$T/slow.py" <<'PY'
import socket, sys, time
# A head, a byte each half second: for how long is it listened to?
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
start = time.monotonic()
try:
    for byte in b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000:
        s.sendall(bytes([byte]))
        time.sleep(0.5)
except OSError:
    pass
print(int(time.monotonic() - start))
PY
/usr/bin/python3 "$T/slow.py" "$port" >"$T/slow" &
slow=$!
PIDS+=("$slow")

# ---- what pods do ------------------------------------------------------------------

get https://origin.test/secret-file https://origin.test/secret-file https://origin.test/secret-missing
get --max-redirs 0 http://203.0.113.10/204
get https://203.0.113.10:8443/ # a certificate that nobody trusts
get --cacert "$T/self.pem" https://origin.test/ # a program that does not trust us
get http://unknown.test/ # no such name
all_closed() { # as many closes as connects
    jq -s -e 'map(select(.process_connect)) | length as $n | $n > 6' "$EVENTS" &&
        jq -s -e '(map(select(.process_connect)) | length) == (map(select(.process_close)) | length)' "$EVENTS"
}
wait_for 20 all_closed
metrics >"$T/metrics"
promtool check metrics <"$T/metrics" >"$T/promtool" 2>&1 || fail "promtool: $(cat "$T/promtool")"
expect_eq "what promtool says" '' "$(cat "$T/promtool")"

for type in process_exec process_exit process_connect process_dns process_tls process_http process_close; do
    expect_eq "$type events" "$(grep -c "^{\"$type\"" "$EVENTS")" "$(metric "sallyport_events_total{type=\"$type\"}")"
done
requests() { metric "sallyport_http_requests_total{status=\"$1\",verdict=\"allow\"}"; }
expect_eq "requests with 2xx, 4xx, 5xx" "3 1 0" "$(requests 2xx) $(requests 4xx) $(requests 5xx)"
expect_eq "answers' times" 4 "$(metric sallyport_http_request_duration_seconds_count)"
expect_eq "the last bucket" 4 "$(metric 'sallyport_http_request_duration_seconds_bucket{le="+Inf"}')"
expect_eq "times in all, in seconds" true "$(jq -s --argjson sum "$(metric sallyport_http_request_duration_seconds_sum)" \
    '(map(.process_http.latency_ns // "0" | tonumber) | add) / 1e9 - $sum | fabs < 1e-6' "$EVENTS")"
for resumed in true false; do
    expect_eq "handshakes, resumed: $resumed" "$(jq -s "map(select(.process_tls.version and .process_tls.resumed == $resumed)) | length" "$EVENTS")" \
        "$(metric "sallyport_tls_handshakes_total{version=\"TLS1.3\",resumed=\"$resumed\"}")"
done
expect_eq "refused: the server's certificate, ours" "1 1" \
    "$(metric 'sallyport_tls_failures_total{leg="upstream",reason="certificate"}') $(metric 'sallyport_tls_failures_total{leg="pod",reason="certificate"}')"
for rcode in NOERROR NXDOMAIN; do
    expect_eq "answers with $rcode" "$(jq -s "map(select(.process_dns.dns.rcode == \"$rcode\")) | length" "$EVENTS")" \
        "$(metric "sallyport_dns_answers_total{rcode=\"$rcode\"}")"
done
[ "$(metric 'sallyport_dns_answers_total{rcode="NXDOMAIN"}')" -gt 0 ] || fail "no NXDOMAIN was counted"
for way in sent:tx received:rx; do
    expect_eq "bytes ${way%:*}" "$(jq -s "map(.process_close // empty | select(.socket.protocol == \"TCP\") | .${way#*:} | tonumber) | add" "$EVENTS")" \
        "$(metric "sallyport_flow_${way%:*}_bytes_total{protocol=\"TCP\"}")"
done
expect_eq "flows that were read" "$(jq -s 'map(select(.process_close.visibility == "terminated")) | length' "$EVENTS")" \
    "$(metric 'sallyport_flows_total{protocol="TCP",route="proxy",visibility="terminated"}')"
expect_eq "pods, open flows, losses" "1 0 0" \
    "$(metric sallyport_pods) $(metric sallyport_open_flows) $(metric 'sallyport_events_lost_total{reason="ring"}')"
expect_eq "the CA's end" "$(date -d "$(openssl x509 -in "$T/agent.pem" -noout -enddate | cut -d = -f 2)" +%s)" \
    "$(metric sallyport_ca_not_after_seconds)"
[ "$(metric process_resident_memory_bytes)" -gt 1000000 ] || fail "no memory is resident"
expect_no_grep "what was said" 'secret|origin|unknown\.test|203\.0\.113|192\.0\.2|curl' "$T/metrics"

# ---- HTTP -------------------------------------------------------------

code() { admin -o "$T/body" -w '%{http_code} %{content_type}' "$@"; }
expect_eq "/livez" "200 text/plain; charset=utf-8" "$(code "http://127.0.0.1:$port/livez")"
expect_eq "/readyz" "200 text/plain; charset=utf-8" "$(code "http://127.0.0.1:$port/readyz")"
expect_eq "/metrics" "200 text/plain; version=0.0.4; charset=utf-8" "$(code "http://127.0.0.1:$port/metrics")"
expect_eq "HEAD /metrics" 200 "$(code -I "http://127.0.0.1:$port/metrics" | cut -c 1-3)"
expect_eq "no such path" 404 "$(code "http://127.0.0.1:$port/debug/pprof" | cut -c 1-3)"
expect_eq "another method" 405 "$(code -d x=1 "http://127.0.0.1:$port/metrics" | cut -c 1-3)"
# ---- more than one agent ------------------------------------------------------------------

make_cgroup second
second=(--cgroup-root "$CGROUPS/second" --runtime-dir "$T/run2" --ca "$T/agent-ca")
expect_status "an agent whose port is taken" 1 sallyport run "${second[@]}" --admin-address "127.0.0.1:$port" 2>"$T/second.err"
expect_grep "why" "--admin-address: another program, perhaps another agent, listens at 127.0.0.1:$port" "$T/second.err"
expect_status "an address that is none" 2 sallyport run "${second[@]}" --admin-address localhost 2>"$T/wrong.err"
background "${CLEAN[@]}" "$SALLYPORT" run "${second[@]}" --admin-address '' >/dev/null 2>>"$T/second.err"
second_pid=$!
wait_for 30 sallyport pods list --runtime-dir "$T/run2"
expect_eq "where an agent without admin address listens" '' "$(ss -Hltnp | grep "pid=$second_pid," || true)"
kill -TERM $second_pid
wait $second_pid

# ---- mad ones ------------------------------------------------------------------------------

cat >"$T/mad.py" <<'PY'
import socket, sys
port = int(sys.argv[1])
def ask(what):
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(15)
    got = b""
    try:
        s.sendall(what)
        while data := s.recv(65536):
            got += data
    except ConnectionError:
        pass # it did not wait for all of a megabyte
    return got.split(b"\r\n")[0].decode()
print("garbage:", ask(b"\x16\x03\x01" + bytes(range(256))))
print("two lengths:", ask(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"))
print("long head:", ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000))
print("two requests:", ask(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 2))
ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 1000000)
silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(500)]
print("beside 500 silent ones:", ask(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"))
PY
wait "$slow" || fail "the slow client failed"
expect_eq "seconds that a slow client has" true "$(awk '{ print ($1 >= 9 && $1 <= 14) ? "true" : $1 }' "$T/slow")"
/usr/bin/python3 "$T/mad.py" "$port" >"$T/mad"
expect_eq "mad clients" "garbage: HTTP/1.1 400 Bad Request
two lengths: HTTP/1.1 400 Bad Request
long head: HTTP/1.1 431 Request Header Fields Too Large
two requests: HTTP/1.1 200 OK
beside 500 silent ones: HTTP/1.1 200 OK" "$(cat "$T/mad")"
agent_down
