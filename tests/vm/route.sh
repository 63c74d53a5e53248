#!/usr/bin/env bash
# Promise: programs that let the kernel encrypt are read and judged there, and told as on the proxy route,
# and `auto` finds out which they are; with the back-end that fits this kernel. The parts are in route/.
# One agent for all of them, for the guest takes long to load the kernel's programs. route.sh lsm|sockmap [more]
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"
backend=$1
# shellcheck disable=SC2034 # a part needs it
more=${2:-}

# ---- nginx in a pod, which lets the kernel encrypt, too ------------------------------

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r aes128 aes256 chacha http2 h2_of12 <<<"$(free_ports 5)"
OF_12=ECDHE-ECDSA
KTLS='ssl_conf_command Options KTLS; ssl_conf_command Ciphersuites'
nginx_server "$aes128" origin "$KTLS TLS_AES_128_GCM_SHA256; ssl_ciphers $OF_12-AES128-GCM-SHA256;"
nginx_server "$aes256" origin "$KTLS TLS_AES_256_GCM_SHA384; ssl_ciphers $OF_12-AES256-GCM-SHA384;"
nginx_server "$chacha" origin "$KTLS TLS_CHACHA20_POLY1305_SHA256; ssl_ciphers $OF_12-CHACHA20-POLY1305;"
NGINX_SPEAKS=http2 nginx_server "$http2" origin "$KTLS TLS_AES_256_GCM_SHA384; ssl_ciphers $OF_12-AES256-GCM-SHA384;"
NGINX_SPEAKS=http2 nginx_server "$h2_of12" origin "$KTLS TLS_AES_256_GCM_SHA384; ssl_protocols TLSv1.2;"
make_cgroup served kernel proxy auto
start_nginx "${IN_CGROUP[@]}" "$CGROUPS/served"
PROGRAM_PID[nginx]=${PIDS[-1]}

agent_up
for pod in served:kernel kernel:kernel proxy:proxy auto:auto; do
    pods add --cgroup "$CGROUPS/${pod%:*}" --netns /proc/self/ns/net --name "${pod%:*}" --label "app=${pod%:*}" \
        --ports all --loopback --route "${pod#*:}"
done
status() { sallyport status --runtime-dir "$T/run" -o json; }
expect_eq "the back-end" "$backend" "$(status | jq -r .kernel_route.back_end)"
case $backend in
    lsm) words="LSM programs kTLS; a program with several threads can race a denial of kTLS" ;;
    sockmap) words="plain HTTP and kTLS before it is encrypted" ;;
esac
expect_grep "... in words" "sk_msg programs can read and deny.* $words" <(status)

# in_pod NAME PROGRAM ARGS...
in_pod() { "${IN_CGROUP[@]}" "$CGROUPS/$1" "${CLEAN[@]}" "${@:2}"; }
# told_of POD [LINES]: its events, one a line, without the name of what they are of; behind so many lines
told_of() {
    tail -n +$((${2:-0} + 1)) "$EVENTS" |
        jq -c --arg pod "$1" 'to_entries[] | select(.value | objects | .process.pod.name == $pod) | {(.key): .value}'
}
so_far() { wc -l <"$EVENTS"; } # lines
# POD KIND; not by jq, which takes long to start in a guest
count() { grep -c "^{\"process_$2.*\"pod\":{[^{}]*\"name\":\"$1\"" "$EVENTS" || true; }
has_told() { [ "$(count "$1" "$2")" -ge "$3" ]; }
policy() { # NAME OF-POD LINE...: one of its spec each
    printf 'apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: %s}\nspec:\n' "$1"
    printf '  podSelector: {matchLabels: {app: %s}}\n' "$2"
    printf '  %s\n' "${@:3}"
}
apply() { policy "$@" >"$T/$1.yaml" && sallyport policy apply --runtime-dir "$T/run" "$T/$1.yaml" >"$T/out" 2>"$T/said"; }
remove() { sallyport policy remove --runtime-dir "$T/run" "$1" >"$T/out"; }
# before anybody has used it the module's counters may not be there
encrypted() { { cat /proc/net/tls_stat 2>/dev/null || true; } | awk '$1 == "TlsTxSw" { n = $2 } END { print n + 0 }'; }

for part in ktls closing golden http2 acts auto why taken odd; do
    # shellcheck source=/dev/null
    . "$HERE/route/$part.sh"
done
# a socket of a sockhash that has kTLS cannot come back into it
# shellcheck source=/dev/null
[ "$backend" = lsm ] || . "$HERE/route/restart.sh"
agent_down
kill "${PROGRAM_PID[@]}"
wait "${PROGRAM_PID[@]}" 2>/dev/null || true # else bash tells of each
