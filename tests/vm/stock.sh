#!/usr/bin/env bash
# Promise: what a stock kernel decides holds on this one: which back-end it has, kTLS that stays on and
# is read and refused, an exec, and the programs that differ from kernel to kernel. The rest of
# tests/bpf, and the story, by SALLYPORT_FULL: the guest takes minutes for them. stock.sh BUILD-DIRECTORY
# All in one guest, for each takes seconds to boot.
set -uo pipefail
here=$(dirname "$(realpath "$0")")

failed=()
"$here/probe.sh" lsm || failed+=(probe)
"$here/ktls.sh" lsm || failed+=(ktls)
"$here/exec.sh" || failed+=(exec)
if [ -n "${SALLYPORT_FULL:-}" ]; then
    "$here/bpf.sh" "$1" || failed+=(bpf)
    "$here/../netns/story.sh" || failed+=(story)
    "$here/../netns/kernel_lives.sh" lsm || failed+=(lives)
else
    "$here/bpf.sh" "$1" guest || failed+=(bpf)
fi
[ ${#failed[@]} = 0 ] || { echo "FAIL: ${failed[*]} on $(uname -r)" >&2; exit 1; }
