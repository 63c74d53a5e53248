#!/usr/bin/env bash
# Promise: the TLS of servers that --passthrough names is not ended: the program sees their own
# certificate, the connection is told as passed on, and all others are read as ever.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

internet_up ebpf.io host-record=www.ebpf.io,203.0.113.10 host-record=a.b.test,203.0.113.10
make_cert many ca DNS:ebpf.io,DNS:www.ebpf.io,DNS:a.b.test,IP:203.0.113.10
cp "$T/many.pem" "$T/site.pem"
cp "$T/many.key" "$T/site.key"
kill -HUP "$(cat "$T/site.pid")"

through=()
through() { clean "${IN_POD_DNS[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS" --upstream-ca "$T/ca.pem" "${through[@]}" -- "$@"; }
issuer() { grep -oE 'issuer=.*' "$T/out" | sort -u; }
# who signed what the program was shown, for each of these names
shown() { # NAME [OPTIONS...]
    through openssl s_client -connect "$1:443" "${@:2}" </dev/null >"$T/out" 2>&1 || true
    if issuer | grep -q 'CN = test ca'; then echo theirs; else echo ours; fi
}
told() { events '[.[].process_tls // empty | [.sni // "-", .visibility, .route, .ja4 != null] | map(tostring) | join(" ")] | join(", ")'; }
closed() { events '[.[].process_close // empty | select(.socket.protocol == "TCP") | "\(.visibility) \(.route)"] | join(", ")'; }

expect_eq "named by none" ours "$(shown ebpf.io)"
through=(--passthrough EBPF.io. --passthrough '*.b.test')
expect_eq "its name" theirs "$(shown ebpf.io)"
expect_eq "told" "ebpf.io passthrough passthrough true" "$(told)"
expect_eq "its close" "passthrough passthrough" "$(closed)"
expect_eq "another's name" ours "$(shown www.ebpf.io)"
expect_eq "a pattern" theirs "$(shown a.b.test)"
expect_eq "a name that is not told, but was resolved" theirs "$(shown a.b.test -noservername)"
expect_eq "told" "- passthrough passthrough true" "$(told)"
expect_eq "nothing told, nothing resolved" ours "$(shown 203.0.113.10 -noservername)"
# it works, and says so in its line
clean "${IN_POD_DNS[@]}" "$SALLYPORT" exec --events-file "$EVENTS" --passthrough ebpf.io -- \
    curl -s --cacert "$T/ca.pem" -o "$T/page" https://ebpf.io/tetragon
expect_same "the page" "$T/page" "$T/site/tetragon"
expect_grep "its line" 'tls     HOST /usr/bin/curl 203.0.113.10:443 ebpf.io passthrough' "$EVENTS"
expect_no_grep "no request is read" ' http ' "$EVENTS"
through=(--passthrough 203.0.113.0/28)
expect_eq "a network" theirs "$(shown www.ebpf.io)"
through=(--passthrough 203.0.113.128/25)
expect_eq "another network" ours "$(shown www.ebpf.io)"
echo "ok: passed on"

for odd in '' 'https://ebpf.io' '203.0.113.7/24' 'ebpf..io' 'a b'; do
    expect_status "--passthrough '$odd'" 2 sallyport exec --passthrough "$odd" -- true 2>"$T/said"
    expect_grep "it says what to say" 'say one such as' "$T/said"
done
echo "ok: what it cannot be"
