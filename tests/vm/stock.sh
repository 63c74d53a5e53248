#!/usr/bin/env bash
# Promise: all that is promised for stock kernels holds on this one. stock.sh BUILD-DIRECTORY
# All in one guest, for each takes seconds to boot.
set -uo pipefail
here=$(dirname "$(realpath "$0")")

failed=()
"$here/probe.sh" lsm || failed+=(probe)
"$here/ktls.sh" lsm || failed+=(ktls)
"$here/exec.sh" || failed+=(exec)
# The story waits much: what is left of two processors is enough for these.
output=$(mktemp)
"$here/../netns/story.sh" >"$output" 2>&1 &
"$here/bpf.sh" "$1" || failed+=(bpf)
wait $! || failed+=(story)
cat "$output"
[ ${#failed[@]} = 0 ] || { echo "FAIL: ${failed[*]} on $(uname -r)" >&2; exit 1; }
