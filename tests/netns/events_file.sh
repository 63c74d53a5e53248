#!/usr/bin/env bash
# Promise: the agent's file of events begins anew when it is full, at the end of a line, and keeps as
# many as it was told; whoever moves it away sends SIGHUP; where the disk is full, what is missing is
# counted in its place, and it goes on when there is room. All files together have every seq once.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"
add_pod() { # NAME
    make_cgroup "$1"
    pods add --cgroup "$CGROUPS/$1" --netns "/run/netns/$POD" --name "test/$1"
}
in_web() { "${IN_CGROUP[@]}" "$CGROUPS/web" "${IN_POD[@]}" "${CLEAN[@]}" "$@"; }

make_ca ca
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
for name in many still-there anew full room first-end many-end full-end; do echo hello >"$T/www/$name"; done

mkdir "$T/disk"
mount -t tmpfs -o size=2m tmpfs "$T/disk"
# shellcheck disable=SC2317 # called by the trap
disk_gone() {
    local status=$?
    trap - ERR
    set +e
    umount -l "$T/disk"
    (exit "$status")
    agent_tear_down
}
trap disk_gone EXIT
file=$T/disk/events.json
printf '{"half' >"$file" # of an agent that was killed
agent_up --events-file "$file" --events-file-max-size 200k --events-file-backups 3
add_pod web
get() { in_web curl -s -o /dev/null --max-time 20 "$@" || true; }
load() { in_web hey -n "$1" -c 4 "http://203.0.113.10/$2" >/dev/null; }
is_there() { grep -qs "\"path\":\"/$1\"" "$T"/disk/moved.* "$file"*; }

# ---- full ones -------------------------------------------------------------------------

get http://203.0.113.10/first-end
wait_for 20 is_there first-end
expect_eq "the half line" '{"half' "$(cat "$file.1")"
load 600 many # some 900 kB
get http://203.0.113.10/many-end
wait_for 20 is_there many-end
expect_eq "files" "events.json events.json.1 events.json.2 events.json.3" \
    "$(cd "$T/disk" && echo *)"
for one in "$file.1" "$file.2" "$file.3"; do
    expect_eq "size of ${one##*/}: nearly full, never more" true \
        "$(find "$one" -printf '%s\n' | awk '{ print ($1 > 100000 && $1 <= 200000) ? "true" : $1 }')"
done
seqs() { cat "$@" | jq -r .seq; }
expect_eq "seq from file to file" true \
    "$(seqs "$file.3" "$file.2" "$file.1" "$file" | awk 'NR > 1 && $1 != last + 1 { bad = 1 } { last = $1 } END { print bad ? "a gap" : "true" }')"

# ---- moved by others ----------------------------------------------------------------------

# with room in it, or it would begin anew by itself
until [ "$(stat -c %s "$file")" -lt 150000 ]; do
    load 40 many
    sleep 0.1 # of its next batch
done
mv "$file" "$T/disk/moved.1"
get http://203.0.113.10/still-there
wait_for 20 is_there still-there
expect_grep "before SIGHUP" '"path":"/still-there"' "$T/disk/moved.1"
kill -HUP "$AGENT"
get http://203.0.113.10/anew
wait_for 20 grep -qs '"path":"/anew"' "$file"
expect_no_grep "behind SIGHUP" '"path":"/anew"' "$T/disk/moved.1"
before=$(seqs "$file" | head -n 1)

# ---- a full disk ------------------------------------------------------------------------------

head -c 2000000 /dev/zero >"$T/disk/ballast" 2>/dev/null || true
load 300 full
get http://203.0.113.10/full-end
rm "$T/disk/ballast"
get http://203.0.113.10/room
wait_for 20 is_there room
expect_grep "what the full disk cost" '"lost_events":\{"count":"[0-9]+","reason":"could not be written: No space left on device"\}' "$file"
agent_down
files=("$file")
for n in 1 2 3; do [ ! -e "$file.$n" ] || files=("$file.$n" "${files[@]}"); done
# from SIGHUP on: every request is there, or counted
expect_eq "seq without a gap" true \
    "$(seqs "${files[@]}" | awk -v before="$before" '$1 >= before { if (last && $1 != last + 1) bad = 1; last = $1 } END { print bad ? "a gap" : "true" }')"
lost=$(cat "${files[@]}" | jq -s 'map(.lost_events.count // "0" | tonumber) | add')
[ "$lost" -gt 0 ] || fail "nothing was lost"
echo "the full disk cost $lost events"
