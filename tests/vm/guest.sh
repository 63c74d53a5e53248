#!/usr/bin/env bash
# Promise: what is promised holds on this stock kernel: which back-end it has, an exec, kTLS that stays on
# and is read and judged as on the proxy route; `auto`; and the programs of tests/bpf that differ from kernel
# to kernel. By SALLYPORT_FULL all of tests/bpf, and what else there is of the kernel route. All in one
# guest, for each takes seconds to boot.
# It is what users run that is tested here, the release build if there is one: it starts much faster than
# one with sanitizers, which do their work natively. guest.sh lsm|sockmap|none BUILD-DIRECTORY
set -uo pipefail
here=$(dirname "$(realpath "$0")")
backend=$1 build=$2 full=${SALLYPORT_FULL:-}
unset SALLYPORT_FULL # its larger counts are for machines that are not emulated
release=$here/../../build/release/sallyport
[ ! -x "$release" ] || export SALLYPORT=$release

failed=() began=$SECONDS
try() { # NAME CMD...
    local status=0
    "${@:2}" || status=$?
    echo "$1: $((SECONDS - began)) s"
    began=$SECONDS
    [ $status = 0 ] || failed+=("$1")
}
end() {
    [ ${#failed[@]} = 0 ] || { echo "FAIL: ${failed[*]} on $(uname -r)" >&2; exit 1; }
    exit 0
}
try probe "$here/probe.sh" "$backend"
if [ "$backend" = none ]; then
    try unread "$here/unread.sh"
    end
fi
[ "$backend$full" = sockmap ] || try exec "$here/exec.sh" # where the stock kernel has it, the old one does
try route "$here/route.sh" "$backend" ${full:+more}
if [ -n "$full" ]; then
    try clients "$here/clients.sh"
    try bpf "$here/bpf.sh" "$build" bpf
    for script in story kernel_golden existing compare; do
        try $script "$here/../netns/$script.sh"
    done
    for script in kernel_route kernel_lives; do
        try $script "$here/../netns/$script.sh" "$backend"
    done
else
    try bpf "$here/bpf.sh" "$build" guest
fi
end
