#!/usr/bin/env bash
# Promise: `policy check` tells every fault of every file in one pass, each with its place, the line, a
# caret below what is wrong and what to do; what is well it tells in a line a file; it exits 1 where
# there is a fault, and never crashes, hangs or grows on what is no policy.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

check() { sallyport policy check "$@" >"$T/out" 2>"$T/check.err"; }
policy() { # NAME SPEC...
    printf 'apiVersion: sallyport.io/v1\nkind: TrafficPolicy\nmetadata: {name: %s}\nspec:\n' "$1"
    shift
    printf '  %s\n' "$@"
}
fault_lines() { grep -c ': error: ' "$T/check.err" || true; }

# ---- what is well

mkdir "$T/policies.d" "$T/none"
policy cart 'podSelector: {matchLabels: {app: cart}}' 'egress: [{toEntities: [world]}]' \
    'egressDeny: [{toCIDR: [169.254.169.254]}]' >"$T/policies.d/10-cart.yaml"
{
    policy a 'mode: monitor' 'egress: []'
    echo ---
    policy b 'inspect: {tokens: deny}'
} >"$T/policies.d/20-two.yml"
echo "not a policy" >"$T/policies.d/README"
echo "# not yet" >"$T/comments.yaml"
expect_status "a directory, and a file of comments" 0 check "$T/policies.d" "$T/comments.yaml"
expect_eq "what they hold" "$T/policies.d/10-cart.yaml: cart: enforce, egress 1 (all else is denied), egressDeny 1, bodies 0
$T/policies.d/20-two.yml: 2 policies: a, b
$T/comments.yaml: no policies" "$(cat "$T/out")"
expect_eq "no fault" "" "$(cat "$T/check.err")"
expect_status "an empty directory" 0 check "$T/none"
from_stdin() { policy p 'egress: []' | check -; }
expect_status "standard input" 0 from_stdin
expect_grep "what it holds" '^stdin: p: enforce' "$T/out"
policy later 'ktls: prefer' 'route: kernel' \
    'egress: [{toEntities: [world], toPorts: [{rules: {http: [{method: GET}]}}]}]' >"$T/later.yaml"
expect_status "what is to be known" 0 check "$T/later.yaml"
expect_lines "what is to be known" "$T/out" 'later: note: ktls: prefer is for what' \
    'later: warning: route: kernel with http rules: .* several threads .* sendfile' 'later: warning: route: kernel cannot answer 403' 'later: enforce'
echo "ok: what is well"

# ---- every fault, as it is read

cat >"$T/bad.yaml" <<'YAML'
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: bad}
spec:
  podSelecter: {matchLabels: {app: cart}}
  mode: enforced
  egress:
  - toFQDNs: [{matchName: "*.example.com"}]
    toCIDR: [203.0.113.7/24]
    toPorts:
    - ports: [{port: "443-80"}]
      rules: {http: [{path: "/v1/(.*"}]}
YAML
expect_status "faults" 1 check "$T/bad.yaml"
expect_eq "each, with its line, a caret and a hint" \
    "$T/bad.yaml:5:3: error: the spec of a TrafficPolicy has no key 'podSelecter'; did you mean 'podSelector'?
      podSelecter: {matchLabels: {app: cart}}
      ^
$T/bad.yaml:6:9: error: mode cannot be 'enforced'; did you mean 'enforce'?
      mode: enforced
            ^
$T/bad.yaml:8:27: error: '*.example.com' has a wildcard; matchName takes none, matchPattern does
      - toFQDNs: [{matchName: \"*.example.com\"}]
                              ^
$T/bad.yaml:9:14: error: '203.0.113.7/24' has bits beyond its prefix; say 203.0.113.0/24 for the network, or 203.0.113.7 for the address alone
        toCIDR: [203.0.113.7/24]
                 ^
$T/bad.yaml:11:22: error: '443-80' is no port; that is a number from 1 to 65535, or 0 for any
        - ports: [{port: \"443-80\"}]
                         ^
$T/bad.yaml:12:34: error: this is no expression: '(' is never closed
          rules: {http: [{path: \"/v1/(.*\"}]}
                                     ^
6 faults" "$(cat "$T/check.err")"
expect_eq "nothing is told as well" "" "$(cat "$T/out")"

# ... of every file: the well ones are told, too, and two of one name are found across files
policy cart 'egress: []' >"$T/twin.yaml"
expect_status "several files" 1 check "$T/policies.d" "$T/bad.yaml" "$T/twin.yaml" "$T/nowhere.yaml"
expect_eq "well ones" 2 "$(wc -l <"$T/out")"
expect_grep "the twin" "twin.yaml:3:18: error: a policy 'cart' stands already in $T/policies.d/10-cart.yaml, line 3" "$T/check.err"
expect_grep "what is missing" "nowhere.yaml: error: .*No such file" "$T/check.err"
expect_grep "how many" '^8 faults$' "$T/check.err"
echo "ok: every fault"

# ---- Cilium's as they are, but for what is not ours

cat >"$T/cilium.yaml" <<'YAML'
apiVersion: "cilium.io/v2"
kind: CiliumNetworkPolicy
metadata:
  name: "to-fqdn"
spec:
  endpointSelector:
    matchLabels:
      app: test-app
  egress:
    - toFQDNs:
        - matchName: "my-remote-service.com"
      toPorts:
        - ports:
            - port: "443"
              protocol: TCP
YAML
expect_status "Cilium's" 0 check "$T/cilium.yaml"
expect_grep "what it holds" ': to-fqdn: enforce, egress 1 \(all else is denied\)' "$T/out"
sed 's/^  egress:/  ingress:\n    - {}\n  egress:\n    - toEndpoints:\n        - {}/' "$T/cilium.yaml" >"$T/cilium-in.yaml"
expect_status "what is not ours" 1 check "$T/cilium-in.yaml"
expect_eq "is named" "9:3 ingress is not supported 13:11 toEndpoints is not supported" \
    "$(sed -nE 's/^.*yaml:([0-9:]+): error: (.* is not supported): .*/\1 \2/p' "$T/check.err" | paste -sd' ')"
echo "ok: Cilium's"

# ---- what is no policy

: >"$T/empty.yaml"
expect_status "an empty file" 1 check "$T/empty.yaml"
expect_grep "says so" 'empty.yaml: error: holds no policy' "$T/check.err"
LIMIT=200000 # kB; sanitizers reserve terabytes
if [ "$(nm -D "$SALLYPORT" 2>/dev/null | grep -c __asan)" != 0 ]; then LIMIT=unlimited; fi
limited() { (ulimit -v "$LIMIT" && check "$@"); }
bomb() { # WHAT FILE REGEX
    expect_status "$1" 1 limited "$T/$2"
    expect_grep "$1" "$3" "$T/check.err"
    [ "$(wc -c <"$T/check.err")" -lt 65536 ] || fail "$1: $(wc -c <"$T/check.err") bytes of faults"
}
head -c 1000000 /dev/zero | tr '\0' '[' >"$T/brackets.yaml"
bomb "a million brackets" brackets.yaml 'inside each other are more than 64; what follows was not read'
{
    echo 'a: &a [x, x, x, x, x, x, x, x, x]'
    for name in b c d e f g h i; do echo "$name: &$name [*a, *a, *a, *a, *a, *a, *a, *a, *a]"; done
} >"$T/laughs.yaml"
bomb "a billion laughs" laughs.yaml "aliases such as '\*a' are not read"
head -c 1000000 /dev/urandom >"$T/noise.yaml"
bomb "noise" noise.yaml 'this is no'
head -c 17000000 /dev/zero | tr '\0' ' ' >"$T/large.yaml"
bomb "too large" large.yaml 'larger than 16 MiB'
printf 'kind: "\\e[2J\\a"\n"\\e]0;x\\a": 1\n' >"$T/escapes.yaml"
bomb "escape sequences" escapes.yaml "kind cannot be '\?\[2J\?'"
expect_no_grep "none goes to the terminal" $'[\x01-\x08\x0b-\x1f\x7f]' "$T/check.err"
mkfifo "$T/fifo.yaml"
bomb "a FIFO" fifo.yaml 'not a regular file'
echo "ok: what is no policy"

# ---- what is much, but well

for ((i = 0; i < 1000; i++)); do
    [ "$i" = 0 ] || echo ---
    policy "p$i" "egress:"
    for j in 0 1 2 3 4 5 6 7 8 9; do
        echo "  - toFQDNs: [{matchName: a$j.p$i.example}]"
        echo "    toPorts: [{ports: [{port: \"443\"}], rules: {http: [{method: \"GET|HEAD\", path: \"/v$j/.*\"}]}}]"
    done
done >"$T/much.yaml"
expect_status "ten thousand rules of a thousand policies" 0 limited "$T/much.yaml"
expect_eq "what they are" "$T/much.yaml: 1000 policies: p0, p1, p2, p3, p4, …" "$(cat "$T/out")"
echo "ok: ten thousand rules"

# ---- how it is called

expect_status "no file" 2 check
expect_status "an unknown option" 2 check --strict
expect_status "no verb" 2 sallyport policy 2>"$T/check.err"
expect_status "an unknown verb" 2 sallyport policy chekc 2>"$T/check.err"
expect_status "help" 0 sallyport policy --help >"$T/out"
expect_grep "of verbs" '^  check ' "$T/out"
expect_status "its help" 0 check --help
echo "ok: how it is called"
