#!/usr/bin/env bash
# Promise: on a kernel that shows what it encrypts to nobody (kTLS is refused in a sockhash, and there is no
# BPF LSM) programs go on letting it encrypt, and are told as what they are: not read, and where rules ask
# for it not let through; what they say in the clear is read and judged; and `auto` leaves them to the proxy.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r tls plain <<<"$(free_ports 2)"
nginx_server "$tls" origin "ssl_conf_command Options KTLS;"
nginx_server "$plain"
start_nginx
echo a | tee "$T/www/of13" >"$T/www/a"
make_cgroup kernel auto
agent_up
for pod in kernel auto; do
    pods add --cgroup "$CGROUPS/$pod" --netns /proc/self/ns/net --name $pod --label "app=$pod" \
        --ports all --loopback --route $pod
done
status() { sallyport status --runtime-dir "$T/run" -o json; }
expect_eq "the back-end" none "$(status | jq -r .kernel_route.back_end)"

in_pod() { "${IN_CGROUP[@]}" "$CGROUPS/$1" "${CLEAN[@]}" "${@:2}"; }
count() { grep -c "^{\"process_$2.*\"pod\":{[^{}]*\"name\":\"$1\"" "$EVENTS" || true; }
has_told() { [ "$(count "$1" "$2")" -ge "$3" ]; }
told_of() { jq -c --arg pod "$1" 'to_entries[] | select(.value | objects | .process.pod.name == $pod) | {(.key): .value}' "$EVENTS"; }
close_of() { told_of "$1" | jq -r '.process_close // empty | "\(.route) \(.visibility) \(.visibility_reason // "-")"' | tail -n 1; }
# ask POD WANTED: a program that lets the kernel encrypt, which says so
ask() {
    in_pod "$1" /usr/bin/python3 "$HERE/route/ktls.py" "$T/trusted.pem" "13:https://127.0.0.1:$tls/of13" \
        >"$T/out" 2>"$T/client.err" || fail "the client: $(cat "$T/client.err")"
    expect_eq "$1: the client, and that the kernel encrypts" "$2" \
        "$(sed -E 's/(ConnectionResetError|RemoteDisconnected)/refused/' "$T/out")"
}

ask kernel "/of13 200 TLSv1.3 tx/-"
wait_for 10 has_told kernel close 1
expect_eq "its close" "kernel opaque own tls" "$(close_of kernel)"
expect_eq "requests that are told" 0 "$(count kernel http)"
expect_eq "in the clear" "a" "$(in_pod kernel curl -sS "http://127.0.0.1:$plain/a")"
wait_for 10 has_told kernel http 1
expect_eq "it is told" "/a kernel plaintext 200" \
    "$(told_of kernel | jq -r '.process_http // empty | "\(.path) \(.route) \(.visibility) \(.code)"')"
echo "ok: what is seen"

printf 'apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: rules}\nspec:\n  egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /b}]}}]}]\n' >"$T/rules.yaml"
sallyport policy apply --runtime-dir "$T/run" "$T/rules.yaml" >"$T/out" 2>"$T/said"
ask kernel "/of13 refused TLSv1.3 tx/-"
expect_eq "in the clear, denied" 000 "$(in_pod kernel curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$plain/a" || true)"
expect_eq "requests that came" 2 "$(wc -l <"$T/access")"
sallyport policy remove --runtime-dir "$T/run" rules >"$T/out"
echo "ok: what is refused"

for _ in 1 2 3; do ask auto "/of13 200 TLSv1.3 tx/-"; done
wait_for 10 has_told auto close 3
expect_eq "auto" "proxy terminated
proxy terminated
proxy terminated" "$(told_of auto | jq -r '.process_close // empty | "\(.route) \(.visibility)"')"
expect_eq "status of it" "proxy" "$(status | jq -r '.programs[] | select(.pod == "auto") | .route')"
agent_down
echo "ok: auto"
