#!/usr/bin/env bash
# Promise: a program that begins many connections and gives them up before they are there, as Go's HTTP client does with
# those that it dials in advance, uses up neither the ports of its namespace nor the agent's time: what it asks for behind
# them is answered at once, and the server hears of no connection that was given up before the agent heard of it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
echo hello >"$T/www/a"
make_cgroup pod
agent_up
pods add --cgroup "$CGROUPS/pod" --netns "/run/netns/$POD" --name pod
in_pod() { "${IN_CGROUP[@]}" "$CGROUPS/pod" "${IN_POD[@]}" "${CLEAN[@]}" "$@"; }
accepted() { "${IN_UPSTREAM[@]}" nstat -asz TcpPassiveOpens | awk '$1 == "TcpPassiveOpens" { print $2 }'; }
waiting() { "${IN_POD[@]}" ss -Htn state time-wait dst 203.0.113.10 | wc -l; }

"${IN_POD[@]}" sysctl -qw net.ipv4.ip_local_port_range='40000 40099'
cat >"$T/give_up.py" <<'PY'
import socket, sys
for _ in range(int(sys.argv[1])):
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(("203.0.113.10", 80))
PY
before=$(accepted)
kill -STOP "$AGENT" # a busy machine: it hears of them all at once
in_pod /usr/bin/python3 "$T/give_up.py" 300
kill -CONT "$AGENT"
expect_eq "behind them" hello "$(in_pod curl -sS -m 20 http://203.0.113.10/a)"
expect_eq "connections that the server had" 1 $(($(accepted) - before))
echo "ok: given up before they were heard of"

# some while they are being dialled, as it comes; of one that is interrupted between the two, the connection is
# there when it gives it up, and its port waits, as it would without an agent
in_pod chrt --fifo 1 /usr/bin/python3 "$T/give_up.py" 300
expect_eq "behind them" hello "$(in_pod curl -sS -m 20 http://203.0.113.10/a)"
[ "$(waiting)" -le 20 ] || fail "$(waiting) ports wait for nothing"
echo "ok: given up at any time"
