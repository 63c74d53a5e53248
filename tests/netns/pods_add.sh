#!/usr/bin/env bash
# Promise: `pods add` steers what runs in a cgroup already, in whatever network namespace, from its next
# connect on, and does not touch what it has open (existing.sh); events carry the pod's name and labels. Removed, what
# it has open goes on, and its next connect is nobody's. What cannot be a pod is refused in a sentence,
# and pods outlive their agent.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 443 origin
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
for name in before first again second other below; do echo "$name" >"$T/www/$name"; done
mkdir "$T/run"
mount -t tmpfs -o size=1m,mode=700 none "$T/run"
make_cgroup cart/container other late
agent_up --drain-timeout 2s
start_program cart cart/container "${IN_POD[@]}"
start_program other other "${IN_POD[@]}"
HTTP=http://203.0.113.10 HTTPS=https://203.0.113.10

# ---- what runs already ---------------------------------------------------------------------------

expect_eq "before" "200 192.0.2.2" "$(ask cart open old $HTTP/before)"
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart --label app=cart \
    --label sallyport.io/tier= --ports 80,443
expect_eq "over the old connection" "200 192.0.2.2" "$(ask cart again old)"
expect_eq "the next connect" "200 192.0.2.2" "$(ask cart open new $HTTPS/first)"
wait_for 5 is_told '.process_http.path == "/first"'
expect_eq "who did it" 'shop cart {"app":"cart","sallyport.io/tier":""} terminated' \
    "$(events '.[].process_http // empty | select(.path == "/first")
               | "\(.process.pod.namespace) \(.process.pod.name) \(.process.pod.pod_labels | tojson) \(.visibility)"')"
expect_eq "what it is" "$(readlink -f /usr/bin/python3)" \
    "$(events '.[].process_http // empty | select(.path == "/first") | .process.binary')"
expect_eq "requests over the old connection do not come to us" 0 "$(told '.process_http | .path == "/before" and .route == "proxy"')"
expect_eq "by IPv6" "200 2001:db8:1::2" "$(ask cart get 'https://[2001:db8:2::10]/first')"

# without --netns: where its processes are, and where the first one comes to
pods add --cgroup "$CGROUPS/other" --name other
expect_eq "a pod without a namespace" "200 192.0.2.2" "$(ask other get $HTTPS/other)"
wait_for 5 is_told '.process_http.path == "/other" and .process_http.process.pod.name == "other"'
pods add --cgroup "$CGROUPS/late" --name late
"${IN_CGROUP[@]}" "$CGROUPS/late" "${IN_POD[@]}" "${CLEAN[@]}" curl -sS -o "$T/answer" --retry 5 --retry-all-errors \
    --cacert "$T/trusted.pem" $HTTPS/second 2>"$T/client.err"
wait_for 5 is_told '.process_http.path == "/second" and .process_http.process.pod.name == "late"'

# ---- the list, and refusals ----------------------------------------------------------------------

expect_eq list "shop/cart other late" "$(pods_listed)"
expect_grep "its line" "^shop/cart  $CGROUPS/cart  /run/netns/$POD  80,443  app=cart  sallyport.io/tier=$" <(pods list)
expect_eq "as JSON" 'closed false [80,443]' \
    "$(pods list -o json | jq -r 'select(.name == "cart") | "\(.onAgentDown) \(.loopback) \(.ports | tojson)"')"
refuses() { # WHAT SENTENCE ARGS...
    local what=$1 sentence=$2
    shift 2
    expect_status "$what" 1 pods add "$@" 2>"$T/client.err"
    expect_grep "$what" "^sallyport: .*$sentence" "$T/client.err"
}
free=("--cgroup=$CGROUPS/cart/container")
refuses "a cgroup twice" "cart is registered already, as pod shop/cart" --cgroup "$CGROUPS/cart" --name again
refuses "a name twice" "there is a pod shop/cart already" "${free[@]}" --name shop/cart
refuses "no cgroup" "no directory of cgroup v2" --cgroup "$T" --name x
refuses "none at all" "No such file" --cgroup "$T/none" --name x
refuses "outside the root" "is not in $CGROUPS, the cgroup root" --cgroup "${CGROUPS%/*}" --name x
refuses "no namespace" "no network namespace" "${free[@]}" --netns /etc/passwd --name x
refuses "another namespace" "no network namespace" "${free[@]}" --netns /proc/self/ns/mnt --name x
refuses "a pipe" "no network namespace" "${free[@]}" --netns "$T/cart.in" --name x
refuses "no such namespace" "No such file" "${free[@]}" --netns /run/netns/none --name x
refuses "an odd name" "'x y' is no name of a pod" "${free[@]}" --name 'x y'
refuses "a path for a name" "'b/c' is no name of a pod" "${free[@]}" --name a/b/c
refuses "an odd label" "'a=%' is no label" "${free[@]}" --name x --label a=%
misused() { # WHAT WHY OPTION...: nobody is asked
    expect_status "$1" 2 pods add "${free[@]}" "${@:3}" 2>"$T/client.err"
    expect_grep "$1" "$2" "$T/client.err"
}
misused "an odd port" "--ports 65536: say .*ports from 1 to 65535" --name x --ports 65536
misused "an odd setting" "--on-agent-down maybe: say closed or open" --name x --on-agent-down maybe
misused "an odd route" "--route foo: say auto, proxy, kernel or passthrough" --name x --route foo
misused "no name" "wants --cgroup and --name"
expect_status "removing what is not there" 1 pods remove shop/none 2>"$T/client.err"
expect_grep "removing what is not there" "there is no pod shop/none" "$T/client.err"
expect_status "no agent" 1 sallyport pods list --runtime-dir "$T/none" 2>"$T/client.err"

# a full disk registers nothing
dd if=/dev/zero of="$T/run/filler" bs=64k 2>/dev/null || true
refuses "a full disk" "No space left" "${free[@]}" --name full
rm "$T/run/filler"
expect_eq "after a full disk" "shop/cart other late" "$(pods_listed)"
expect_eq files 3 "$(find "$T/run/pods" -type f | wc -l)"

# ---- another agent takes them up -----------------------------------------------------------------

pods remove other
rmdir "$CGROUPS/late"
wait_for 2 pods_are shop/cart
make_cgroup late
pods add --cgroup "$CGROUPS/late" --name late
agent_down
rmdir "$CGROUPS/late"
echo '{"cgroup"' >"$T/run/pods/77.json"
agent_up --drain-timeout 2s
expect_eq "what the next agent has" shop/cart "$(pods_listed)"
expect_grep "a broken file is told" "77.json.broken: [0-9]+:[0-9]+: " "$T/agent.err"
expect_eq "files of the next" "$(printf "%s\n" 77.json.broken "$(stat -c %i "$CGROUPS/cart").json" | sort | paste -sd " ")" \
    "$(find "$T/run/pods" -type f -printf '%f\n' | sort | paste -sd ' ')"
expect_eq "the connect after" "200 192.0.2.2" "$(ask cart open kept $HTTPS/again)"
wait_for 5 is_told '.process_http.path == "/again" and .process_http.process.pod.pod_labels.app == "cart"'

# ---- removed -------------------------------------------------------------------------------------

pods remove shop/cart
expect_eq "what is open goes on" "200 192.0.2.2" "$(ask cart again kept)"
wait_for 5 is_told '.process_http.path == "/again"' 2
expect_eq "the next connect is its own" "200 192.0.2.2" "$(ask cart get $HTTP/below)"
expect_grep "the origin saw it" "GET /below" "$T/access"
expect_eq "and nobody else" 0 "$(told '.process_http.path == "/below"')"
expect_eq "a list of none" "" "$(pods_listed)"
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name shop/cart
pods remove --cgroup "$CGROUPS/cart"
agent_down
