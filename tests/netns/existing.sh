#!/usr/bin/env bash
# Promise: connections that a program had before its pod was registered are listed by `sessions` and told
# as pre-existing; a policy's `existing: leave` lets them be, `reset` ends them, so that the program's next
# one is judged and looked into. Neither what others connected to the pod, nor loopback, nor what an agent
# before had seen is taken for one. With hundreds of them, and in several namespaces of one pod.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

CROWD=300
[ -z "$FULL" ] || CROWD=10000 NGINX_CONNECTIONS=20000
ulimit -n 20000
make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 443 origin
nginx_server 80
nginx_server 81
start_nginx "${IN_UPSTREAM[@]}"
for name in old new; do echo "$name" >"$T/www/$name"; done
HTTP=http://203.0.113.10 HTTPS=https://203.0.113.10

policy() { # NAME MODE EXISTING
    cat <<YAML
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: $1, namespace: shop}
spec: {podSelector: {matchLabels: {app: $1}}, mode: $2, existing: $3}
---
YAML
}
{ policy leave enforce leave; policy reset enforce reset; policy would monitor reset; } >"$T/policy.yaml"

make_cgroup plain leave reset would many served apart outside heard later
agent_up --policy "$T/policy.yaml"
for name in plain leave reset would many; do start_program $name $name "${IN_POD[@]}"; done
# What nobody hears: see "heard" below.
add() { pods add --cgroup "$CGROUPS/$1" --name "shop/$1" --label "app=$1" --route proxy "${@:2}"; }
sessions() { sallyport sessions --runtime-dir "$T/run" "$@"; }
rows() { # POD FILTER: of each of its connections
    sessions -o json --pod "$1" | jq -r "$2"
}
count() { [ "$(rows "$1" .route | wc -l)" = "$2" ]; }
OF='.[] | to_entries[0] | select(.value.process.pod.name == $pod) | .value as $e | .key as $kind'
story() { # POD: what is told of its connections
    jq -s -r --arg pod "$1" "$OF"' | select($kind | test("connect|close|policy")) |
        "\($kind) \($e.socket.dport) \($e.route) \($e.visibility) \($e.verdict) \($e.error)"' "$EVENTS"
}

# ---- report, which is what nobody says otherwise --------------------------------------------------

expect_eq "before" "200 192.0.2.2" "$(ask plain open old $HTTP/old)"
expect_eq "by IPv6" "200 2001:db8:1::2" "$(ask plain open old6 'https://[2001:db8:2::10]/old')"
add plain
wait_for 10 count plain 2
expect_eq "its sessions" "python3 192.0.2.2 203.0.113.10:80 open direct pre-existing
python3 2001:db8:1::2 2001:db8:2::10:443 open direct pre-existing" \
    "$(rows plain '"\(.process.binary | split("/")[-1] | sub("[.0-9]+$"; "3")) \(.socket.saddr) \(.socket.daddr):\(.socket.dport) \(.state) \(.route) \(.visibility)"' | sort)"
expect_eq "it goes on" "200 192.0.2.2" "$(ask plain again old)"
expect_eq "a new one is looked into" "200 192.0.2.2" "$(ask plain get $HTTPS/new)"
by_now=$(rows plain 'select(.socket.dport == 80) | "\(.tx) \(.rx)"')
ask plain drop >"$T/dropped"
wait_for 10 is_told '.process_close.visibility == "pre-existing"' 2
expect_eq "its story" "process_close 443 direct pre-existing null null
process_close 443 proxy terminated null null
process_close 80 direct pre-existing null null
process_connect 443 direct pre-existing null null
process_connect 443 proxy null null null
process_connect 80 direct pre-existing null null" "$(story plain | sort)"
expect_eq "what it wrote, as the origin counted" "$(grep -F "/old" "$T/access" | grep -oP 'from=192\.0\.2\.2.*|length=\K\d+' |
    awk '/^[0-9]/ { length_ = $1 } /^from/ { sum += length_ } END { print sum }')" \
    "$(events '.[].process_close // empty | select(.visibility == "pre-existing" and .socket.dport == 80) | .tx')"
expect_eq "which its session had said" "$by_now" \
    "$(events '.[].process_close // empty | select(.visibility == "pre-existing" and .socket.dport == 80) | "\(.tx) \(.rx)"')"

# ---- leave ----------------------------------------------------------------------------------------

expect_eq "before" "200 192.0.2.2" "$(ask leave open old $HTTP/old)"
add leave
expect_eq "a new one" "200 192.0.2.2" "$(ask leave get $HTTPS/new)"
wait_for 10 is_told '.process_close.process.pod.name == "leave"'
expect_eq "no session" "" "$(rows leave .visibility)"
expect_eq "it goes on" "200 192.0.2.2" "$(ask leave again old)"
expect_eq "and nothing is told of it" 2 "$(story leave | wc -l)"

# ---- reset ----------------------------------------------------------------------------------------

expect_eq "before" "200 192.0.2.2" "$(ask reset open old $HTTP/old)"
add reset
wait_for 10 is_told '.process_policy.policy == "shop/reset"'
expect_eq "its sessions" "reset pre-existing" "$(rows reset '"\(.state) \(.visibility)"')"
expect_eq "the program" ECONNABORTED "$(ask reset again old)"
expect_eq "connects again" "200 192.0.2.2" "$(ask reset get $HTTP/new)"
ask reset drop >"$T/dropped"
wait_for 10 is_told '.process_close.error | strings | test("^reset, as")'
expect_eq "its story" "process_connect 80 direct pre-existing deny null
process_policy 80 direct null deny null
process_close 80 direct pre-existing null reset, as it was connected before its pod was registered" \
    "$(story reset | grep direct)"

# ---- monitored: only told -------------------------------------------------------------------------

expect_eq "before" "200 192.0.2.2" "$(ask would open old $HTTP/old)"
add would
wait_for 10 is_told '.process_policy.policy == "shop/would"'
expect_eq "it goes on" "200 192.0.2.2" "$(ask would again old)"
expect_eq "its session" "open pre-existing" "$(rows would '"\(.state) \(.visibility)"')"

# ---- many, reset; and registered once more ----------------------------------------------------------

expect_eq "before" "$CROWD x 200 192.0.2.2" "$(ask many crowd $CROWD $HTTP/old)"
pods add --cgroup "$CGROUPS/many" --name shop/many --route proxy
wait_for 60 count many $CROWD
expect_eq "each of them once" $CROWD "$(rows many .socket.cookie | sort -u | wc -l)"
expect_eq "and its process" $CROWD "$(rows many .process.binary | grep -c python)"
pods remove shop/many
pods add --cgroup "$CGROUPS/many" --name shop/crowd --label app=reset --route proxy
reset_are() { [ "$(rows "$1" .state | grep -c reset)" = "$2" ]; }
wait_for 60 reset_are crowd $CROWD
expect_eq "none of them twice" $CROWD "$(events '[.[].process_connect // empty | select(.visibility == "pre-existing")
    | .socket.cookie] | group_by(.) | map(select(length == 1)) | length - 4')"
expect_eq "all of them, by the policy" $CROWD "$(told '.process_policy.process.pod.name == "crowd"')"
ask many drop >"$T/dropped"
wait_for 60 count crowd 0
expect_eq "the next one" "200 192.0.2.2" "$(ask many get $HTTP/new)"

# ---- in plain text: heard from now on --------------------------------------------------------------

start_program heard heard "${IN_POD[@]}"
expect_eq "before" "200 192.0.2.2" "$(ask heard open old $HTTP/old)"
expect_eq "TLS before" "200 192.0.2.2" "$(ask heard open tls $HTTPS/old)"
pods add --cgroup "$CGROUPS/heard" --name shop/heard
wait_for 10 count heard 2
expect_eq "how" "443 direct pre-existing
80 kernel null" "$(rows heard '"\(.socket.dport) \(.route) \(.visibility)"' | sort)"
expect_eq "it goes on" "200 192.0.2.2" "$(ask heard again old)"
expect_eq "TLS goes on" "200 192.0.2.2" "$(ask heard again tls)"
wait_for 10 is_told '.process_http.process.pod.name == "heard"'
expect_eq "what was heard" "GET /old 200 plaintext kernel" "$(events '.[].process_http // empty
    | select(.process.pod.name == "heard") | "\(.method) \(.path) \(.code) \(.visibility) \(.route)"')"
ask heard close old >"$T/dropped"
ask heard close tls >"$T/dropped"
wait_for 10 is_told '.process_close.process.pod.name == "heard"' 2
expect_eq "their ends" "443 direct pre-existing
80 kernel plaintext" "$(events '.[].process_close // empty
    | select(.process.pod.name == "heard") | "\(.socket.dport) \(.route) \(.visibility)"' | sort)"
pods remove shop/heard
ask heard open old $HTTP/old >"$T/opened"
ask heard open silent $HTTP/old >"$T/opened"
pods add --cgroup "$CGROUPS/heard" --name shop/heard
wait_for 10 count heard 2
ask heard close silent >"$T/dropped"
wait_for 10 is_told '.process_close.process.pod.name == "heard"' 3
expect_eq "of which nothing was heard" "80 kernel pre-existing" "$(events '[.[].process_close // empty
    | select(.process.pod.name == "heard")][-1] | "\(.socket.dport) \(.route) \(.visibility)"')"

# ---- a policy that comes later --------------------------------------------------------------------

start_program later later "${IN_POD[@]}"
expect_eq "before" "200 192.0.2.2" "$(ask later open old $HTTP/old)"
pods add --cgroup "$CGROUPS/later" --name shop/later --label app=would
wait_for 10 count later 1
expect_eq "it goes on" "200 192.0.2.2" "$(ask later again old)"
expect_eq "it is heard" "watching kernel" "$(rows later '"\(.state) \(.route)"')"
policy would enforce reset >"$T/policy.yaml"
kill -HUP "$AGENT"
wait_for 10 reset_are would 1
expect_eq "the program" ECONNABORTED "$(ask would again old)"
wait_for 10 reset_are later 1
expect_eq "one that was heard" "reset kernel" "$(rows later '"\(.state) \(.route)"')"
expect_eq "its program" ECONNABORTED "$(ask later again old)"

# ---- what is none: loopback, and who comes to the pod ------------------------------------------------

"${IN_CGROUP[@]}" "$CGROUPS/served" "${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 -m http.server --protocol HTTP/1.1 \
    --bind :: --directory "$T/www" 8000 >"$T/server.log" 2>&1 &
PIDS+=("$!")
wait_for 20 "${IN_POD[@]}" "${CLEAN[@]}" bash -c 'exec 3<>/dev/tcp/127.0.0.1/8000'
start_program outside outside "${IN_UPSTREAM[@]}"
start_program served served "${IN_POD[@]}"
expect_eq "from outside" "200 192.0.2.1" "$(ask outside open in http://192.0.2.2:8000/old)"
expect_eq "to itself" "200 127.0.0.1" "$(ask served open self http://127.0.0.1:8000/old)"
expect_eq "and out" "200 192.0.2.2" "$(ask served open old $HTTP/old)"
pods add --cgroup "$CGROUPS/served" --name shop/served --label app=would --route proxy
wait_for 10 count served 2
expect_eq "its sessions" "127.0.0.1 open
203.0.113.10 reset" "$(rows served '"\(.socket.daddr) \(.state)"' | sort)"
expect_eq "from outside, still" "200 192.0.2.1" "$(ask outside again in)"
expect_eq "to itself, still" "200 127.0.0.1" "$(ask served again self)"

# ---- a second namespace of one pod -------------------------------------------------------------------

start_program there apart "${IN_UPSTREAM[@]}"
start_program here apart "${IN_POD[@]}"
expect_eq "here" "200 192.0.2.2" "$(ask here open old $HTTP/old)"
expect_eq "there" "200 203.0.113.10" "$(ask there open old $HTTP/old)"
add apart
wait_for 10 count apart 2

# ---- what an agent before knew -------------------------------------------------------------------------

expect_eq "one that is not looked into" "200 192.0.2.2" "$(ask here open direct http://203.0.113.10:81/new)"
wait_for 10 is_told '.process_connect.socket.dport == 81'
was=$(date +%s%N) said=$(rows heard .tx)
agent_down KILL 2>"$T/killed"
expect_eq "while no agent runs" "200 192.0.2.2" "$(ask heard again old)"
agent_up --policy "$T/policy.yaml"
wait_for 10 count apart 3
expect_eq "they are followed again" "80 direct pre-existing
80 direct pre-existing
81 direct null" "$(rows apart '"\(.socket.dport) \(.route) \(.visibility)"' | sort)"
wait_for 10 count heard 1
wait_for 10 is_told '.process_http.process.pod.name == "heard"' 2 # said while there was no agent
expect_eq "its age, and what it had said, by then" "true true" "$(rows heard "
    \"\((.age_ns | tonumber) > $(date +%s%N) - $was) \((.tx | tonumber) == 2 * $said)\"")"
expect_eq "one that was heard goes on" "200 192.0.2.2" "$(ask heard again old)"
wait_for 10 is_told '.process_http.process.pod.name == "heard"' 3
expect_eq "and is heard again" "GET /old 200 plaintext kernel" "$(events '[.[].process_http // empty
    | select(.process.pod.name == "heard")][-1] | "\(.method) \(.path) \(.code) \(.visibility) \(.route)"')"
expect_eq "and not told again" 2 "$(told '.process_connect.process.pod.name == "apart" and .process_connect.visibility == "pre-existing"')"
expect_eq "it goes on" "200 192.0.2.2" "$(ask here again direct)"
expect_eq "what it has written by now" 142 "$(rows apart 'select(.socket.dport == 81) | .tx')"
ask here close direct >"$T/dropped"
wait_for 10 is_told '.process_close.socket.dport == 81'
expect_eq "its end" "direct null 142" \
    "$(events '.[].process_close // empty | select(.socket.dport == 81) | "\(.route) \(.visibility) \(.tx)"')"

# its pod is removed, so that the next agent does not know it; a pod that comes then did not make them
ask here open direct http://203.0.113.10:81/new >"$T/opened"
wait_for 10 is_told '.process_connect.socket.dport == 81' 2
pods remove shop/apart
agent_down KILL 2>"$T/killed"
agent_up --policy "$T/policy.yaml"
add apart --label tier=again
wait_for 10 count apart 2
expect_eq "what is older than the pod, as it is now" "80 pre-existing" "$(rows apart '"\(.socket.dport) \(.visibility)"' | sort -u)"
expect_eq "it goes on" "200 192.0.2.2" "$(ask here again old)"
ask here drop >"$T/dropped"
wait_for 10 count apart 1
agent_down
