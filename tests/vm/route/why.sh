# why: what `status` says of programs that do not have the kernel encrypt, or one way alone: that they speak
# TLS, and why not; on the kernel route, too, where nobody ends their TLS.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

URL=https://127.0.0.1:$aes256/a
make_cgroup why outside
pods add --cgroup "$CGROUPS/why" --netns /proc/self/ns/net --name why --ports all --loopback --route kernel
# row PODS PROGRAM: what the kernel encrypts, whether it could, and why not; of pods whose name begins so
row() {
    status | jq -r --arg pod "$1" --arg p "$(realpath "$2")" '.programs[] | select((.pod | startswith($pod)) and .program == $p) |
        "\(.ktls) \(.capable) \(.not_sent // "is sent") / \(.not_received // "-")"'
}
row_is() { row "$1" "$2" | grep -qE "$3"; }
# expect_row WHAT PODS PROGRAM PATTERN
expect_row() { wait_for 30 row_is "${@:2}" || fail "$1: it is '$(row "$2" "$3")'"; }

start_asked w why "${CLEAN[@]}" /usr/bin/python3 "$HERE/route/auto.py" "$T/trusted.pem"
expect_eq "it encrypts by itself" "200 itself" "$(ask w off "$URL")"
expect_row "who was not asked" why /usr/bin/python3 '^off true not asked for, as far as is known: '
in_pod why curl -sS --cacert "$T/trusted.pem" "$URL" >"$T/out"
expect_row "curl" why "$(command -v curl)" '^off false libcurl has a BIO of its own / -$'
expect_eq "it lets the kernel encrypt" "200 kernel" "$(ask w on "$URL")"
expect_row "TLS 1.3, and this OpenSSL" why /usr/bin/python3 '^tx (rx )?true is sent / (-|TLS 1.3 is received by the kernel only with OpenSSL 3.2 or later)$'

start_asked x outside "${CLEAN[@]}" "$SALLYPORT" exec --agent --runtime-dir "$T/run" --events-file "$T/joined" --route kernel \
    --ports all --loopback --ktls -- /usr/bin/python3 "$HERE/route/auto.py" "$T/trusted.pem"
expect_eq "it was asked, and has options of its own" "200 itself" "$(ask x off "$URL")"
expect_row "who was asked" exec/ /usr/bin/python3 '^off false asked for, but not done: the program has a BIO, or options, of its own'
for program in w x; do
    kill "${PROGRAM_PID[$program]}"
    wait "${PROGRAM_PID[$program]}" 2>/dev/null || true
    unset "PROGRAM_PID[$program]"
done
pods remove why
echo "ok: why programs do not use kTLS, $backend on $(uname -r)"
