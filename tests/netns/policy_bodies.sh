#!/usr/bin/env bash
# Promise: what a policy does not want in a body does not go on, over HTTP/1 and HTTP/2, requests' and answers', however it
# is encoded or cut: its last byte never leaves, neither end takes what it has for all of it, and it is told without its
# bytes. What cannot be looked at does not go on either, and a service account's token goes nowhere but to the API server.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_cert api ca 'DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc'
read -r ORIGIN API <<<"$(free_ports 2)"
LOG=$T/origin.log
background "$HERE/policy_bodies_origin.py" "$ORIGIN" "$T/origin.pem" "$T/origin.key" "$LOG"
background "$HERE/policy_bodies_origin.py" "$API" "$T/api.pem" "$T/api.key" "$LOG"
wait_for 20 listening 127.0.0.1 "$ORIGIN"
wait_for 20 listening 127.0.0.1 "$API"

# policy LINES...
policy() { printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }" >"$T/policy.yaml"; }
# as_pod: runs what stands on stdin, where asks PATH CURL-ARGS... says the status of the answer, and how curl ended if
# not well; its body goes to $T/body, its head to $T/head.
as_pod() {
    : >"$LOG"
    {
        printf 'T=%q HERE=%q PORT=%q API=%q\n' "$T" "$HERE" "$ORIGIN" "$API"
        cat <<'SH'
asks() {
    curl -s -o "$T/body" -D "$T/head" -w '%{http_code}' "https://localhost:$PORT$1" "${@:2}" || printf ' cut'
    echo
}
SH
        cat
    } >"$T/script"
    "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- bash "$T/script"
}
decided() { events '.[] | .process_policy // empty | "\(.verdict) \(.action // "-") \(.mode) \(.point) \(.pattern // "-") \(.direction) \(.offset // "-")"'; }
told() { events '.[] | .process_http // empty | "\(.path) \(.code // 0) \(.verdict) \(.policy // "-") \(.rule // "-")"'; }
# times N WORDS: a line each
times() { for _ in $(seq "$1"); do echo "$2"; done; }

CARD='name=jane&card=4111111111111111&more=of the same'
last='card=4111111111111111'
printf '%s' "$CARD" >"$T/plain"
for how in gzip deflate br zstd; do "$HERE/policy_bodies_origin.py" --body "$how" >"$T/$how"; done
head -c 20000000 /dev/zero | gzip -9 >"$T/bomb"
python3 - "$T" <<'PY'
import struct, sys
for name in "plain", "gzip":
    body = open(f"{sys.argv[1]}/{name}", "rb").read()
    open(f"{sys.argv[1]}/grpc-{name}", "wb").write(struct.pack(">BI", name == "gzip", len(body)) + body)
PY
why='sallyport: denied by policy cart, inspect.bodies[0]: the request has payment-card in its body'

policy 'inspect: {bodies: [{patterns: [payment-card, email], direction: request, action: deny, maxBytes: 1Gi}]}'
for http in --http1.1 --http2; do
    as_pod >"$T/out" <<SH
asks /up $http -d name=jane
for how in plain gzip deflate br zstd; do asks /up $http --data-binary "@$T/\$how" -H "Content-Encoding: \${how/plain/identity}"; done
SH
    expect_eq "$http: the answers" "$(printf '%s\n' 200 "$(times 5 403)")" "$(cat "$T/out")"
    expect_eq "$http: why" "$why" "$(cat "$T/body")"
    expect_eq "$http: the server" "/up whole name=jane" "$(grep whole "$LOG" | cut -d' ' -f2-)"
    expect_eq "$http: told of the policy" "$(times 5 'deny reject enforce body payment-card request 15')" "$(decided)"
    expect_eq "$http: told of the requests" "$(printf '%s\n' '/up 200 allow - -' "$(times 5 '/up 403 deny cart inspect.bodies[0]')")" "$(told)"
    expect_no_grep "$http: its bytes are not told" 411111111111 "$EVENTS"
    as_pod >"$T/out" <<SH
asks /up $http -d 'mail=jane@mail.example'
asks /up $http --data-binary @$T/gzip -H 'Content-Encoding: identity' -H 'Content-Encoding: gzip'
asks /up $http --data-binary @$T/grpc-gzip -H 'Content-Type: text/plain' -H 'Content-Type: application/grpc'
asks /up $http -d '$CARD' -H 'Content-Encoding: snappy'
asks /up $http --data-binary @$T/bomb -H 'Content-Encoding: gzip'
SH
    expect_eq "$http, what cannot be seen" "403,403,000 cut,000 cut,000 cut" "$(paste -sd, "$T/out")"
    expect_no_grep "$http, what cannot be seen: the server" whole "$LOG"
    expect_eq "$http, what cannot be seen: told" "$(times 3 'deny reset enforce visibility - request -')" "$(decided | tail -n 3)"
done
as_pod >"$T/out" <<SH
asks /up --http1.1 -d '$CARD' -H 'Transfer-Encoding: chunked'
for how in plain gzip; do
    asks /up --http2 --data-binary @$T/grpc-\$how -H 'Content-Type: application/grpc' -H 'Grpc-Encoding: gzip'
    grep -o 'grpc-status: [0-9]*' $T/head
done
SH
expect_eq "chunked, and gRPC: the answers" "403,200,grpc-status: 7,200,grpc-status: 7" "$(paste -sd, "$T/out")"
expect_eq "chunked, and gRPC: told" "$(times 3 'deny reject enforce body payment-card request 15')" "$(decided)"
echo "ok: requests"

# its last byte never leaves, cut as small as can be, the answer's head seen or not; messages in frames
printf 'hello again' >"$T/hello"
as_pod >"$T/out" <<'SH'
client() { "$HERE/policy_bodies_client.py" "$PORT" "$@"; }
client bytes "$T/plain"
client early "$T/plain"
for how in ws ws-deflate; do client $how "$T/hello"; client $how "$T/plain"; done
SH
expect_eq "cut: the ends" "$(printf '%s\n' 403 "200 b''" "$(times 2 "101 b'\x81\x02ok' b'\x81\x02ok' "$'\n'"101 b'\x81\x02ok' reset ")")" "$(cat "$T/out")"
expect_eq "cut: told" "$(times 4 'deny reject enforce body payment-card request 15')" "$(decided)"
wait_for 5 grep -c . "$LOG"
expect_no_grep "cut: the server" "whole|$last" "$LOG"
as_pod >"$T/out" <<'SH'
for how in trailer extension trailer-h2; do
    for what in hello plain; do "$HERE/policy_bodies_client.py" "$PORT" $how "$T/$what"; done
done
SH
expect_eq "beside a body: the ends" "$(times 3 200,403 | paste -sd,)" "$(paste -sd, "$T/out")"
expect_eq "beside a body: told" "$(times 3 'deny reject enforce body payment-card request')" "$(decided | cut -d' ' -f1-6)"
expect_no_grep "beside a body: the server" "$last" "$LOG"
expect_eq "beside a body: the server" 3 "$(grep -c whole "$LOG")"
as_pod >"$T/out" <<'SH'
for how in ping close; do "$HERE/policy_bodies_client.py" "$PORT" ws-$how "$T/plain"; done
SH
expect_eq "control frames: the ends" "$(times 2 '101 reset')" "$(cat "$T/out")"
expect_eq "control frames: told" "$(times 2 'deny reject enforce body payment-card request')" "$(decided | cut -d' ' -f1-6)"
expect_no_grep "control frames: not told what was in them" 411111111111 "$EVENTS"
wait_for 5 grep -q '^ws' "$LOG"
expect_no_grep "control frames: the server" "$last" "$LOG"
echo "ok: cuts, WebSockets, chunk extensions and trailers"

policy 'inspect: {bodies: [{patterns: [payment-card], direction: response, action: deny}]}'
as_pod >"$T/out" <<'SH'
for http in --http1.1 --http2; do
    for how in '' gzip deflate br zstd; do asks "/secret?$how" $http; done
    asks /up $http
done
for how in close bytes; do asks "/secret?$how" --http1.1; grep -cE '41{15}' "$T/body" || true; done
"$HERE/policy_bodies_client.py" "$PORT" unasked
SH
# of HTTP/2 a head that comes with such a body goes with it
expect_eq "answers: the ends" "$(times 2 "$(times 5 '200 cut')"$'\n'200)" "$(head -n 12 "$T/out" | sed 's/^000/200/')"
expect_eq "answers: cut without an end, and unasked" "200 cut,0,200 cut,0,200 0" "$(tail -n +13 "$T/out" | paste -sd,)"
expect_eq "answers: told" "$(times 13 'deny reject enforce body payment-card response 15')" "$(decided)"
expect_no_grep "answers: its bytes are not told" 411111111111 "$EVENTS"
echo "ok: answers"

beyond() { events '.[] | .process_policy // empty | select(.point == "visibility") | .reason'; }
policy 'inspect: {bodies: [{patterns: [payment-card], direction: both, action: deny, maxBytes: 20}, {patterns: [email], action: alert, maxBytes: 10}]}'
unseen='enforce visibility - request -'
long="alert - $unseen
deny reject $unseen
deny reject $unseen
deny reject enforce body payment-card request 15
alert - $unseen
deny reject $unseen
deny reject enforce body payment-card response 15"
for http in --http1.1 --http2; do
    as_pod >"$T/out" <<SH
asks /up $http -d name=jane,20-is-okay
asks /up $http -d '$CARD'
asks /up $http -d '$CARD' -H 'Content-Encoding: identity'
"$HERE/policy_bodies_origin.py" --body gzip | asks /up $http --data-binary @- -H 'Content-Encoding: gzip'
asks /up $http -T- -H Expect: <<<'012345678901234567890 and more'
asks /secret $http
SH
    expect_eq "$http, too long: the answers" "200,403,403,403,403,200 cut" "$(sed 's/^000/200/' "$T/out" | paste -sd,)"
    expect_eq "$http, too long: the server" "/up whole name=jane,20-is-okay" "$(grep "/up whole" "$LOG" | cut -d' ' -f2-)"
    expect_eq "$http, too long: told" "$long" "$(decided)"
    expect_eq "$http, too long: why" "$(printf "only the first %s bytes of the request's body are looked at\n" 10 20 20 10 20)" "$(beyond)"
done
policy 'inspect: {bodies: [{patterns: [payment-card, {name: jane, regex: "name=[a-z]+"}], direction: both, action: alert, maxBytes: 12}]}'
as_pod >"$T/out" <<SH
for http in --http1.1 --http2; do asks /secret \$http -d '$CARD'; done
SH
expect_eq "alert: the answers" "200,200" "$(paste -sd, "$T/out")"
expect_eq "alert: the server" 2 "$(grep -c "whole $CARD" "$LOG")"
expect_eq "alert: told, but nothing behind maxBytes" \
    "$(times 2 "$(for way in request response; do printf 'alert - enforce %s\n' "body jane $way 0" "visibility - $way -"; done)")" "$(decided)"
expect_eq "alert: told of the requests" "$(times 2 '/secret 200 alert cart inspect.bodies[0]')" "$(told)"
policy 'mode: monitor' 'inspect: {bodies: [{patterns: [payment-card], direction: both, action: deny}]}'
as_pod >"$T/out" <<SH
asks /secret --http2 -d 'x$CARD'
SH
expect_eq "monitor: the answer" 200 "$(cat "$T/out")"
expect_eq "monitor: told" "$(printf 'alert reject monitor body payment-card %s\n' 'request 16' 'response 15')" "$(decided)"
expect_eq "a digest, the same for the same card" 1 \
    "$(events '.[] | .process_policy // empty | .sha256' | grep -xE '[0-9a-f]{64}' | uniq | wc -l)"
echo "ok: told"

policy 'onDeny: sigkill' 'inspect: {bodies: [{patterns: [payment-card], action: deny}]}'
as_pod >"$T/out" 2>"$T/err" <<SH
for http in --http1.1 --http2; do asks /up \$http -d '$CARD'; done
asks /up -d '$CARD' -H 'Content-Encoding: snappy'
asks /up -d name=jane
SH
# what cannot be seen is no reason to kill
expect_eq "sigkill: the ends" " cut, cut,000 cut,200" "$(paste -sd, "$T/out")"
expect_eq "sigkill: told" "$(times 2 'deny sigkill enforce body payment-card request 15')"$'\n''deny reset enforce visibility - request -' "$(decided)"
expect_eq "sigkill: the server" 1 "$(grep -c whole "$LOG")"
policy 'onDeny: freeze' 'inspect: {bodies: [{patterns: [payment-card], action: deny}]}'
as_pod >"$T/out" 2>"$T/err" <<SH &
asks /up --http2 -d '$CARD'
SH
FROZEN=$!
PIDS+=("$FROZEN")
wait_for 20 grep -q 'the command is frozen' "$T/err"
echo 0 >"$(sed -n "s/.*'echo 0 >\(.*cgroup.freeze\)'.*/\1/p" "$T/err")"
wait "$FROZEN" || fail "freeze: $(cat "$T/err")"
expect_eq "freeze, thawed: the end" "000 cut" "$(cat "$T/out")"
expect_eq "freeze: told" 'deny freeze enforce body payment-card request 15' "$(decided)"
expect_no_grep "freeze: the server" "whole|$last" "$LOG"
echo "ok: sigkill and freeze"

b64() { printf '%s' "$1" | base64 -w0 | tr '+/' '-_' | tr -d =; }
token() { echo "$(b64 '{"alg":"RS256","kid":"k"}').$(b64 "{\"iss\":\"https://kubernetes.default.svc.cluster.local\",\"kubernetes.io\":{\"namespace\":\"shop\"$1,\"serviceaccount\":{\"name\":\"cart\"}},\"sub\":\"system:serviceaccount:shop:cart\"}").c2lnbmF0dXJl"; }
bound=$(token ',"pod":{"name":"cart-0","uid":"77"}')
free=$(token '')
whose() { events '.[] | .process_policy // empty | "\(.verdict) \(.point) \(.pattern) \(.token.namespace) \(.token.service_account) \(.token.pod // "-")"'; }
printf %s "$bound" >"$T/bound"
policy 'inspect: {tokens: deny}'
as_pod >"$T/out" <<SH
for http in --http1.1 --http2; do
    asks /up \$http -d '{"t":"$free"}'
    asks /up \$http -H 'Authorization: Bearer x${bound:3}'
    asks /up \$http -H 'Authorization: Bearer $bound'
done
PORT=\$API
asks /up --http2 -H 'Authorization: Bearer $free'
asks /up --http2 -H 'X-Token: $bound'
for how in trailer extension trailer-h2; do "$HERE/policy_bodies_client.py" "\$PORT" \$how "$T/bound"; done
asks /up --http1.1 -H '$bound: x'
SH
expect_eq "tokens: the answers" "403,200,403,403,200,403,200,403,403,403,403,403" "$(paste -sd, "$T/out")"
expect_grep "tokens: why" 'a token of shop/cart, pod cart-0 is sent to the API server by a command of the host' \
    <(events '.[] | .process_policy // empty | .reason')
expect_eq "tokens: the server" 3 "$(grep -c whole "$LOG")"
expect_eq "tokens: told" "$(times 9 'deny token token-exfiltration shop cart ' | paste -d' ' - <(printf '%s\n' - cart-0 - cart-0 cart-0 cart-0 cart-0 cart-0 cart-0) | tr -s ' ')" "$(whose)"
policy 'inspect: {tokens: alert}'
as_pod >"$T/out" <<SH
asks '/up?t=$bound' --http2
SH
expect_eq "tokens, alert: the answer" 200 "$(cat "$T/out")"
expect_eq "tokens, alert: told" "alert token token-exfiltration shop cart cart-0" "$(whose)"
expect_no_grep "tokens: not told" "t=${bound%%.*}" <(grep -E 'process_(http|policy)' "$EVENTS" | sed 's/"process":.*"socket"//')
policy 'egress: [{toPorts: [{rules: {http: [{path: /ok}]}}]}]'
as_pod >"$T/out" <<SH
curl -s --http1.1 "https://localhost:\$PORT/up/$bound"
SH
expect_grep "tokens, no rule: the answer" 'no rule allows GET /up/\.\.\.$' "$T/out"
expect_grep "tokens, no rule: told" '"path":"/up/\*+"' "$EVENTS"
expect_no_grep "tokens, no rule: not told" "up/${bound%%.*}" <(grep -E 'process_(http|policy)' "$EVENTS" | sed 's/"process":.*"socket"//')
echo "ok: tokens"
