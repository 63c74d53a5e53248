#!/usr/bin/env bash
# Promise: on the kernel route a denied request freezes the command until it is thawed, or kills it, as onDeny says, and
# reaches nobody. What bodies and tokens are looked for is found there as on the proxy route, in what is asked and in what
# is answered: it has gone by then, which is told, and none of its bytes; who sent it is frozen or killed all the same.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
SITE=http://203.0.113.10
CARD='name=jane&card=4111111111111111&more=of the same'
echo ok >"$T/www/ok"
echo denied >"$T/www/denied"
printf '%s' "$CARD" >"$T/www/secret"
printf '%s' "$CARD" | gzip >"$T/packed"

policy() { # LINE...: of the spec
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }" >"$T/policy.yaml"
}
# on_route ROUTE CMD...: under the policy; its exit status is CMD's.
on_route() {
    : >"$T/access"
    "${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS" --upstream-ca "$T/ca.pem" \
        --route "$1" --policy "$T/policy.yaml" -- "${@:2}" >"$T/out" 2>"$T/said"
}
decided() { events '.[].process_policy // empty | "\(.verdict) \(.action // "-") \(.mode) \(.point) \(.pattern // "-") \(.direction // "-") \(.offset // "-")"'; }
why() { events '.[].process_policy // empty | .reason'; }
requests() { events '.[].process_http // empty | "\(.route) \(.method) \(.code // 0) \(.verdict)"'; }
saw() { grep -c " $1 " "$T/access" || true; }

# frozen_and_thawed CMD...: on the kernel route; its exit status once it was thawed
frozen_and_thawed() {
    local status=0 cgroup run
    on_route kernel "$@" &
    run=$!
    PIDS+=("$run")
    wait_for 20 grep -q 'the command is frozen' "$T/said"
    cgroup=$(sed -n "s/.*'echo 0 >\(.*\)\/cgroup.freeze'.*/\1/p" "$T/said")
    wait_for 20 grep -q 'frozen 1' "$cgroup/cgroup.events"
    echo over >"$T/frozen.over"
    echo 0 >"$cgroup/cgroup.freeze"
    wait "$run" || status=$?
    echo "$status"
}

# ---- what is denied -------------------------------------------------------------------------------

ONLY_OK='egress: [{toCIDR: [203.0.113.0/24], toPorts: [{ports: [{port: "80"}], rules: {http: [{path: /ok}]}}]}]'
cat >"$T/asks.py" <<'PY'
import http.client, os, sys, time
connection = http.client.HTTPConnection("203.0.113.10", timeout=20)
for path in sys.argv[1:]:
    try:
        connection.request("GET", path)
        print(connection.getresponse().read().decode().strip(), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
        while not os.path.exists(os.path.join(os.path.dirname(sys.argv[0]), "frozen.over")):
            time.sleep(0.01)  # the agent hears of it in a moment, and freezes who is there
PY
policy 'onDeny: freeze' "$ONLY_OK"
expect_eq "freeze: the end of who was thawed" 0 "$(frozen_and_thawed /usr/bin/python3 "$T/asks.py" /ok /denied)"
expect_eq "freeze: what the program got" "ok,PermissionError" "$(paste -sd, "$T/out")"
expect_eq "freeze: told" "deny freeze enforce http - - -" "$(decided)"
expect_eq "freeze: the requests" "kernel GET 200 allow,kernel GET 0 deny" "$(requests | paste -sd,)"
expect_eq "freeze: the server" "1 0" "$(saw /ok) $(saw /denied)"
policy 'onDeny: sigkill' "$ONLY_OK"
rm "$T/frozen.over" # it waits for its end
expect_status "who was killed" 137 on_route kernel /usr/bin/python3 "$T/asks.py" /ok /denied
expect_eq "sigkill: told" "deny sigkill enforce http - - -" "$(decided)"
expect_eq "sigkill: the server" "1 0" "$(saw /ok) $(saw /denied)"
policy 'mode: monitor' 'onDeny: freeze' "$ONLY_OK"
on_route kernel /usr/bin/python3 "$T/asks.py" /ok /denied
expect_eq "monitor: what the program got" "ok,denied" "$(paste -sd, "$T/out")"
expect_eq "monitor: told" "alert freeze monitor http - - -" "$(decided)"
echo "ok: what is denied"

# ---- what makes no sense --------------------------------------------------------------------------

odd() { on_route kernel curl -sS -o "$T/got" -X FOO $SITE/ok --next -sS -o "$T/got" $SITE/denied; }
policy 'mode: monitor' "$ONLY_OK"
odd || fail "monitor: $(cat "$T/said")"
expect_eq "no sense, monitor: told" "alert reject monitor visibility - - -" "$(decided)"
expect_eq "no sense, monitor: why" "an unknown method" "$(why)"
expect_eq "no sense, monitor: the requests" "kernel FOO 0 alert" "$(requests)"
expect_eq "no sense, monitor: what follows" "opaque unknown" \
    "$(events '.[].process_close // empty | "\(.visibility) \(.visibility_reason)"')"
expect_eq "no sense, monitor: the server" "1 1" "$(saw /ok) $(saw /denied)"
policy "$ONLY_OK"
odd && fail "what makes no sense went"
expect_eq "no sense, enforced: told" "deny reject enforce http - - -
deny reject enforce visibility - - -" "$(decided | sort)" # two connections
expect_eq "no sense, enforced: the server" "0 0" "$(saw /ok) $(saw /denied)"
echo "ok: what makes no sense"

# ---- what is found --------------------------------------------------------------------------------

b64() { printf '%s' "$1" | base64 -w0 | tr '+/' '-_' | tr -d =; }
TOKEN="$(b64 '{"alg":"RS256","kid":"k"}').$(b64 '{"iss":"https://kubernetes.default.svc.cluster.local","kubernetes.io":{"namespace":"shop","pod":{"name":"cart-0","uid":"77"},"serviceaccount":{"name":"cart"}},"sub":"system:serviceaccount:shop:cart"}').c2lnbmF0dXJl"
# found WHAT DECIDED CMD...: the same on both routes
found() {
    local route
    for route in proxy kernel; do
        on_route "$route" "${@:3}" || fail "$1: $route: $(cat "$T/said")"
        expect_eq "$1: $route" "$2" "$(decided | paste -sd,)"
        expect_eq "$1: the route" "$route" "$(events '[.[].process_http // empty | .route] | unique | join(" ")')"
        expect_no_grep "$1: $route: its bytes are not told" '411111111111|c2lnbmF0dXJl' \
            <(grep -E 'process_(http|policy)' "$EVENTS" | sed 's/"process":.*"socket"//')
    done
}
policy 'inspect: {bodies: [{patterns: [payment-card], direction: both, action: alert}]}'
found "a request's body" "alert - enforce body payment-card request 15" curl -sS -o "$T/got" -d "$CARD" $SITE/post/card
expect_eq "which has arrived" "$CARD" "$(cat "$T/put/card")"
found "a packed one" "alert - enforce body payment-card request 15" \
    curl -sS -o "$T/got" --data-binary "@$T/packed" -H 'Content-Encoding: gzip' $SITE/post/packed
found "in chunks" "alert - enforce body payment-card request 15" \
    curl -sS -o "$T/got" -H 'Transfer-Encoding: chunked' -d "$CARD" $SITE/post/chunks
found "an answer's body" "alert - enforce body payment-card response 15" curl -sS -o "$T/got" $SITE/secret
expect_same "which came" "$T/got" "$T/www/secret"
found "none" "" curl -sS -o "$T/got" -d name=jane $SITE/post/none
policy 'inspect: {tokens: alert}'
found "a token in a head" "alert - enforce token token-exfiltration request 7" \
    curl -sS -o "$T/got" -H "Authorization: Bearer $TOKEN" $SITE/ok
expect_eq "whose it is" "shop cart cart-0" \
    "$(events '.[].process_policy // empty | .token | "\(.namespace) \(.service_account) \(.pod)"')"
found "a token in a body" "alert - enforce token token-exfiltration request 6" curl -sS -o "$T/got" -d "{\"t\":\"$TOKEN\"}" $SITE/post/token
echo "ok: what is found"

# ---- what is found, and not to go -----------------------------------------------------------------

# says it, and is about to say more, until a file comes
cat >"$T/says.py" <<'PY'
import http.client, os, sys, time
connection = http.client.HTTPConnection("203.0.113.10", timeout=20)
connection.request("POST", "/post/" + sys.argv[1], sys.argv[2])
print(connection.getresponse().status, flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
PY
policy 'onDeny: freeze' 'inspect: {bodies: [{patterns: [payment-card], action: deny}]}'
expect_eq "a body, freeze: the end of who was thawed" 0 "$(frozen_and_thawed /usr/bin/python3 "$T/says.py" late "$CARD" "$T/frozen.over")"
expect_eq "a body, freeze: told" "deny freeze enforce body payment-card request 15" "$(decided)"
expect_eq "a body, freeze: why" "the request has payment-card in its body; it had gone already" "$(why)"
policy 'onDeny: sigkill' 'inspect: {tokens: deny}'
expect_status "a token, sigkill" 137 on_route kernel /usr/bin/python3 "$T/says.py" taken "$TOKEN" "$T/never"
expect_eq "a token, sigkill: told" "deny sigkill enforce token token-exfiltration request 0" "$(decided)"
expect_grep "a token, sigkill: why" "; it had gone already\$" <(why)
policy 'inspect: {bodies: [{patterns: [payment-card], action: deny}]}'
on_route kernel curl -sS -o "$T/got" -d "$CARD" $SITE/post/gone
expect_eq "a body that was not to go" "alert - enforce body payment-card request 15" "$(decided)"
expect_eq "... and why" "the request has payment-card in its body; it had gone already" "$(why)"
echo "ok: what is found, and not to go"
