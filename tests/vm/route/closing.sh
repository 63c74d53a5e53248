# closing: who says one thing where the kernel encrypts, and closes at once: what is allowed comes, and is told as
# that; what is denied does not.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

close_at_once() { # WHAT DENIED COMES: how the program is told that it may not be said, and what of it comes
    local lines closes handshakes
    lines=$(so_far) closes=$(count kernel close) handshakes=$(count kernel tls)
    in_pod kernel /usr/bin/python3 "$HERE/route/closing.py" "$T/origin.pem" "$T/origin.key" >"$T/out" 2>"$T/client.err" ||
        fail "who closes at once: $(cat "$T/out" "$T/client.err")"
    expect_eq "who closes at once, $1" "$(for way in closes corked lingers close_notify; do
        printf '%s\n' "$way /allowed sent whole" "$way /denied $2 $3"
    done
    echo "server /allowed sent whole")" "$(cat "$T/out")"
    wait_for 10 has_told kernel tls $((handshakes + 18)) # at both ends
    wait_for 10 has_told kernel close $((closes + 9))
    told_of kernel "$lines" >"$T/closing.events"
    expect_eq "... its TLS" "18 TLS1.3 ktls" \
        "$(jq -r '.process_tls // empty | "\(.version) \(.visibility)\(.visibility_reason // "")"' "$T/closing.events" | sort | uniq -c | xargs)"
}
refused() { # what rules say of requests, and of what could not be read
    jq -r '(.process_http // empty | select(.verdict == "deny") | .path), (.process_policy // empty | .verdict)' "$T/closing.events" | sort | uniq -c | xargs
}
apply closing kernel 'egress: [{toEntities: [all], toPorts: [{rules: {http: [{path: /allowed}]}}]}]'
close_at_once "rules" SSLEOFError nothing # what Python's OpenSSL makes of EPERM
expect_eq "... what is refused" "4 /denied 4 deny" "$(refused)"
remove closing
close_at_once "no rules" sent whole
expect_eq "... what is refused" "" "$(refused)"
echo "ok: who closes at once, $backend on $(uname -r)"
