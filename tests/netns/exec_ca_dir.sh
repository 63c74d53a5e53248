#!/usr/bin/env bash
# Promise: with --ca DIR leaves are signed by the authority kept there (cert-manager's names), so
# that trust can be given once; a directory that is not safe or not whole is refused, in a sentence
# that names the file.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
make_ca mine
make_ca other
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
echo small >"$T/www/small"

directory() { # name: a sound one
    mkdir "$T/$1"
    cp "$T/mine.pem" "$T/$1/tls.crt"
    cp "$T/mine.pem" "$T/$1/ca.crt"
    install -m 600 "$T/mine.key" "$T/$1/tls.key"
}
directory sound
for _ in 1 2; do # the same authority in each run
    exec_local --ca "$T/sound" -- openssl s_client -connect "localhost:$port" -servername localhost \
        </dev/null >"$T/seen" 2>"$T/client.err"
    openssl x509 -in "$T/seen" -out "$T/leaf.pem"
    expect_status "leaf verified by the authority in --ca" 0 \
        openssl verify -purpose sslserver -CAfile "$T/mine.pem" "$T/leaf.pem" >"$T/out"
done
expect_status "curl trusts it" 0 exec_local --ca "$T/sound" -- curl -sS -o "$T/answer" "https://localhost:$port/small"
expect_eq "answer" small "$(cat "$T/answer")"

refused() { # directory, file that the sentence names
    expect_status "--ca $1" 125 exec_local --ca "$T/$1" -- echo ran >"$T/out" 2>"$T/client.err"
    expect_eq "standard output with --ca $1" 0 "$(wc -c <"$T/out")"
    expect_eq "sentences with --ca $1" 1 "$(wc -l <"$T/client.err")"
    expect_grep "--ca $1" "^sallyport: .*$T/$1/?$2" "$T/client.err"
    echo "ok: $(cat "$T/client.err")"
}
directory group-reads; chmod 640 "$T/group-reads/tls.key"
refused group-reads tls.key
directory others-read; chmod 604 "$T/others-read/tls.key"
refused others-read tls.key
directory no-key; rm "$T/no-key/tls.key"
refused no-key tls.key
directory wrong-key; cat "$T/other.key" >"$T/wrong-key/tls.key"
refused wrong-key tls.key
directory broken; echo nonsense >"$T/broken/tls.crt"
refused broken tls.crt
directory not-a-ca; cp "$T/origin.pem" "$T/not-a-ca/tls.crt"; cat "$T/origin.key" >"$T/not-a-ca/tls.key"
refused not-a-ca tls.crt
refused nowhere ''
