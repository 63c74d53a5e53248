#!/usr/bin/env bash
# Promise: deploy/compare prints the table from a checkout and writes page and JSON, here and (in full: it
# takes minutes) in a guest, where the kernel encrypts and is read; and leaves nothing behind. It runs the
# release build of this checkout, as deploy/demo does.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

compare=$HERE/../../deploy/compare
SALLYPORT=$(realpath "$HERE/../..")/build/release/sallyport # whose processes are leftovers

expect_status "usage" 0 "$compare" -h >"$T/usage"
expect_grep "usage" '^usage: deploy/compare ' "$T/usage"
for wrong in --fast "--kernel 5.10" "--rounds 0" "--rounds many" "--rounds" "--out"; do
    # shellcheck disable=SC2086 # two words
    expect_status "deploy/compare $wrong" 2 "$compare" $wrong 2>"$T/usage"
    expect_grep "its usage" '^usage: deploy/compare ' "$T/usage"
done
expect_status "without root" 125 setpriv --reuid 65534 --clear-groups "$compare" 2>"$T/usage"
expect_grep "what to do" 'must be root.* sudo deploy/compare$' "$T/usage"

note_leftovers "$T/before"

# reported DIR: what both ways have in common
reported() {
    local file
    for file in compare.html compare.json; do [ -s "$1/$file" ] || fail "there is no $file"; done
    expect_grep "the table" '^proxy +40 of 40 ' "$T/table"
    expect_grep "the verdict" '^The proxy saw all 40 requests' "$T/table"
    expect_eq "the rows" "direct passthrough proxy kernel" "$(jq -r '[.rows[].route] | join(" ")' "$1/compare.json")"
}
expect_status "on this machine" 0 "$compare" --here --rounds 1 --out "$T/here" >"$T/table" 2>"$T/client.err"
reported "$T/here"
expect_leftovers "$T/before"
echo "ok: on this machine"

[ -n "$FULL" ] || exit 0
expect_status "in a guest" 0 "$compare" --rounds 1 --out "$T/guest" >"$T/table" 2>"$T/client.err"
reported "$T/guest"
expect_eq "requests that the kernel saw" 40 "$(jq '.rows[3].requests_seen' "$T/guest/compare.json")"
expect_eq "how" '["ktls"]' "$(jq -c '.rows[3].seen.visibility | keys' "$T/guest/compare.json")"
expect_eq "encryptions of a byte" "1 1 3 1" "$(jq -r '[.rows[].encryptions] | join(" ")' "$T/guest/compare.json")"
expect_leftovers "$T/before"
echo "ok: in a guest"
