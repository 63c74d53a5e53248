#!/usr/bin/env bash
# Promise: what is promised holds on this stock kernel: which back-end it has, an exec, kTLS that stays on
# and is read and judged as on the proxy route; `auto`; and the programs of tests/bpf that differ from kernel
# to kernel. By SALLYPORT_FULL all of tests/bpf, and what else there is of the kernel route: the guest takes
# half an hour for it. All in one guest, for each takes seconds to boot.
# It is what users run that is tested here, the release build if there is one: it starts much faster than
# one with sanitizers; those are there by SALLYPORT_FULL. guest.sh lsm|sockmap BUILD-DIRECTORY
set -uo pipefail
here=$(dirname "$(realpath "$0")")
backend=$1 build=$2
release=$here/../../build/release/sallyport
[ -n "${SALLYPORT_FULL:-}" ] || [ ! -x "$release" ] || export SALLYPORT=$release

failed=() began=$SECONDS
try() { # NAME CMD...
    local status=0
    "${@:2}" || status=$?
    echo "$1: $((SECONDS - began)) s"
    began=$SECONDS
    [ $status = 0 ] || failed+=("$1")
}
try probe "$here/probe.sh" "$backend"
try exec "$here/exec.sh"
try route "$here/route.sh" "$backend"
if [ -n "${SALLYPORT_FULL:-}" ]; then
    try bpf "$here/bpf.sh" "$build" bpf
    unset SALLYPORT_FULL # larger counts are for machines that are not emulated
    for script in story kernel_golden existing compare; do
        try $script "$here/../netns/$script.sh"
    done
    try kernel_route "$here/../netns/kernel_route.sh" "$backend"
    try kernel_lives "$here/../netns/kernel_lives.sh" "$backend"
else
    try bpf "$here/bpf.sh" "$build" guest
fi
[ ${#failed[@]} = 0 ] || { echo "FAIL: ${failed[*]} on $(uname -r)" >&2; exit 1; }
