#!/usr/bin/env bash
# Promise: a program that tries one way after another to get a request past its policy on the kernel route, in the clear,
# gets none of them out: not by what it says, not by how it sends it, nor by which socket. What was allowed before it has
# arrived whole, each denial is told, and nothing hangs. Of a socket that connects again each connection is told by itself.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_namespaces
for ns in IN_POD IN_UPSTREAM; do # without cookies, for both
    declare -n in=$ns
    "${in[@]}" sysctl -qw net.ipv4.tcp_fastopen=0x207
done
# what goes to 2001:db8:5::66 is put into packets for ::5, which takes it out of them
WRAPPED=2001:db8:5::66
ip -n "$UPSTREAM" address add $WRAPPED/128 dev lo nodad
"${IN_UPSTREAM[@]}" sysctl -qw net.ipv6.conf.all.seg6_enabled=1 net.ipv6.conf.eth0.seg6_enabled=1
{ ip -n "$UPSTREAM" route add 2001:db8:5::5/128 encap seg6local action End.DT6 table 255 dev eth0 &&
    ip -n "$POD" route add $WRAPPED/128 encap seg6 mode encap.red segs 2001:db8:5::5 dev eth0; } 2>"$T/no_route" ||
    ip -n "$POD" route add unreachable $WRAPPED/128 # not every kernel has that
mkdir "$T/got"
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_taken_origin.py" "$T/origin.sock" "$T/got"
wait_for 20 test -S "$T/origin.sock"

rules() { # PATH: /Xdenied is for one who takes the X out of it
    cat <<YAML
apiVersion: sallyport.io/v1
kind: TrafficPolicy
metadata: {name: cart}
spec:
  route: kernel
  egress:
  - toCIDR: [203.0.113.0/24, "2001:db8:2::10/128", "$WRAPPED/128"]
    toPorts:
    - ports: [{port: "80", endPort: 82}]
      rules: {http: [{path: "$1"}, {path: "/Xdenied.*"}]}
    - ports: [{port: "83"}]
      rules: {http: [{path: /ok, host: "good[.]example", headers: ["x-tenant: a"]}]}
YAML
}
rules /ok >"$T/policy.yaml"
rules /other >"$T/other.yaml"
{ rules /ok | sed '/egress:/,$d'; echo '  egress: [{toEntities: [all]}]'; } >"$T/none.yaml"

make_cgroup cart
agent_up --ports all
pods add --cgroup "$CGROUPS/cart" --netns "/run/netns/$POD" --name cart
apply() { sallyport policy apply --runtime-dir "$T/run" "$1" >/dev/null; }
apply "$T/policy.yaml"

PROGRAM=("${CLEAN[@]}" /usr/bin/python3 "$HERE/kernel_taken.py" "$T/origin.sock" "$EVENTS")
IN_CART=("${IN_CGROUP[@]}" "$CGROUPS/cart" "${IN_POD[@]}" "${PROGRAM[@]}")
nothing_denied_arrived() { # WHAT
    tail -vn +1 "$T"/got/* >"$T/got.all"
    if grep -aoE '/denied-\w+[^[:alnum:]_].{0,20}' "$T/got.all" >&9; then fail "$1: the origin has what was denied"; fi
}

# ---- one way after another ----------------------------------------------------------------------------

# "sent" is what was held back as it left: by then it had been taken. What is only told as it is tried, or
# is no denial, has no word for it.
cat >"$T/wanted" <<'WAYS'
allowed 200 whole
header_and_name 200_EACCES whole told
behind_allowed EACCES whole told
behind_megabyte EACCES whole told
partial_nowait sent whole told
partial_head sent whole told
partial_timeout sent whole told
partial_signal sent whole told
partial_splice sent whole told
partial_body EACCES whole told
beside_a_head sent whole told
one_buffer sent whole
by_fork_and_dup EACCES_EACCES whole told
urgent EACCES whole told
urgent_taken_out sent whole told
urgent_bytewise EACCES whole told
bytewise EACCES whole told
more_then_shut EACCES whole told
corked EACCES whole told
more EACCES whole told
every_cut all_refused whole told
in_1000_segments EACCES whole told
sendfile EACCES whole told
sendfile_bytewise EACCES whole told
splice EACCES whole told
vmsplice sent whole
zero_copy sent whole
mapped_file sent whole
upgrade_h2c 101_EACCES whole told
upgrade_h2c_text 101_EACCES whole told
upgrade_websocket 101_EACCES whole told
upgrade_not_granted 200_EACCES whole told
again 200_200 whole told
again_denied EACCES whole told
again_after_denied EACCES whole told
again_waiting EACCES whole told
waiting EACCES whole told
fast_open sent whole told
fast_open_allowed 200_EACCES whole told
fast_open_again sent whole told
fast_open_connect sent whole told
fast_open_connect_again sent whole told
simultaneous EACCES whole told
ipv6 EACCES whole told
mapped EACCES whole told
wrapped ECONNABORTED whole told
mptcp EPERM
repair EACCES whole told
upper_layer EACCES whole told
half_closed EACCES whole told
handed_on EACCES whole told
uring_send EACCES whole told
uring_send_by_a_thread EACCES whole told
uring_write EACCES whole told
uring_linked EACCES whole told
uring_splice EACCES whole told
uring_zero_copy EACCES whole told
uring_zero_copy_changed sent whole
WAYS
mapfile -t ways < <(cut -d' ' -f1 "$T/wanted")
mapfile -t words < <(cd "$HERE" && /usr/bin/python3 -c 'import kernel_taken_words as words; print(*words.WORDS, sep="\n")')
printf '%s EACCES whole told\n' "${words[@]}" >>"$T/wanted"
"${IN_CART[@]}" "${ways[@]}" "${words[@]}" >"$T/out"
grep ' no_route' "$T/out" || true # and why
sed -i -E 's/^mptcp E.*/mptcp EPERM/' "$T/out" # not every kernel has it
awk 'NR == FNR { wanted[$1] = $0; next } / no_uring| no_zero_copy| no_route/ { $0 = wanted[$1] } 1' "$T/wanted" "$T/out" >"$T/came"
diff "$T/wanted" "$T/came" >&9 || fail "what came of them (>) is not what should (<)"
nothing_denied_arrived "one after another"
echo "ok: none gets out"

# ---- while the rules change ---------------------------------------------------------------------------

mkfifo "$T/changed"
exec {changed}<>"$T/changed"
changes() { # WAY POLICY WANTED
    "${IN_CART[@]}" "$1" <"$T/changed" >"$T/$1" &
    PIDS+=("$!")
    wait_for 20 grep -qx open "$T/$1"
    apply "$T/$2.yaml"
    echo >&"$changed"
    wait "$!"
    expect_eq "a connection whose rules were changed" "$1 $3" "$(tail -n 1 "$T/$1")"
}
changes swapped other "200_EACCES whole told"
apply "$T/none.yaml"
changes ruled policy "200_EACCES_EACCES whole told"
nothing_denied_arrived "while the rules change"
echo "ok: while the rules change"

# ---- after its end ------------------------------------------------------------------------------------

is_over() {
    [ -z "$("${IN_POD[@]}" ss -Htan state connected exclude time-wait 'dport >= :80 and dport <= :83')" ] || ! (nothing_denied_arrived "after exec's end") 9>/dev/null
}
expect_eq "before exec's end" "leaves_behind told" "$("${IN_POD[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json \
    --events-file "$T/exec.events" --ca "$T/agent-ca" --upstream-ca "$T/ca.pem" --ports all --policy "$T/policy.yaml" -- \
    "${PROGRAM[@]:0:${#PROGRAM[@]}-1}" "$T/exec.events" leaves_behind)"
wait_for 60 is_over
nothing_denied_arrived "after exec's end"
echo "ok: after its end"

without=$(sed -n 's/^[^ ]* no_uring:_\([^ ]*\).*/\1/p' "$T/out" | sort -u | paste -sd ' ')
[ -z "$without" ] || skip "io_uring is not to be had here ($without), so its ways were not tried; the others were, and none gets out"
