#!/usr/bin/env bash
# Promise: what is not HTTP, or never becomes a whole request, passes the kernel route to its last byte;
# nothing of it hangs, and each connection is told with how much it was, and why it could not be read. What follows a
# request that makes no sense is told as unread, and its answers as nobody's.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

make_ca ca
exec_local --route kernel -- /usr/bin/python3 "$HERE/kernel_odd.py" >"$T/said" 2>"$T/client.err" ||
    fail "the program failed: $(cat "$T/client.err")"
cat "$T/said"
expect_no_grep "what did not come" 'did not come' "$T/said"
expect_all_seq

# who connected: the server's ends are told by the client's ports
jq -r --rawfile said "$T/said" '
    ($said | split("\n") | map(split("\t") | select(.[0]) | {key: .[1], value: .}) | from_entries) as $of
    | (.process_http // .process_close // empty) as $e | $of["\($e.socket.dport)"] as $said | select($said)
    | if has("process_http") then "\($said[0]): \($e.method)\(if $e.url then " \($e.url)" else "" end) \($e.code // "-") \($e.error // "")"
      else "\($said[0]): \($e.visibility // "-") \($e.visibility_reason // "-") \(
          if [$e.tx, $e.rx] == $said[3:5] then "all" else "tx \($e.tx) rx \($e.rx)" end) \($e.error // "")" end' \
    "$EVENTS" | sed 's/ $//' | LC_ALL=C sort >"$T/told"
LC_ALL=C sort <<'TOLD' | diff - "$T/told" >&9 || fail "it is told otherwise (lines with >)"
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
byte by byte: plaintext - all
fields: GET /5 - too many fields
fields: opaque unknown all
half a method: opaque unknown all
half a head: plaintext - all closed within a request's head, of which 23 bytes had come
half, and gone: plaintext - all closed within a request's head, of which 23 bytes had come
HTTP/2, and rubbish: opaque unknown all the program's HTTP/2 could not be read: it does not begin with SETTINGS
lines: opaque unknown all
more than was said: opaque unknown all
more than was said: ????? - an unknown method
more than was said: PUT /4 200
no end answered: GET /9 - the upstream's answer could not be read: too many fields
no end answered: plaintext - all the upstream's answer could not be read: too many fields
no end: GET /no-end - too many fields
no end: opaque unknown all
nothing: - - all
one line: opaque unknown all
two blanks: GET /4 - a protocol other than HTTP
two blanks: opaque unknown all
two hosts: GET /2 - two Host fields
two hosts: opaque unknown all
zeros: opaque unknown all
TOLD
echo "ok: what is no request passes, and is told"
