#!/usr/bin/env bash
# Promise: `ca init` makes a CA that openssl takes for one, and leaves alone what is there; `ca rotate`
# publishes the next one in the bundle before it signs; while they overlap, what the old one has
# signed and what the new one signs verify against one bundle; a directory of others is read, never
# written; a full disk leaves the old CA whole.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx

ca() { local what=$1; shift; sallyport ca "$what" --ca "$T/ca-dir" "$@"; }
shown() { ca show -o json | jq -r ".authorities[] | select(.state == \"$1\") | .$2"; }
leaf() { # FILE: what a client is shown
    exec_local --ca "$T/ca-dir" -- openssl s_client -connect "localhost:$port" -servername localhost \
        </dev/null 2>"$T/client.err" | openssl x509 -out "$T/$1"
}
verifies() { # FILE BUNDLE
    clean openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile "$T/$2" "$T/$1" >"$T/out" 2>&1
}
bundle() { ca bundle >"$T/$1"; }
number() { grep -c BEGIN "$T/$1"; }

# ---- init

expect_status "init" 0 ca init >"$T/out"
expect_eq "names" "ca.crt tls.crt tls.key" "$(cd "$T/ca-dir" && echo *)"
expect_eq "modes" "700 600" "$(stat -Lc %a "$T/ca-dir" "$T/ca-dir/tls.key" | paste -sd' ')"
openssl x509 -in "$T/ca-dir/tls.crt" -noout -text >"$T/text"
expect_grep "a CA" 'CA:TRUE, pathlen:0' "$T/text"
expect_grep "of P-256" 'ASN1 OID: prime256v1' "$T/text"
expect_grep "that signs certificates" 'Certificate Sign' "$T/text"
expect_status "not for more than 90 days" 1 openssl x509 -in "$T/ca-dir/tls.crt" -noout -checkend $((90 * 86400)) >"$T/out"
expect_status "but for 89" 0 openssl x509 -in "$T/ca-dir/tls.crt" -noout -checkend $((89 * 86400)) >"$T/out"
expect_eq "the key is the certificate's" "$(openssl x509 -in "$T/ca-dir/tls.crt" -noout -pubkey)" \
    "$(openssl pkey -in "$T/ca-dir/tls.key" -pubout)"
expect_status "the root verifies it" 0 clean openssl verify -x509_strict -CAfile "$T/ca-dir/ca.crt" "$T/ca-dir/tls.crt" >"$T/out"
expect_eq "show, by openssl's fingerprint" "$(shown current sha256)" \
    "$(openssl x509 -in "$T/ca-dir/tls.crt" -noout -fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)"
before=$(shown current sha256)
expect_status "init once more" 1 ca init 2>"$T/client.err"
expect_grep "names what is there" "$T/ca-dir/" "$T/client.err"
expect_eq "and has left it" "$before" "$(shown current sha256)"
expect_status "the usual directory" 0 env STATE_DIRECTORY="$T/state" "$SALLYPORT" ca init >"$T/out"
expect_status "is there" 0 test -s "$T/state/ca/tls.crt"
echo "ok: init"

# ---- rotate

leaf old.pem
expect_status "publishing" 0 ca rotate --overlap 3s >"$T/out"
bundle overlap.pem
expect_eq "roots in the bundle" 2 "$(number overlap.pem)"
expect_eq "the one before signs" "$before" "$(shown current sha256)"
next=$(shown next sha256)
expect_status "publishing once more" 1 ca rotate 2>"$T/client.err"
expect_grep "says that there is one" "signs from $(shown next signs_from)" "$T/client.err"
signs() { [ "$(shown current sha256)" = "$next" ]; }
wait_for 20 signs # nobody writes anything
leaf new.pem
expect_eq "the one before" "$before" "$(shown previous sha256)"
for which in old new; do
    expect_status "the $which leaf, by the bundle" 0 verifies $which.pem overlap.pem
done
cp "$T/ca-dir/ca.crt" "$T/ca.crt"
expect_status "the new leaf, by ca.crt" 0 verifies new.pem ca.crt
openssl x509 -in "$T/ca-dir/tls.crt" -out "$T/first.pem"
expect_status "the new leaf, by the first root alone" 2 verifies new.pem first.pem
bundle after.pem
expect_eq "roots in the bundle after it" 2 "$(number after.pem)"
expect_status "the old leaf, after it" 0 verifies old.pem after.pem
echo "ok: rotate"

expect_status "publishing the third" 0 ca rotate >"$T/out"
third=$(shown next sha256)
expect_status "and signing with it now" 0 ca rotate --now >"$T/out"
expect_eq "the third signs" "$third" "$(shown current sha256)"
leaf third.pem
bundle third-bundle.pem
for which in old new third; do
    expect_status "the $which leaf, by the third bundle" 0 verifies $which.pem third-bundle.pem
done
expect_eq "directories of sets that are left" 1 "$(find "$T/ca-dir" -mindepth 1 -maxdepth 1 -type d | wc -l)"
echo "ok: rotate --now"

# ---- a full disk, half a swap, directories of others

mkdir "$T/small"
mount -t tmpfs -o size=64k,mode=700 tmpfs "$T/small"
# shellcheck disable=SC2064 # now
trap "umount '$T/small'; tear_down" EXIT
sallyport ca init "$T/small/ca" >"$T/out"
sum=$(cat "$T/small/ca/"* | sha256sum)
dd if=/dev/zero of="$T/small/fill" bs=4k 2>"$T/out" || true
expect_status "rotate on a full disk" 1 sallyport ca rotate --now --ca "$T/small/ca" 2>"$T/client.err"
expect_grep "says so" "$T/small/ca.*No space left on device" "$T/client.err"
rm "$T/small/fill"
expect_eq "what was there" "$sum" "$(cat "$T/small/ca/"* | sha256sum)"
expect_status "rotate when there is room again" 0 sallyport ca rotate --now --ca "$T/small/ca" >"$T/out"
echo "ok: a full disk"

mkdir "$T/others"
make_ca mine
cp "$T/mine.pem" "$T/others/tls.crt"
cat "$T/mine.pem" "$T/ca.pem" >"$T/others/ca.crt"
install -m 600 "$T/mine.key" "$T/others/tls.key"
expect_status "show of others' files" 0 sallyport ca show --ca "$T/others" >"$T/out"
expect_grep "names its subject" '^current +CN=test mine ' "$T/out"
sallyport ca bundle --ca "$T/others" >"$T/others.pem"
expect_eq "all of its roots" 2 "$(number others.pem)"
expect_status "rotate of others' files" 1 sallyport ca rotate --now --ca "$T/others" 2>"$T/client.err"
expect_grep "is refused" "the CA in $T/others was not made by" "$T/client.err"
expect_status "no directory at all" 1 sallyport ca show --ca "$T/nowhere" 2>"$T/client.err"
expect_grep "is told" "$T/nowhere holds no authority" "$T/client.err"
ln -sfn ..gone "$T/ca-dir/..data"
expect_status "a volume that leads nowhere" 1 ca show 2>"$T/client.err"
expect_grep "is told" "$T/ca-dir" "$T/client.err"
expect_status "nor is anything put into it" 1 ca init 2>"$T/client.err"
echo "ok: directories of others"
