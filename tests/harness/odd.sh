# odd: how what tests/netns/kernel_odd.py says is told on the kernel route. Source it behind lib.sh.
# shellcheck shell=bash

# expect_odd_told VISIBILITY SAID EVENTS: of lines of JSON, whatever else they tell; where the kernel encrypts
# (ktls) there is more on the wire than was said.
expect_odd_told() {
    local nothing=- # but a handshake
    [ "$1" = plaintext ] || nothing=$1
    # who connected: the server's ends are told by the client's ports
    jq -r --rawfile said "$2" --arg visibility "$1" '
        ($said | split("\n") | map(split("\t") | select(.[0]) | {key: .[1], value: .}) | from_entries) as $of
        | (.process_http // .process_close // empty) as $e | $of["\($e.socket.dport)"] as $said | select($said)
        | [$e.tx, $e.rx] as $told | $said[3:5] as $wanted
        | if has("process_http") then "\($said[0]): \($e.method)\(if $e.url then " \($e.url)" else "" end) \($e.code // "-") \($e.error // "")"
          else "\($said[0]): \($e.visibility // "-") \($e.visibility_reason // "-") \(
              if if $visibility == "ktls" then all(range(2); ($told[.] | tonumber) > ($wanted[.] | tonumber)) else $told == $wanted end
              then "all" else "tx \($e.tx) rx \($e.rx)" end) \($e.error // "")" end' \
        "$3" | sed 's/ $//' | LC_ALL=C sort >"$T/told"
    sed "s/SEEN/$1/;s/NOTHING/$nothing/" <<'TOLD' | LC_ALL=C sort | diff - "$T/told" >&9 || fail "it is told otherwise (lines with >)"
a bare line feed: GET /3 - an LF without its CR
a bare line feed: opaque unknown all
a method, byte by byte: FOO /m - an unknown method
a method, byte by byte: opaque unknown all
a method: FOO /m - an unknown method
a method: opaque unknown all
behind the last: GET /6 200
behind the last: X - bytes behind the last message
behind the last: opaque unknown all
binary: opaque unknown all
blank lines: opaque unknown all
byte by byte: GET /0 200
byte by byte: GET /1 200
byte by byte: GET /2 200
byte by byte: SEEN - all
fields: GET /5 - too many fields
fields: opaque unknown all
half a method: opaque unknown all
half a head: SEEN - all closed within a request's head, of which 23 bytes had come
half, and gone: SEEN - all closed within a request's head, of which 23 bytes had come
HTTP/2, and rubbish: opaque unknown all the program's HTTP/2 could not be read: it does not begin with SETTINGS
lines: opaque unknown all
more than was said: opaque unknown all
more than was said: ????? - an unknown method
more than was said: PUT /4 200
no end answered: GET /9 - the upstream's answer could not be read: too many fields
no end answered: SEEN - all the upstream's answer could not be read: too many fields
no end: GET /no-end - too many fields
no end: opaque unknown all
nothing: NOTHING - all
one line: opaque unknown all
two blanks: GET /4 - a protocol other than HTTP
two blanks: opaque unknown all
two hosts: GET /2 - two Host fields
two hosts: opaque unknown all
zeros: opaque unknown all
TOLD
}
