#!/usr/bin/env bash
# Promise: on this kernel `sallyport exec` steers, terminates and tells curl's requests by IPv4 and
# IPv6, and leaves nothing behind. Small: the guest is slow. Runs on any machine as well.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
read -r port plain <<<"$(free_ports 2)"
nginx_server "$port" origin
nginx_server "$plain"
start_nginx
head -c 1000000 /dev/urandom >"$T/www/file"
leftovers >"$T/before"

for url in "https://[::1]:$port" "http://127.0.0.1:$plain"; do # the story has https by IPv4
    : >"$T/access"
    expect_status "curl $url" 0 exec_local -- curl -sS -o "$T/answer" "$url/file" 2>"$T/client.err"
    expect_same "$url" "$T/answer" "$T/www/file"
    expect_grep "the origin's log" ' GET /file HTTP/1.1 200 ' "$T/access"
    if [[ $url == https:* ]]; then
        wanted='process_exec process_connect process_tls process_http process_close process_exit'
        expect_eq "visibility of $url" terminated "$(events '.[].process_http // empty | .visibility')"
    else
        wanted='process_exec process_connect process_http process_close process_exit'
    fi
    expect_eq "events of $url" "$wanted" \
        "$(events '[.[] | keys[] | select(startswith("process_"))] | join(" ")')"
    expect_eq "http event of $url" "GET /file 200 $(realpath "$(command -v curl)")" \
        "$(events '.[].process_http // empty | "\(.method) \(.path) \(.code) \(.process.binary)"')"
    expect_all_seq
    echo "ok: $url on $(uname -r)"
done
expect_leftovers "$T/before"
