#!/usr/bin/env bash
# Promise: what is told of plain HTTP, and of TLS, on the kernel route is what is told on the proxy route: the same
# clients do the same on either, and the events are equal, field by field, but for the route, ports,
# cookies and times, and of HTTP/2, which the proxy speaks itself, the bytes on the wire: also of what a server
# leaves unanswered. Nor does it matter how what is said is cut into pieces. What a server's pod hears, here
# Apache's, is what its clients said.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/apache.sh
. "$HERE/../harness/apache.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
for ns in IN_POD IN_UPSTREAM; do # without cookies, by every listener
    declare -n in=$ns
    "${in[@]}" sysctl -qw net.ipv4.tcp_fastopen=0x607
done
background "${IN_UPSTREAM[@]}" /usr/bin/python3 "$HERE/connect_proxy.py" "$T/origin.pem" "$T/origin.key" >"$T/ports"
wait_for 20 grep -q echo "$T/ports"
proxy() { sed -n "s/^$1 /203.0.113.10:/p" "$T/ports"; } # NAME
printf 'silent\nshow-error\n' >"$T/.curlrc"
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
NGINX_SPEAKS=http2 nginx_server 8080
TICKETS=443 NO_TICKETS=444 H2=445 # the suite is the server's choice, for the proxy offers them in another order
CHOOSES='ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384; ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256;'
nginx_server $TICKETS origin "$CHOOSES"
nginx_server $NO_TICKETS origin "$CHOOSES ssl_session_tickets off; ssl_session_cache shared:golden:1m;"
NGINX_SPEAKS=http2 nginx_server $H2 origin "$CHOOSES"
start_nginx "${IN_UPSTREAM[@]}"
head -c 300000 /dev/urandom >"$T/www/a"
head -c 2000000 /dev/urandom >"$T/upload"
# curl 7.88 says bytes twice by HTTP/2 when a socket takes a part of them (so it does without us where
# tcp_wmem is small): what a socket takes whole
head -c 50000 "$T/upload" >"$T/small"
: >"$T/www/empty"
seq 1 100000 >"$T/www/text"
SEEDS=$((${FULL:+40} + 3))
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" "$SALLYPORT" exec --route kernel --ports all -o json \
    --events-file "$T/served" -- /usr/bin/python3 "$HERE/kernel_replay.py" serve 203.0.113.10 8443 "$SEEDS"
apache_conf 203.0.113.10:8081
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" "$SALLYPORT" exec --route kernel --ports all -o json \
    --events-file "$T/heard" -- apache2 -f "$T/apache.conf" -DFOREGROUND 2>"$T/apache.err"
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" "$SALLYPORT" exec --route kernel --ports all -o json \
    --events-file "$T/closed" -- /usr/bin/python3 "$HERE/kernel_golden_ends.py" serve 203.0.113.10 8082
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" "$SALLYPORT" exec --route kernel --ports all -o json \
    --events-file "$T/reset" -- /usr/bin/python3 "$HERE/http2_resets.py" serve 203.0.113.10 8083
for port in $((8443 + SEEDS)) 8081 8082 8083; do
    wait_for 20 "${IN_UPSTREAM[@]}" bash -c "exec 3<>/dev/tcp/203.0.113.10/$port"
done

cat >"$T/work.sh" <<WORK
cd $T && set -e
u=http://203.0.113.10 h=http://203.0.113.10:8080
curl \$u/a -o 1 \$u/a?q=1 -o 2 \$u/empty -o 3 \$u/none -o 4
curl -I \$u/a --next -o 5 \$u/204 --next -d x=y -o 6 \$u/post/small
curl -T - \$u/put/chunked <upload
curl --data-binary @upload \$u/post/large
curl -o 7 \$u/chunked/a
curl -o 8 -H "X-Large: $(printf 'v%.0s' {1..7000})" \$u/a
curl -x \$u:80 http://other.example/a -o 9
curl -px $(proxy proxy) \$u/a -o 10 \$u/a?tunnel -o 10 \$u/none -o 10
curl -px $(proxy proxy) -d x=y -o 10 \$u/post/tunnel
curl -px $(proxy proxy) --http2-prior-knowledge -o 10 \$h/a
curl -px $(proxy asks_password) --proxy-anyauth -U a:b -o 10 \$u/a
/usr/bin/python3 $HERE/kernel_replay.py tunnels $(proxy proxy | tr : ' ') 203.0.113.10:80
/usr/bin/python3 $HERE/kernel_replay.py syn 203.0.113.10 80
for i in a 'a?q=1' none; do curl --http2-prior-knowledge -o 10 "\$h/\$i"; done
curl --http2-prior-knowledge -d x=y -o 11 \$h/post/h2
curl --http2-prior-knowledge -I \$h/a
curl --http2-prior-knowledge -T small \$h/put/h2
/usr/bin/python3 -c "import urllib.request as u; u.urlopen('\$u/a').read(); u.urlopen(u.Request('\$u/post/py', b'0' * 100000)).read()"
p=http://203.0.113.10:8081
curl \$p/a -o 12 \$p/a?q=1 -o 13 \$p/empty -o 14 \$p/none -o 15
curl -I \$p/a --next -o 16 \$p/204 --next -d x=y -o 17 \$p/a --next -o 18 -r 1-2,4-5 \$p/a
curl -T - -o 19 \$p/dav/chunked <upload
curl --compressed -o 20 \$p/packed/text
curl -o 21 -H "X-Large: $(printf 'v%.0s' {1..7000})" \$p/a
for i in a none; do curl --http2-prior-knowledge -o 22 \$p/\$i; done
curl --http2-prior-knowledge -T small -o 24 \$p/dav/h2
/usr/bin/python3 -c "import urllib.request as u; u.urlopen('\$p/a').read(); u.urlopen(u.Request('\$p/dav/py', b'0' * 100000, method='PUT')).read()"
/usr/bin/python3 $HERE/kernel_replay.py ask 203.0.113.10 8443 1
(cd $HERE && /usr/bin/python3 http2_resets.py ask 203.0.113.10 8083)
/usr/bin/python3 $HERE/kernel_golden_ends.py ask 203.0.113.10 8082
curl --http2-prior-knowledge http://203.0.113.10:8082/none && exit 1
exit 0
WORK

run_on() { # ROUTE: its events, without what may differ, in $T/ROUTE
    rm -f "$T"/put/* "$T"/dav/*
    clean "${IN_POD[@]}" "$SALLYPORT" exec --route "$1" --ports all -o json --events-file "$EVENTS" \
        -- sh "$T/work.sh" >"$T/out" 2>"$T/client.err" || fail "the work failed on route $1: $(cat "$T/client.err")"
    expect_all_seq
    expect_eq "route of all connections" "$1" \
        "$(events '[.[].process_connect // empty | .route] | unique | join(" ")')"
    jq -c 'del(.time, .seq, .node_name) | map_values(
        del(.parent) | .process |= {binary, arguments: (.arguments // "")[:80]}
        | (.process.arguments | test("--http2|http2_resets|chunked/a|packed")) as $other # servers cut it as they like
        | del(.route, .visibility, .latency_ns, .duration_ns, .socket.sport, .socket.cookie, .time)
        | if $other then del(.tx, .rx) else . end
        | if .response_headers then .response_headers |= map(select(.key | ascii_downcase != "date")) else . end)' \
        "$EVENTS" | LC_ALL=C sort >"$T/$1" # an exit waits for the close, the next program does not
}
run_on proxy
run_on kernel
expect_eq "requests" true "$(jq -s '[.[].process_http // empty] | length > 30' "$T/proxy")"
expect_eq "WebSockets" 1 "$(grep -c process_websocket "$T/proxy")"
diff "$T/proxy" "$T/kernel" | cut -c 1-1500 >&9 || fail "the routes tell differently"
echo "ok: both routes tell the same of $(grep -c process_http "$T/kernel") requests"

# who asks hears, and who is asked: what a server leaves unanswered
CLOSED="the server closed without an answer" RESET="the upstream's side: Connection reset by peer"
expect_eq "what is told of who closes, or resets" "$(printf '%s\n' \
    "- the upstream's answer was cut short" "- $RESET" "- $RESET" "/none $CLOSED" "/none $CLOSED" "/none $CLOSED" "/reset $RESET" "/reset $RESET")" \
    "$(jq -r '.process_http // .process_close // empty | select(.error and .socket.dport == 8082) | "\(.url // "-") \(.error)"' \
        "$T/kernel" | LC_ALL=C sort)"
unanswered() { jq -r '.process_http // empty | select(.error) | "\(.url) \(.error)"' "$T/closed"; }
all_unanswered() { [ "$(unanswered | wc -l)" -ge 8 ]; }
wait_for 20 all_unanswered
expect_eq "what the server's pod is told as" "$(printf '%s\n' "      4 /none $CLOSED" "      4 /reset $CLOSED")" "$(unanswered | sort | uniq -c)"
clean "${IN_POD[@]}" "$SALLYPORT" exec --route kernel --ports all -o json --events-file "$EVENTS" \
    -- /usr/bin/python3 "$HERE/kernel_golden_ends.py" leave 203.0.113.10 8082 2>"$T/client.err" || fail "leaving: $(cat "$T/client.err")"
expect_eq "what is told of a program that does not wait for all" "200 no error" \
    "$(events '[.[] | .process_http.code // empty, (.process_close // empty | .error // "no error")] | join(" ")')"
echo "ok: who ends a connection before its answer is told by both routes"

# ---- TLS that programs encrypt by themselves ------------------------------------------

cat >"$T/tls.sh" <<WORK
/usr/bin/python3 $HERE/kernel_golden_tls.py 203.0.113.10 origin.test $TICKETS $NO_TICKETS
for version in 1.2 1.3; do
    curl -sk --resolve origin.test:$H2:203.0.113.10 --tls-max \$version https://origin.test:$H2/a -o $T/curled -w '%{http_version}\n'
done
WORK
tls_on() { # ROUTE: what is told of TLS, as it came, in $T/ROUTE.tls
    clean "${IN_POD[@]}" "$SALLYPORT" exec --route "$1" --upstream-ca "$T/ca.pem" --ports all -o json --events-file "$EVENTS" \
        -- sh "$T/tls.sh" >"$T/$1.said" 2>"$T/client.err" || fail "TLS on route $1: $(cat "$T/client.err")"
    jq -cs 'map(select(.process_tls)) | sort_by(.time)[].process_tls
        | del(.parent, .time, .route, .visibility, .visibility_reason, .socket.sport, .socket.cookie)
        | .process |= {binary, arguments}' "$EVENTS" >"$T/$1.tls"
}
tls_on proxy
tls_on kernel
expect_eq "sessions that went on, and protocols" "$(for _ in 1 2; do
    printf 'TLSv%s http/1.1 %s\n' 1.2 new 1.2 resumed 1.3 new 1.3 resumed; done; printf '2\n2\n')" "$(cat "$T/kernel.said")"
diff "$T/proxy.said" "$T/kernel.said" >&9 || fail "the client hears differently"
# README says what differs: what TLS 1.3 encrypts, and what a resumed session has of its beginning, the proxy alone
# tells; and it hands out tickets where the server keeps sessions by their ids, so what programs then offer differs
jq -c 'if .version == "TLS1.3" then del(.alpn, .server) elif .resumed then del(.server) else . end' "$T/proxy.tls" \
    >"$T/proxy.clear"
offers() { jq -c "if .resumed and .socket.dport == $NO_TICKETS then del(.ja4) else . end" "$1"; }
diff <(offers "$T/proxy.clear") <(offers "$T/kernel.tls") | cut -c 1-1500 >&9 || fail "the routes tell differently of TLS"
expect_eq "what there is to tell" "10 4 3" "$(jq -s '[length, (map(select(.resumed)) | length), (map(select(.server)) | length)] | join(" ")' -r "$T/kernel.tls")"
expect_eq "what the proxy alone tells" true "$(jq -s 'all(.alpn and .server.sha256)' "$T/proxy.tls")"
echo "ok: both routes tell the same of TLS that the programs encrypt by themselves"

resets() { # FILE: of streams that one side resets while the other's words are on their way
    jq -r '.process_http // empty | select(.socket.dport == 8083) | "\(.method) \(.path) \(.code) \(.error)"' "$1" |
        sort | uniq -c | sed 's/^ *//'
}
cat >"$T/wanted" <<'WANTED'
21 GET /answered 200 null
20 POST /given-up null the program reset the stream: CANCEL
20 POST /not-taken null the upstream did not take the request: REFUSED_STREAM
WANTED
for route in proxy kernel; do
    resets "$T/$route" | diff "$T/wanted" - >&9 || fail "streams that were reset, on route $route: told wrong"
done
has_answered() { [ "$(grep -c '"path":"/answered"' "$T/reset")" -ge 42 ]; }
wait_for 20 has_answered
expect_eq "what the server's pod is told of twice, or without a method" 0 "$(jq -s '[.[].process_http // empty]
    | length - (map(select(.method) | [.socket, .stream]) | unique | length)' "$T/reset")"
echo "ok: a stream that is reset is told once, on either side"

# Apache is on the kernel route, by whichever its clients come
exchanges() { # FILE
    jq -c '.process_http // empty | {host, method, url, protocol, stream, code, error, request_headers,
        request_bytes, response_bytes,
        response_headers: .response_headers | map(select(.key | ascii_downcase != "date"))}' "$1" | LC_ALL=C sort
}
has_heard() { [ "$(grep -c process_http "$T/heard")" -ge "$(wc -l <"$T/said")" ]; }
grep -h '"dport":8081' "$T/proxy" "$T/kernel" | grep process_http >"$T/said"
wait_for 20 has_heard
exchanges "$T/said" >"$T/said.requests"
grep -q PUT "$T/said.requests" || fail "nothing was said to Apache"
exchanges "$T/heard" | diff "$T/said.requests" - | cut -c 1-1500 >&9 || fail "Apache heard other requests than were said"
expect_grep "what Apache's pod is told as" '"binary":"/usr/sbin/apache2".*"route":"kernel"' "$T/heard"
expect_no_grep "what is accepted is told by its requests alone" 'process_(connect|close)' "$T/heard"
echo "ok: Apache's pod heard what its clients said: $(wc -l <"$T/said") requests"

# ---- whatever the cuts ------------------------------------------------------------

replayed() { # FILE
    jq -c '.process_http // empty | select(.host == "replay.example") | {host, method, url, stream, code,
        request_headers, request_bytes, response_headers, response_bytes, error}' "$1" | LC_ALL=C sort
}
replayed "$T/kernel" >"$T/wanted"
for seed in $(seq 2 "$SEEDS"); do
    clean "${IN_POD[@]}" "$SALLYPORT" exec --route kernel --ports all -o json --events-file "$EVENTS" \
        -- /usr/bin/python3 "$HERE/kernel_replay.py" ask 203.0.113.10 8443 "$seed" 2>"$T/client.err" ||
        fail "cut by seed $seed: $(cat "$T/client.err")"
    replayed "$EVENTS" | diff "$T/wanted" - | cut -c 1-1000 >&9 || fail "what seed $seed cuts is told differently"
done
has_served() { [ "$(grep -c process_http "$T/served")" -ge $(($(wc -l <"$T/wanted") * (SEEDS + 1))) ]; }
wait_for 20 has_served
replayed "$T/served" | uniq | diff "$T/wanted" - | cut -c 1-1000 >&9 ||
    fail "one of the seeds 1 to $SEEDS is told differently by the server's pod"
echo "ok: pieces cut by seed, both ways"

# ---- refused ------------------------------------------------------------------------

for route in proxy kernel; do
    cat >"$T/policy.yaml" <<POLICY
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: golden}
spec:
  route: $route
  egress: [{toCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{path: /a}]}}]}]
POLICY
    : >"$T/access"
    clean "${IN_POD[@]}" "$SALLYPORT" exec --policy "$T/policy.yaml" -o json --events-file "$EVENTS" \
        -- sh -c 'curl -o /dev/null http://203.0.113.10/a; curl -f -o /dev/null http://203.0.113.10/none' \
        >"$T/out" 2>"$T/client.err" && fail "a request that no rule allows went, on route $route"
    expect_eq "what came to the server on route $route" 'GET /a HTTP/1.1' "$(cut -d ' ' -f 2-4 "$T/access")"
    jq -c '.process_policy // .process_http // empty
        | {policy, rule, verdict, point, mode, reason, host, method, path, error, process: .process.binary}' "$EVENTS" |
        sort -u >"$T/$route.refused" # who is refused on a connection that was used tries another one
done
diff "$T/proxy.refused" "$T/kernel.refused" >&9 || fail "what is refused is told differently"
expect_eq "reasons told" 1 "$(grep -c '"reason":"no rule allows GET /none"' "$T/kernel.refused")"
echo "ok: what is refused does not leave, and is told with the same reason"

# ---- what makes no sense, or has no end ------------------------------------------------

for route in proxy kernel; do
    sed -i "s/^  route: .*/  route: $route/" "$T/policy.yaml"
    clean "${IN_POD[@]}" "$SALLYPORT" exec --policy "$T/policy.yaml" -o json --events-file "$EVENTS" \
        -- /usr/bin/python3 "$HERE/kernel_replay.py" refused 203.0.113.10 80 2>"$T/client.err"
    jq -r '.process_http // empty | "\(.method) \(.host) \(.path) \(.verdict) \(.error | sub("^denied by.*: "; ""))"' \
        "$EVENTS" | sort >"$T/$route.refused"
done
diff "$T/proxy.refused" "$T/kernel.refused" >&9 || fail "what makes no sense is told differently"
clean "${IN_POD[@]}" "$SALLYPORT" exec --policy "$T/policy.yaml" -o json --events-file "$EVENTS" \
    -- /usr/bin/python3 "$HERE/kernel_replay.py" odd 203.0.113.10 80 2>"$T/client.err"
jq -r '.process_http // .process_close // empty | .error // empty | sub("^denied by.*: "; "")' "$EVENTS" | sort >"$T/got"
sort >"$T/wanted" <<'WANTED'
no rule allows GET /none
not sent: in one send with what was refused
no rule allows GET /none
not sent: in one send with what was refused
no rule allows GET /none
closed within a request's head, of which 39 bytes had come
too many fields
WANTED
diff "$T/wanted" "$T/got" >&9 || fail "in pieces, several at once or without an end: told wrong"
sed -i 's/^spec:/&\n  mode: monitor/; s/"80"/"8080"/' "$T/policy.yaml"
clean PYTHONPATH="$HERE" "${IN_POD[@]}" "$SALLYPORT" exec --policy "$T/policy.yaml" -o json --events-file "$EVENTS" \
    -- /usr/bin/python3 -Bc 'from h2frames import *
client = Peer(socket.create_connection(("203.0.113.10", 8080)))
client.ask(1, *head("/a", ("host", "b.example"), scheme="http", authority="a.example"))
client.ask(3, *head("/a", scheme="http", authority="a:b"))
client.ask(5, *head("/a", scheme="http", authority="a.example"))' 2>"$T/client.err" || fail "odd HTTP/2: $(cat "$T/client.err")"
jq -r '.process_policy // .process_http // empty | "\(.stream) \(.verdict) \(.mode) \(.point) \(.reason // .error)"' \
    "$EVENTS" | sort >"$T/got"
sort >"$T/wanted" <<'WANTED'
null alert monitor visibility Host is not :authority
1 alert null null Host is not :authority
null alert monitor visibility an authority that makes no sense
3 alert null null an authority that makes no sense
5 allow null null null
WANTED
diff "$T/wanted" "$T/got" >&9 || fail "HTTP/2 that makes no sense: told wrong where nothing is refused"
echo "ok: so is what makes no sense, what is said in pieces, several at once, and what has no end"
