#!/usr/bin/env bash
# budget.sh [BUILD-DIRECTORY]: makes tests/bpf/budget.tsv anew, of what the verifiers of Debian's kernels
# and this machine's need for what was built there. Needs root, and a minute.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
budget=$(realpath "${1:-$here/../../build/dev}")/tests/bpf/bpf_budget

new=$(mktemp "$here/budget.tsv.XXXXXX")
trap 'rm -f "$new"' EXIT
{
    cat <<'HEAD'
# What the verifier of a kernel may need for each program: tests/bpf/budget.c compares, and
# tests/bpf/budget.sh writes this file. A quarter more than it needed then.
HEAD
    "$budget" --compiler
    printf '# program\tkernel\tinstructions\tstates\n'
    for kernel in 6.1 6.12; do
        "$here/../vm/run" --kernel $kernel -- "$budget" --write
    done
    "$budget" --write
} >"$new"
chmod 644 "$new"
mv "$new" "$here/budget.tsv"
