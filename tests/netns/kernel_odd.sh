#!/usr/bin/env bash
# Promise: what is not HTTP, or never becomes a whole request, passes the kernel route to its last byte;
# nothing of it hangs, and each connection is told with how much it was, and why it could not be read. What follows a
# request that makes no sense is told as unread, and its answers as nobody's.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/odd.sh
. "$HERE/../harness/odd.sh"

make_ca ca
exec_local --route kernel -- /usr/bin/python3 "$HERE/kernel_odd.py" >"$T/said" 2>"$T/client.err" ||
    fail "the program failed: $(cat "$T/client.err")"
cat "$T/said"
expect_no_grep "what did not come" 'did not come' "$T/said"
expect_all_seq
expect_odd_told plaintext "$T/said" "$EVENTS"
echo "ok: what is no request passes, and is told"
