#!/usr/bin/env bash
# Promise: with --ktls, or a policy's `ktls: prefer`, programs that use OpenSSL ask the kernel to
# encrypt: by the configuration that they read anyway, all of which stays as it was. What is broken is
# left alone, and told. Whether there is kTLS is another matter (tests/vm).
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

# what a program of OpenSSL's makes of it: its kTLS option, and its lowest version
cat >"$T/asks.py" <<'PY'
import ssl
context = ssl.create_default_context()
print(bool(context.options & 1 << 3), context.minimum_version.name)
PY
asks() { # VARIABLE=VALUE... [-- OPTION...]
    local variables=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done
    clean "${variables[@]}" "$SALLYPORT" exec --events-file "$EVENTS" "${@:2}" -- \
        /usr/bin/python3 "$T/asks.py" 2>"$T/said"
}
now=$(clean /usr/bin/python3 "$T/asks.py")
expect_eq "without it" "$now" "$(asks)"
expect_eq "without it, nobody asks" False "${now% *}"
expect_eq "with it" "True ${now#* }" "$(asks -- --ktls)"
if [ ! -e /sys/module/tls ] && ! modprobe -q tls 2>/dev/null; then
    expect_grep "what this kernel lacks" 'this kernel has no TLS' "$T/said"
fi
cat >"$T/prefer.yaml" <<'YAML'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: prefer}
spec: {ktls: prefer, egress: [{toEntities: [all]}]}
YAML
expect_eq "by a policy" "True ${now#* }" "$(asks -- --policy "$T/prefer.yaml")"
expect_eq "the file itself is as it was" "$now" "$(clean /usr/bin/python3 "$T/asks.py")"
echo "ok: the system's configuration"

cat >"$T/own.cnf" <<'CNF'
openssl_conf = a
[a]
ssl_conf = b
[b]
system_default = c
[c]
MinProtocol = TLSv1.3
Options = NoTicket
CNF
chmod 640 "$T/own.cnf"
cp "$T/own.cnf" "$T/own.before"
expect_eq "one of its own" "True TLSv1_3" "$(asks "OPENSSL_CONF=$T/own.cnf" -- --ktls)"
expect_eq "the variable, and the file's mode" "$T/own.cnf 640" \
    "$(clean "OPENSSL_CONF=$T/own.cnf" "$SALLYPORT" exec --events-file "$EVENTS" --ktls -- \
        sh -c 'echo "$OPENSSL_CONF $(stat -c %a "$OPENSSL_CONF")"' 2>"$T/said")"
expect_same "the file" "$T/own.before" "$T/own.cnf"
expect_eq "one that is not there" "True ${now#* }" "$(asks "OPENSSL_CONF=$T/nowhere.cnf" -- --ktls)"
expect_eq "none" "True ${now#* }" "$(asks "OPENSSL_CONF=/dev/null" -- --ktls)"
printf '[a\nopenssl_conf = x\n' >"$T/broken.cnf"
asks "OPENSSL_CONF=$T/broken.cnf" -- --ktls >"$T/out" || true
expect_grep "a broken one is told" "broken.cnf stays as it is, .*: line 1: missing close square bracket" "$T/said"
echo "ok: configurations of a program's own"

agent_up --policy "$T/prefer.yaml"
expect_eq "a pod of the agent, by its policy" "True ${now#* }" \
    "$("${IN_CGROUP[@]}" "$CGROUPS" "${CLEAN[@]}" "$SALLYPORT" exec --agent --runtime-dir "$T/run" \
        --events-file "$T/joined" -- /usr/bin/python3 "$T/asks.py" 2>"$T/said")"
echo "ok: by an agent's policy"
