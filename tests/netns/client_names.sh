#!/usr/bin/env bash
# Promise: a program that asks for ever new names, up to all that 16 bits can tell apart, makes the agent
# hold no more than it has room for, and takes nothing from an honest program beside it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

count=600 full=300
[ -z "$FULL" ] || { count=65536 full=6000; } # the store has room for 4,096

make_ca ca
make_cert origin ca "$ORIGIN_SAN,DNS:*.names.test"
read -r port <<<"$(free_ports 1)"
nginx_server "$port" origin
start_nginx
echo small >"$T/www/small"

# a sanitizer keeps what was freed for a while: not here, where memory is what is looked at
EXEC_LOCAL=("${CLEAN[@]}" ASAN_OPTIONS=quarantine_size_mb=1 "${EXEC_LOCAL[@]:${#CLEAN[@]}}")
exec_local -- /usr/bin/python3 "$HERE/client_names.py" "$port" "$count" "$full" >"$T/out"
cat "$T/out"
expect_grep "nobody is refused" '^wrong 0$' "$T/out"
expect_grep "the honest one was served all along" '^honest [1-9][0-9]' "$T/out"
grown=$(awk '/^megabytes/ { print $2 }' "$T/out")
[ "$grown" -le 16 ] || fail "the agent grew by $grown MB while it was asked for $((count - full)) names more"
expect_eq "names told" "$count" "$(events '[.[].process_tls // empty | .sni | select(endswith(".names.test"))] | unique | length')"
