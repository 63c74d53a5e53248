#!/usr/bin/env bash
# Promise: on this stock kernel `probe` finds, by trying, everything but kTLS in a sockhash, chooses
# LSM programs for what bypasses the proxy, and leaves nothing behind.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

leftovers >"$T/before"
expect_status "probe" 0 sallyport probe -o json >"$T/json" 2>"$T/client.err"
expect_eq "not found" "kTLS in a sockhash" \
    "$(jq -r '[.checks[] | select(.found | not) | .name] | join(", ")' "$T/json")"
expect_eq "why" "TLS_TX: Invalid argument" \
    "$(jq -r '.checks[] | select(.name == "kTLS in a sockhash") | .detail' "$T/json")"
expect_eq "fentry" "attached to tls_sw_sendmsg" "$(jq -r '.checks[] | select(.name == "fentry") | .detail' "$T/json")"
expect_eq "kernel, route, exec" "$(uname -r) lsm true" \
    "$(jq -r '"\(.kernel) \(.kernel_route) \(.exec)"' "$T/json")"
expect_leftovers "$T/before"
