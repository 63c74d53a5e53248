#!/usr/bin/env bash
# Promise: what is right in HTTP/2, but rare, works end to end: trailers, interim answers, CONNECT, PING, GOAWAY, codes of
# RST_STREAM, priorities, windows however small, a thousand streams; ALTSVC, ORIGIN and push do not go on; a request for
# somebody else is answered 421. The scenes are in http2_works.py.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
make_cert origin ca "$ORIGIN_SAN"
background /usr/bin/python3 "$HERE/http2_works_origin.py" "$T/origin.pem" "$T/origin.key" >"$T/ports" 2>"$T/origin.err"
origin=$!
wait_for 10 test -s "$T/ports"
read -ra ports <"$T/ports"
exec_local -- /usr/bin/python3 "$HERE/http2_works.py" "${ports[@]}" ${FULL:+full} 2>"$T/client.err" ||
    fail "the client: $(cat "$T/client.err")"
wait_for 30 dead "$origin"
cat "$T/client.err" "$T/origin.err" >"$T/faults"
expect_eq "what was not as it must be" "" "$(cat "$T/faults")"
expect_eq "a request that is not told as it was" '[]' "$(events '[.[].process_http // empty
    | select(.protocol != "HTTP/2" or .stream % 2 != 1 or (.code == null) == (.error == null) and .code != 421)]')"
expect_eq "the other authority" "421 deny other.test" \
    "$(events '[.[].process_http // empty | select(.code == 421) | "\(.code) \(.verdict) \(.host)"] | unique[]')"
expect_eq "connections where a stream left HTTP" '["/what other.test:80",["opaque other protocol"],"plaintext terminated"]' "$(events '
    map(.process_http // empty) as $told | [$told[] | select(.path == "other.test:80" or .path == "/what")] as $left
    | ($left | map(.socket.cookie)) as $cookies | [([$left[].path] | unique | join(" ")),
        ([.[].process_close // empty | select(IN(.socket.cookie; $cookies[]) or .visibility == "opaque")
          | "\(.visibility) \(.visibility_reason)"] | unique),
        ([$told[] | select(IN(.socket.cookie; $cookies[])) | .visibility] | unique | join(" "))] | tojson')"
expect_eq "what is said of resets" true "$(events '[.[].process_http.error // empty] as $told
    | [$told[] | select(test("reset the stream: CANCEL"))] | length > 0')"
expect_all_seq
[ -z "$FULL" ] || expect_eq "heads that did not end" "2 1" "$(events 'map(.process_close.error // empty) as $told
    | "\([$told[] | select(. == "the program took over 60 s for a head")] | length) \(
        [$told[] | select(. == "the server took over 60 s for a head")] | length)"')"
