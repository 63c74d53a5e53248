# taken: who tries to get a request past the rules where the kernel encrypts: sends that are taken in part,
# or begun with MSG_MORE, a KeyUpdate before, records of a handshake, pages that change, a file before, keys
# that nobody has, records of the program's own that wait while the kernel takes keys, a socket that had
# been connected to where all is allowed.
# shellcheck shell=bash disable=SC2154 # a part of route.sh

read -r open <<<"$(free_ports 1)"
make_cgroup taken
pods add --cgroup "$CGROUPS/taken" --netns /proc/self/ns/net --name taken --label app=taken --ports all --loopback
apply taken taken 'route: kernel' 'egress:' '- toEntities: [all]' '  toPorts:' \
    '  - ports: [{port: "1", endPort: 65535, protocol: TCP}]' '    rules: {http: [{method: GET, path: "/of1[23]"}]}' \
    '- toEntities: [all]' "  toPorts: [{ports: [{port: \"$open\", protocol: TCP}]}]"
in_pod taken /usr/bin/python3 "$HERE/route/taken.py" "$T/origin.pem" "$T/origin.key" "$open" >"$T/out" 2>"$T/client.err" ||
    fail "who tries: $(cat "$T/out" "$T/client.err")"
[ "$backend" = lsm ] && refused=EPERM || refused=EACCES
spliced=$refused # before 6.5 it is looked at, and encrypted, by the very splice, and may go as it was
[ "$backend" = lsm ] || [[ $(uname -r) != 6.1.* ]] || spliced=sent
expect_eq "who tried to get past the rules" "$(sed "s/REFUSED/$refused/;s/SPLICED/$spliced/" <<'TAKEN'
partial REFUSED
more REFUSED
key_update REFUSED
key_update_letter REFUSED
finished REFUSED
spliced SPLICED
behind_a_file REFUSED
wrong_keys REFUSED
own_records ended
own_record_that_waits ended
again REFUSED
arrived
TAKEN
)" "$(cat "$T/out")"
remove taken
pods remove taken
echo "ok: who tries to get past the rules, $backend on $(uname -r)"
