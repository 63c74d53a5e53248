#!/usr/bin/env bash
# Promise: on this kernel `probe` finds, by trying, all that it should, chooses the back-end of the
# kernel route that fits, and leaves nothing behind. probe.sh lsm|sockmap|none: the one that fits
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

case $1 in
    lsm) absent="kTLS in a sockhash" why="TLS_TX: Invalid argument" ;;
    sockmap) absent='' why="TLS_TX was taken" ;;
    none) absent="kTLS in a sockhash, BPF LSM" why="TLS_TX: Invalid argument" ;;
esac

leftovers >"$T/before"
expect_status "probe" 0 sallyport probe -o json >"$T/json" 2>"$T/client.err"
expect_eq "not found" "$absent" \
    "$(jq -r '[.checks[] | select(.found | not) | .name] | join(", ")' "$T/json")"
expect_eq "why" "$why" \
    "$(jq -r '.checks[] | select(.name == "kTLS in a sockhash") | .detail' "$T/json")"
expect_eq "fentry" "attached to tls_sw_sendmsg" "$(jq -r '.checks[] | select(.name == "fentry") | .detail' "$T/json")"
expect_eq "kernel, route, exec" "$(uname -r) $1 true" \
    "$(jq -r '"\(.kernel) \(.kernel_route) \(.exec)"' "$T/json")"
expect_leftovers "$T/before"
echo "ok: $1 on $(uname -r)"
