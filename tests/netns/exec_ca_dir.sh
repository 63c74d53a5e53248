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

# an RSA authority serves a program that can verify RSA alone, to the end of the chain
openssl req -config "$T/openssl.cnf" -x509 -newkey rsa:2048 -nodes -keyout "$T/rsa.key" -out "$T/rsa.pem" -days 20 \
    -subj /CN=rsa -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
    -addext subjectKeyIdentifier=hash 2>"$T/openssl.log" || fail "openssl: $(cat "$T/openssl.log")"
mkdir "$T/rsa" "$T/classes"
cp "$T/rsa.pem" "$T/rsa/tls.crt"
cp "$T/rsa.pem" "$T/rsa/ca.crt"
install -m 600 "$T/rsa.key" "$T/rsa/tls.key"
clean ecj -proc:none -source 11 -target 11 -d "$T/classes" "$HERE/runtimes/Get.java"
java_rsa() { # EXEC_OPTIONS...
    exec_local "$@" -- java -Djdk.tls.client.SignatureSchemes=rsa_pkcs1_sha256,rsa_pss_rsae_sha256 \
        -cp "$T/classes" Get client "https://localhost:$port/small"
}
expect_status "Java, RSA only" 0 java_rsa --ca "$T/rsa" >"$T/answer" 2>"$T/client.err"
expect_eq "answer" small "$(cat "$T/answer")"
expect_status "Java, RSA only, of our own CA" 1 java_rsa >"$T/answer" 2>"$T/client.err"
expect_eq "the reason is told" 1 "$(events '[.[].process_tls.error // empty] | length')"

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
