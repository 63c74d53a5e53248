#!/usr/bin/env bash
# Promise: every test of tests/bpf passes on this kernel, and none is skipped, but for the one that is of the
# compiler's making, and the one that takes two processors.
# bpf.sh BUILD-DIRECTORY LABEL: those that have the label
set -euo pipefail

# ctest says which, but its limits are for machines that are not emulated
mapfile -t tests < <(ctest --test-dir "$1" -L "^$2\$" --show-only=json-v1 |
    jq -r '.tests[] | .command | map(@sh) | join(" ")')
[ ${#tests[@]} -gt 0 ] || { echo "FAIL: no test has the label $2" >&2; exit 1; }
output=$(mktemp)
trap 'rm -f "$output"' EXIT
failed=0
for test in "${tests[@]}"; do
    began=$SECONDS status=0
    eval "timeout 900 $test" >"$output" 2>&1 || status=$?
    echo "$((SECONDS - began)) s: $test"
    [ $status != 0 ] || continue # 77, skipped, is a failure here
    cat "$output"
    [ $status != 77 ] || [[ ! $test =~ bpf_(budget|busy) ]] || continue
    echo "FAIL: exit status $status on $(uname -r): $test" >&2
    failed=1
done
exit $failed
