#!/usr/bin/env bash
# Promise: where rules look at requests, what cannot be read does not pass: a program that refuses our certificate,
# speaks in the clear, by ECH, odd bytes, old TLS, another protocol, shows a certificate of its own or leaves HTTP gets
# no byte to the server, and each attempt is told. Where nothing is to be read, it passes and is told.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_client mine ca CA:FALSE
read -ra ports <<<"$(free_ports 3)"
: >"$T/got"
background "${CLEAN[@]}" /usr/bin/python3 "$HERE/unseen_origin.py" "$T/origin.pem" "$T/origin.key" "$T/ca.pem" "$T/got" "${ports[@]}" \
    2>"$T/origin.err"
for port in "${ports[@]}"; do wait_for 20 listening 127.0.0.1 "$port"; done

policy() { # LINES OF SPEC...
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' 'metadata: {name: cart}' 'spec:' "${@/#/  }" >"$T/policy.yaml"
}
tries() {
    : >"$T/got"
    "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- /usr/bin/python3 "$HERE/unseen_program.py" "$T/mine.pem" "$T/mine.key" "${ports[@]}" >"$T/out"
}
decided() { events '[.[] | .process_policy // empty | "\(.verdict) \(.action) \(.point): \(.reason)"] | .[]'; }

policy 'egress:' '- toCIDR: [127.0.0.0/8]' '  toPorts:' \
    "  - ports: [$(printf '{port: "%s"},' "${ports[@]}")]" '    rules: {http: [{method: GET, path: /ok}]}'
tries
expect_no_grep "nothing went through" through "$T/out"
expect_eq "attempts" 12 "$(wc -l <"$T/out")"
expect_eq "the server: what a rule allows" "GET /ok HTTP/1.1" "$(head -n 1 "$T/got" | tr -d '\r')"
expect_no_grep "the server: no word" secret "$T/got"
expect_eq "each is told" "$(sort <<'TOLD'
deny reject http: no rule allows CONNECT evil.test:443
deny reset visibility: it is neither TLS nor HTTP
deny reset visibility: it is neither TLS nor HTTP
deny reset visibility: it is neither TLS nor HTTP
deny reset visibility: it speaks another protocol than HTTP
deny reset visibility: it speaks another protocol than HTTP
deny reset visibility: it speaks another protocol than HTTP
deny reset visibility: its TLS is older than 1.2
deny reset visibility: the program refused our certificate
deny reset visibility: the program refused our certificate
deny reset visibility: the server demands a certificate of the program
deny reset visibility: the server spoke first
TOLD
)" "$(decided | sort)"
echo "ok: nothing passes unread where rules read"

policy 'egress:' '- toCIDR: [127.0.0.0/8]'
tries
went=$(awk '$2 == "through" { printf "%s ", $1 }' "$T/out")
expect_eq "what passes" "plain_bytes server_first other_alpn no_http_inside upgrade " "$went"
expect_eq "told of all, denied none" "alert" "$(decided | cut -d' ' -f1 | sort -u)"
echo "ok: what is not to be read passes, and is told"

policy 'onNoVisibility: drop'
tries
expect_no_grep "nothing went through" through "$T/out"
expect_no_grep "the server: no word" secret "$T/got"
echo "ok: onNoVisibility: drop"

# a program that trusts the server's root alone, twice
pinned() {
    # shellcheck disable=SC2016 # the shell within says what they are
    "${EXEC_LOCAL[@]}" --policy "$T/policy.yaml" -- sh -c 'for i in 1 2; do curl -s --cacert "$1" "$2"; echo $?; done' sh "$T/ca.pem" "https://localhost:${ports[0]}/ok"
}
policy 'learn: passthrough'
expect_eq "learn: refused, then passed on" "60 0" "$(pinned | paste -sd' ')"
expect_eq "learn: told" "passthrough" "$(events '[.[] | .process_tls // empty | .visibility] | last')"
policy 'learn: passthrough' 'egress:' '- toPorts: [{rules: {http: [{path: /ok}]}}]'
expect_eq "learn: not where rules read" "60 60" "$(pinned | paste -sd' ')"
for reads in 'egress: [{toPorts: [{rules: {http: [{path: /ok}]}}]}]' 'inspect: {tokens: deny}' \
    'inspect: {bodies: [{patterns: [email], direction: both, action: alert}]}'; do
    policy 'learn: passthrough' 'onNoVisibility: alert' "$reads"
    expect_eq "learn: nor where what cannot be read is told alone" "60 60" "$(pinned | paste -sd' ')"
done
echo "ok: learn"
