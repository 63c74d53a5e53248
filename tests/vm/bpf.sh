#!/usr/bin/env bash
# Promise: every test of tests/bpf passes on this kernel, and none is skipped.
# bpf.sh BUILD-DIRECTORY [LABEL]: of these, those that have the label
set -euo pipefail

output=$(mktemp)
trap 'rm -f "$output"' EXIT
ctest --test-dir "$1" -L "^${2:-bpf}\$" -j2 --output-on-failure --no-tests=error | tee "$output"
if grep -q '(Skipped)' "$output"; then
    echo "FAIL: a test was skipped on $(uname -r)" >&2
    exit 1
fi
