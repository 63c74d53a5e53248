#!/usr/bin/env bash
# Promise: policies come from --policy, from policies.d beside the config file and from clients, and are
# one set that is swapped whole. Files are followed: written, renamed over, removed. Whatever is wrong
# in any of them is told with its place, by the agent and by who applies, and changes nothing. What was
# applied lasts until it is removed, over a restart and a successor, too. An agent with a broken file,
# and a command, do not start.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

EVENTS=$T/events
D=$T/etc/policies.d
mkdir -p "$D" "$T/more" "$T/mine"
echo 'loopback: false' >"$T/etc/sallyport.yaml"

policy_text() { # NAME [LINE...]: those are its spec
    local name=$1
    shift
    [ $# -gt 0 ] || set -- '  egress: [{toCIDR: [203.0.113.0/24]}]'
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' "metadata: {name: $name}" \
        'spec:' "$@"
}
policy_file() { policy_text "${@:2}" >"$1"; } # FILE NAME [LINE...]
policy() { # VERB ARGS...
    local verb=$1
    shift
    sallyport policy "$verb" --runtime-dir "$T/run" "$@"
}
policies() { policy list -o json | jq -r .name | sort | paste -sd ' '; }
policies_are() { [ "$(policies)" = "$*" ]; }
status_of() { sallyport status --runtime-dir "$T/run" -o json | jq -r ".policies.$1"; }
status_is() { [ "$(status_of "$1")" = "$2" ]; }
# The log since the last call; what was told is waited for.
logged() { tail -n "+$((LOGGED + 1))" "$T/agent.err"; }
seen() { LOGGED=$(wc -l <"$T/agent.err"); }
is_logged() { logged | grep -qE -e "$1"; }
broken() { policy_file "$1" "$2" '  mode: enforced' '  egres: []'; } # two faults

# ---- a broken file at the start ------------------------------------------------------------------

broken "$D/a.yaml" a
policy_file "$D/b.yml" b
agent() {
    "${CLEAN[@]}" "$SALLYPORT" run --runtime-dir "$T/run" --cgroup-root "$CGROUPS" --admin-address '' \
        --ca "$T/agent-ca" --upstream-ca "$T/ca.pem" --config "$T/etc/sallyport.yaml" "$@"
}
make_ca ca
make_cgroup pod
mkdir "$T/agent-ca"
cp "$T/ca.pem" "$T/agent-ca/tls.crt"
cp "$T/ca.pem" "$T/agent-ca/ca.crt"
install -m 600 "$T/ca.key" "$T/agent-ca/tls.key"
expect_status "the agent" 1 agent --policy "$T/nothing" 2>"$T/err"
expect_grep "its first fault" "^$D/a.yaml:5:9: error: .*enforced" "$T/err"
expect_grep "its second" "^$D/a.yaml:6:3: error: .*egres" "$T/err"
expect_grep "and that of another file" "^$T/nothing: error: No such file" "$T/err"
expect_grep "how many" "^sallyport: 3 faults in policies$" "$T/err"
for of in 'namespace: shop' 'labels: {a: b}'; do
    printf '%s\n' 'apiVersion: sallyport.io/v1' 'kind: TrafficPolicy' "metadata: {name: cart, $of}" \
        'spec: {podSelector: {matchLabels: {app: cart}}, egress: []}' >"$T/others.yaml"
    expect_status "for pods, $of" 0 exec_local --policy "$T/others.yaml" -- true 2>"$T/err"
    expect_grep "for pods, $of: told" 'cart does not apply to the command: it(s podSelector wants| is for pods of its namespace)' "$T/err"
done
expect_status "a command" 125 exec_local --policy "$D" -- true 2>"$T/err"
expect_grep "a command does not start either" "^$D/a.yaml:5:9: error: " "$T/err"
rm "$D/a.yaml"

# ---- files ---------------------------------------------------------------------------------------

policy_file "$T/more/m.yaml" m
touch "$T/more/notes.txt"
agent_up --config "$T/etc/sallyport.yaml" --policy "$T/more"
seen
expect_eq "both places" "b m" "$(policies)"
pods add --cgroup "$CGROUPS/pod" --name pod
expect_grep "the list" "^b +enforce +1 +1 +$D/b.yml$" <(policy list)
policy_file "$D/a.yaml" a
wait_for 10 policies_are a b m
policy_file "$T/a.new" a '  mode: monitor'
mv "$T/a.new" "$D/a.yaml"
lists() { policy list | grep -qE -e "$1"; }
wait_for 10 lists '^a +monitor +1 +0 '
rm "$D/b.yml"
wait_for 10 policies_are a m
generation=$(status_of generation)
seen
broken "$T/more/z.yaml" z
policy_file "$D/c.yaml" a
wait_for 10 is_logged 'policies stay as they were: 3 faults in policies$'
expect_grep "the first" "^$T/more/z.yaml:5:9: error: " <(logged)
expect_grep "the second" "^$T/more/z.yaml:6:3: error: " <(logged)
expect_grep "two of one name" "^$D/c.yaml:3:18: error: .*$D/a.yaml" <(logged)
expect_eq "what is in force stays" "a m" "$(policies)"
expect_eq "as it was" "$generation" "$(status_of generation)"
expect_grep "the status says why" "^3 faults in policies: $D/c.yaml:3:18: error: " <(status_of error)
rm "$D/c.yaml"
policy_file "$T/more/z.yaml" z
wait_for 10 policies_are a m z
expect_eq "nothing is wrong any more" null "$(status_of error)"
seen
kill -HUP "$AGENT"
wait_for 10 is_logged 'policies were read'

# ---- clients -------------------------------------------------------------------------------------

{ policy_text one; echo ---; policy_text two; } >"$T/mine/both.yaml"
policy_file "$T/mine/three.yaml" three
expect_eq "applied" "one created two created three created" "$(policy apply "$T/mine" | paste -sd ' ')"
expect_eq "in force" "a m one three two z" "$(policies)"
expect_grep "whose they are" "^one .* $T/mine/both.yaml \(applied\)$" <(policy list)
{ echo '# a comment'; policy_text one; echo ---; policy_text two '  egress: []'; } >"$T/mine/both.yaml"
expect_eq "again" "one unchanged two changed" "$(policy apply "$T/mine/both.yaml" | paste -sd ' ')"
expect_eq "by standard input" '{"policy":"four","change":"created"}' \
    "$(policy_text four | policy apply -o json -)"
policy_text kernel '  ktls: prefer' | policy apply - >"$T/out" 2>"$T/err"
expect_grep "what it is for" "policy kernel: ktls: prefer is for what 'exec' starts;" "$T/err"
policy remove kernel >"$T/out"

broken "$T/mine/five.yaml" five
policy_file "$T/mine/six.yaml" six
policy_file "$T/mine/seven.yaml" z
generation=$(status_of generation)
expect_status "an apply with faults" 1 policy apply "$T/mine/six.yaml" "$T/mine/five.yaml" 2>"$T/err"
expect_grep "every fault" "^$T/mine/five.yaml:5:9: error: " "$T/err"
expect_grep "is told" "^$T/mine/five.yaml:6:3: error: " "$T/err"
expect_grep "with the line" "^      mode: enforced$" "$T/err"
expect_status "an apply of a file's policy" 1 policy apply "$T/mine/six.yaml" "$T/mine/seven.yaml" 2>"$T/err"
expect_grep "a file has that name" "^$T/mine/seven.yaml:5:.* the agent has a policy 'z' already, which it reads itself from $T/more/z.yaml, line 5 " "$T/err"
expect_status "an apply of nothing" 1 policy apply "$T/mine/six.yaml" "$T/nothing" 2>"$T/err"
expect_grep "what is not there" "^$T/nothing: error: No such file" "$T/err"
expect_eq "none of it is in force" "a four m one three two z" "$(policies)"
expect_eq "nor anything else" "$generation" "$(status_of generation)"
seen
policy_file "$D/three.yaml" three
wait_for 10 is_logged "^$D/three.yaml:5:.* the agent has a policy 'three' already, which a client applied from $T/mine/three.yaml, line 5;"
expect_status "removing a file's" 1 policy remove z 2>"$T/err"
expect_grep "a file's" "^sallyport: policy z stands in $T/more/z.yaml:5; remove it there$" "$T/err"
expect_status "removing nobody's" 1 policy remove nobody 2>"$T/err"
expect_grep "nobody's" "there is no policy nobody" "$T/err"
expect_status "removing two and nobody's" 1 policy remove three nobody two >"$T/out" 2>"$T/err"
expect_eq "those removed" "three removed two removed" "$(paste -sd ' ' "$T/out")"
expect_grep "nobody's" "there is no policy nobody" "$T/err"
expect_eq "removed" "a four m one z" "$(policies)"
kill -HUP "$AGENT"
wait_for 10 policies_are a four m one three z

# a file that a rule names
echo one >"$T/trusted"
policy_text trusting "  egress: [{toPorts: [{tls: {trustedCA: $T/trusted}}]}]" | policy apply - >/dev/null
generation=$(status_of generation)
echo two >"$T/trusted.new"
mv "$T/trusted.new" "$T/trusted"
newer() { [ "$(status_of generation)" -gt "$generation" ]; }
wait_for 10 newer
expect_status "remove" 0 policy remove trusting

# a file larger than any line of the control socket, of which one policy is taken back
for i in {1..300}; do policy_text "large-$i"; echo "---"; done >"$T/large.yaml"
sed -i '$d' "$T/large.yaml"
expect_eq "a large one" 300 "$(policy apply "$T/large.yaml" | grep -c created)"
expect_status "remove" 0 policy remove large-7 >"$T/out"

# what is no bundle of policies: said in a sentence, and changes nothing
cat >"$T/ask.py" <<'ASK'
import json, os, socket, sys
def ask(line, fds=()):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1] + "/control.sock")
        socket.send_fds(client, [line + b"\n"], fds)
        answer = json.loads(client.makefile("rb").readline())
        print(answer.get("story", "").strip() or answer.get("error"))
def memory(data):
    fd = os.memfd_create("x")
    os.write(fd, data)
    return fd
apply = b'{"verb":"policy.apply"}'
ask(apply)
ask(apply, [os.pipe()[0]])
ask(apply, [memory(b"")])
ask(apply, [memory(b"a.yaml\0009\0x")])
ask(apply, [memory(b"a.yaml\0001\0x" * 2)])
big = memory(b"x")
os.truncate(big, 65 << 20)
ask(apply, [big])
ask(b'{"verb":"policy.remove","name":7}')
ask(b'{"verb":"policy.explain","method":[],"connect":{}}')
ask(b'{"verb":"policy.explain","pod":"x","labels":{"a":[]},"connect":"a:1"}')
ASK
generation=$(status_of generation)
python3 "$T/ask.py" "$T/run" >"$T/asked"
expect_lines "what is no bundle" "$T/asked" '^no policies came' '^no policies came' 'at most 64 MiB' '^what was sent: error: is not whole' \
    '^a.yaml:1:1: error: ' 'at most 64 MiB' '^say which policy' '^there is nothing to explain' '^these are no labels'
expect_eq "nothing has changed" "$generation" "$(status_of generation)"

# ---- the next agent ------------------------------------------------------------------------------

before=$(policies)
kill -USR2 "$AGENT"
is_replaced() { [ "$(sallyport status --runtime-dir "$T/run" -o json 2>/dev/null | jq .pid)" != "$1" ]; }
wait_for 30 is_replaced "$AGENT"
expect_eq "a successor has the same" "$before" "$(policies)"
expect_eq "for the same pods" 1 "$(policy list -o json | jq 'select(.name == "one") | .pods')"
wait "$AGENT"
AGENT=$(sallyport status --runtime-dir "$T/run" -o json | jq .pid)
kill -TERM "$AGENT"
wait_for 30 dead "$AGENT"
agent_up --config "$T/etc/sallyport.yaml"
expect_eq "one that starts anew, without --policy" "$(tr ' ' '\n' <<<"$before" | grep -vx '[mz]' | paste -sd ' ')" "$(policies)"
expect_eq "the texts of what was removed are gone" 3 "$(find "$T/state/policies" -name '*.yaml' | wc -l)"
agent_down
