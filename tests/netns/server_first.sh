#!/usr/bin/env bash
# Promise: servers that speak first (SMTP, SSH, MySQL and the like) are heard at once on ports that are
# looked into; what turns to TLS after words in the clear gets the server's own certificate, and is
# told as that.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
background /usr/bin/python3 "$HERE/first_words.py" "$T/origin.pem" "$T/origin.key" >"$T/ports"
all_listen() { [ "$(wc -l <"$T/ports")" = 13 ]; }
wait_for 10 all_listen
port() { awk -v name="$1" '$1 == name { print $2 }' "$T/ports"; }
told() { # PORT: how its close is told
    events ".[].process_close // empty | select(.socket.dport == $1) | \"\\(.visibility) \\(.visibility_reason) \\(.route)\""
}

# ---- turns to TLS, by the words of each protocol -----------------------------------
mapfile -t protocols < <(awk '!/^plain_/ { print $1 }' "$T/ports")
turn_all() { # all in one command; what each saw is in $T/PROTOCOL.seen
    local protocol port
    while read -r protocol port; do
        timeout 20 openssl s_client -starttls "$protocol" -name mx.test -connect "127.0.0.1:$port" \
            -CAfile "$1/ca.pem" -verify_return_error -ign_eof </dev/null >"$1/$protocol.seen" 2>"$1/$protocol.err"
    done < <(grep -v ^plain_ "$1/ports")
}
turn() { "$@" bash -c "$(declare -f turn_all); turn_all $T"; }
turn exec_local -- || fail "a client failed"
for protocol in "${protocols[@]}"; do
    expect_grep "$protocol: within TLS" '^inside' "$T/$protocol.seen"
    expect_eq "$protocol: the server's own certificate" "$(openssl x509 -in "$T/origin.pem")" \
        "$(openssl x509 -in "$T/$protocol.seen")"
    expect_eq "$protocol: told" "opaque starttls passthrough" "$(told "$(port "$protocol")")"
done
echo "ok: starttls: ${protocols[*]}"

# ---- a turn that is refused is none --------------------------------------------------
cat >"$T/talk.py" <<'PY'
import socket, sys, time
began = time.monotonic()
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for said in sys.argv[2:]:
    if said:
        c.sendall(said.encode().decode("unicode_escape").encode("latin-1"))
    print(c.recv(1000))
if time.monotonic() - began > 5: # a peek may take 10
    sys.exit("too late")
PY
exec_local -- /usr/bin/python3 "$T/talk.py" "$(port plain_smtp)" '' 'STARTTLS\r\n' 'QUIT\r\n' >"$T/seen"
expect_eq "SMTP in the clear" "b'220 mx.test ESMTP\r\n' b'454 not today\r\n' b'221 bye\r\n'" "$(xargs -d '\n' <"$T/seen")"
expect_eq "told" "opaque server first passthrough" "$(told "$(port plain_smtp)")"
exec_local -- /usr/bin/python3 "$T/talk.py" "$(port plain_postgres)" '\0\0\0\x08\x04\xd2\x16\x2f' \
    '\0\0\0\x0f\0\x03\0\0user\0a\0' >"$T/seen"
expect_eq "PostgreSQL in the clear" "b'N' b'R\x00\x00\x00\x08\x00\x00\x00\x00'" "$(xargs -d '\n' <"$T/seen")"
expect_eq "told" "opaque unknown passthrough" "$(told "$(port plain_postgres)")"
echo "ok: in the clear"

# ---- a real server that speaks first ---------------------------------------------------
make_namespaces
ssh-keygen -q -t ed25519 -N '' -f "$T/host"
printf '%s\n' 'ListenAddress 203.0.113.10:443' "HostKey $T/host" 'UsePAM no' 'PidFile none' >"$T/sshd_config"
# it insists on /run/sshd: in a mount namespace of its own, so that none is left behind
background "${CLEAN[@]}" "${IN_UPSTREAM[@]}" unshare --mount sh -ec 'mount -t tmpfs none /run; mkdir -m 755 /run/sshd
    exec /usr/sbin/sshd -D -e -f "$0"' "$T/sshd_config" 2>"$T/sshd.err"
wait_for 20 "${IN_UPSTREAM[@]}" bash -c 'exec 3<>/dev/tcp/203.0.113.10/443'
# a whole key exchange; the client waits for the greeting
"${IN_POD[@]}" "${EXEC_LOCAL[@]}" -- ssh-keyscan -T 5 -p 443 -t ed25519 203.0.113.10 >"$T/seen" 2>"$T/client.err"
expect_eq "the host's key" "$(cut -d' ' -f1,2 "$T/host.pub")" "$(cut -d' ' -f2,3 "$T/seen")"
expect_eq "told" "opaque server first passthrough" "$(told 443)"
echo "ok: ssh"
