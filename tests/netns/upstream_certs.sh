#!/usr/bin/env bash
# Promise: of upstreams' certificates a pod is told what it would have found out itself. What curl takes
# direct it takes under `exec`, what it refuses direct it is refused, by an alert that fits and with a
# reason in the event; and so, as far as they agree with it, are OpenSSL, GnuTLS and Python at its
# strictest. A server that demands the program's certificate, or speaks only old TLS, is left to it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

# an image of its own: nothing of what its bundle holds is trusted by the machine
POD_ROOTS=/etc/ssl/certs/ca-certificates.crt
IN_IMAGE=(unshare --mount sh -ec '
    mount -t tmpfs none /etc/ssl/certs
    cp "$0/bundle.pem" /etc/ssl/certs/ca-certificates.crt
    mount --bind "$0/hosts" /etc/hosts
    exec "$@"' "$T")
ask() { # SECONDS_AT_MOST PROGRAM ARGS...: odd_certs_ask.py, run by PROGRAM
    clean SSL_CERT_FILE=$POD_ROOTS timeout "$@" /usr/bin/python3 "$HERE/odd_certs_ask.py" "$T" "$T/cases"
}

background /usr/bin/python3 -W ignore "$HERE/odd_certs.py" "$T" >"$T/cases" 2>"$T/origins.err"
wait_for 120 grep -q '^{}$' "$T/cases"
ask 120 "${IN_IMAGE[@]}" >"$T/direct" 2>"$T/direct.err"
ask 240 "${IN_IMAGE[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS" --loopback --ports all -- \
    >"$T/steered" 2>"$T/steered.err"
/usr/bin/python3 "$HERE/odd_certs_judge.py" "$T/cases" "$T/direct" "$T/steered" "$EVENTS" ||
    fail "steered is not as direct"

# the roots are the pod's, not the node's: outside of that image nothing of this is good
good=$(jq -r 'select(.name == "good") | .port' "$T/cases")
expect_status "the node's roots" 35 sallyport exec --loopback --ports all --events-file "$EVENTS" -- \
    curl -sS --resolve "good.test:$good:127.0.0.1" "https://good.test:$good/" 2>"$T/client.err"
expect_grep "the node's roots" 'is unknown to the program' "$EVENTS"
