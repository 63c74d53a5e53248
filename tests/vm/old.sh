#!/usr/bin/env bash
# Promise: where a socket in a sockhash can have kTLS, the kernel route makes use of that. The rest of
# such a kernel is as stock.sh has it. old.sh BUILD-DIRECTORY
set -uo pipefail
here=$(dirname "$(realpath "$0")")

failed=()
label=guest # the whole route by SALLYPORT_FULL
[ -z "${SALLYPORT_FULL:-}" ] || label=route
"$here/probe.sh" sockmap || failed+=(probe)
"$here/ktls.sh" sockmap || failed+=(ktls)
"$here/bpf.sh" "$1" "$label" || failed+=(bpf)
[ -z "${SALLYPORT_FULL:-}" ] || "$here/../netns/kernel_lives.sh" sockmap || failed+=(lives)
[ ${#failed[@]} = 0 ] || { echo "FAIL: ${failed[*]} on $(uname -r)" >&2; exit 1; }
