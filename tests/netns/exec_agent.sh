#!/usr/bin/env bash
# Promise: `exec --agent` makes its command a pod of the agent that runs: told by it to whoever follows
# it and, whole and in order, to the one who started the command; each of the command's files of roots
# trusts what it trusted before and no more, also when the agent takes up another CA meanwhile; exit
# statuses are the command's. Whatever ends `exec`, within a second the agent has no pod of it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
# shellcheck source=../harness/agent.sh
. "$HERE/../harness/agent.sh"

make_ca ca
make_ca mine
make_cert origin ca "$ORIGIN_SAN"
make_cert own mine "$ORIGIN_SAN"
make_namespaces
NGINX_LISTEN=(203.0.113.10)
nginx_server 443 origin
nginx_server 8443 own
start_nginx "${IN_UPSTREAM[@]}"
echo small >"$T/www/small"
URL=https://203.0.113.10/small OWN=https://203.0.113.10:8443/small

# joined OPTIONS... -- CMD...: in the pod's network, with a file of roots that only who names it reads
JOINED=("${IN_CGROUP[@]}" "$CGROUPS/shell" "${IN_POD[@]}" "${CLEAN[@]}" "REQUESTS_CA_BUNDLE=$T/mine.pem"
        "$SALLYPORT" exec --agent --runtime-dir "$T/run")
joined() { "${JOINED[@]}" "$@"; }
refused() { # WHAT STATUS SENTENCE OPTIONS...
    expect_status "$1" "$2" joined "${@:4}" -- touch "$T/ran" 2>"$T/client.err"
    expect_grep "$1" "^sallyport: .*$3" "$T/client.err"
    [ ! -e "$T/ran" ] || fail "$1: the command ran"
}
make_cgroup shell
refused "no agent" 125 "no agent runs at $T/run"
for option in --ca --upstream-ca --client-certificates --passthrough; do
    refused "$option" 2 "$option does not go with --agent" $option localhost
done
agent_up
ours() { jq -c "select($1)" "$T/joined" | wc -l; }

# ---- what is told, and to whom -------------------------------------------------------------------

expect_status "curl" 0 joined -o json --events-file "$T/joined" -- curl -sS -o "$T/answer" "$URL"
expect_eq "answer" small "$(cat "$T/answer")"
expect_eq "told to us" "exec exit 200 terminated" "$(jq -s -r '"\(.[0] | if has("process_exec") then "exec" else . end) \(.[-1]
    | if has("process_exit") then "exit" else . end) \(.[].process_http // empty | "\(.code) \(.visibility)")"' "$T/joined")"
expect_eq "seq without a gap" true "$(jq -s '[.[].seq | tonumber] == [range(1; length + 1)]' "$T/joined")"
expect_eq "all that the agent told" "$(wc -l <"$EVENTS")" "$(wc -l <"$T/joined")"
expect_eq "it has a name of its own" true \
    "$(jq -s 'all(.[] | .. | .pod? // empty; .namespace == "exec" and (.name | test("^[0-9]+-[0-9a-f]{8}$")))' "$T/joined")"
expect_status "compact, to stderr" 0 joined -- curl -sS -o "$T/answer" "$URL" 2>"$T/client.err"
expect_lines "compact" "$T/client.err" 'process exec/[0-9]+-[0-9a-f]+ /usr/bin/curl' \
    'tls .*203.0.113.10:443' 'http .* GET /small 200' 'exit .*curl.* 0$'
expect_eq "no pod is left" "" "$(pods_listed)"

expect_status "false" 1 joined -- false 2>"$T/client.err"
expect_status "by a signal" 137 joined -- sh -c 'kill -KILL $$' 2>"$T/client.err"
expect_status "not found" 127 joined -- "$T/none" 2>"$T/client.err"
expect_status "no program" 126 joined -- "$T/answer" 2>"$T/client.err"
expect_status "another user" 0 joined --user nobody -- id -un >"$T/out" 2>"$T/client.err"
expect_eq "who" nobody "$(cat "$T/out")"
expect_eq "stdin" through "$(echo through | joined -- cat 2>"$T/client.err")"
expect_status "a reader that goes" 3 joined -- bash -c 'sleep 0.3; curl -sS -o /dev/null "$0"; exit 3' "$URL" 2> >(read -r -n 1)

# Words between the test and a command that runs on.
mkfifo "$T/words" "$T/done"
exec {words}<>"$T/words" {done}<>"$T/done"
background "${JOINED[@]}" --events-file "$T/other" -- \
    bash -c "trap 'exit 7' TERM; echo >$T/done; while :; do sleep 0.1; done"
read -r -t 20 <&"$done"
kill -TERM $!
expect_status "SIGTERM is passed on" 7 wait $!

with_socket() { # the agent's policies could not judge it
    "${IN_POD[@]}" bash -c 'exec 7<>/dev/tcp/203.0.113.10/443; exec "$@"' bash "${JOINED[@]}" -- touch "$T/ran"
}
expect_status "a socket from outside" 125 with_socket 2>"$T/client.err"
expect_grep "a socket from outside" 'descriptor 7, a socket from outside, which no policy can judge' "$T/client.err"
[ ! -e "$T/ran" ] || fail "a socket from outside: the command ran"

# ---- trust ---------------------------------------------------------------------------------------

# A command that does as it is told, while the agent changes.
background "${JOINED[@]}" -o json --events-file "$T/joined" -- bash -c "while read -r line; do eval \"\$line\"; echo \$? >$T/done; done" \
    <"$T/words" >"$T/out" 2>"$T/long.err"
LONG=$!
does() { # WHAT STATUS COMMAND
    local got
    echo "$3 >>$T/answer 2>>$T/client.err" >&"$words"
    read -r -t 30 got <&"$done" || fail "$1: no answer; $(cat "$T/long.err")"
    expect_eq "$1" "$2" "$got"
}
trust_is() { # WHEN
    does "system's bundle, $1" 0 "curl -sS $URL"
    does "a file, $1" 0 "curl -sS --cacert $T/mine.pem $URL"
    does "a server of that file's, $1" 0 "curl -sS --cacert $T/mine.pem $OWN"
    does "which the bundle does not trust, $1" 60 "curl -sS $OWN"
}
trust_is "at first"
kill -HUP "$AGENT"
wait_for 10 grep -q 'reloaded' "$T/agent.err"
trust_is "after a reload"
make_ca another
cp "$T/another.pem" "$T/agent-ca/ca.crt"
install -m 600 "$T/another.key" "$T/agent-ca/tls.key"
cp "$T/another.pem" "$T/agent-ca/tls.crt"
kill -HUP "$AGENT"
wait_for 10 bash -c "sallyport() { '$SALLYPORT' \"\$@\"; }; sallyport status --runtime-dir $T/run -o json | grep -q another"
trust_is "with another CA"
expect_status "a new one with it" 0 joined --events-file "$T/other" -- curl -sS -o "$T/answer" "$URL"
expect_eq "each has its own events" 0 "$(ours '.process_exec.process.binary == "/usr/bin/curl" and .process_exec.process.arguments == "-sS -o '"$T"'/answer '"$URL"'"')"
expect_eq "listed" 1 "$(pods_listed | wc -w)"
echo 'exit 3' >&"$words"
expect_status "the end of it" 3 wait "$LONG"
expect_eq "all of it is told" 1 "$(ours '.process_exit.process.binary == "/usr/bin/bash"')"

# ---- killed --------------------------------------------------------------------------------------

# what there is under the names that our agents' pods had; others run commands of theirs meanwhile
of_ours() {
    jq -r '.. | .pod? // empty | "/run/sallyport/\(.namespace)/\(.name)"' "$EVENTS" | sort -u | while read -r dir; do
        [ ! -e "$dir" ] || echo "$dir"
    done
}
background "${JOINED[@]}" --events-file "$T/joined" -- bash -c "setsid -f sleep 1000; echo >$T/done; sleep 1000" 2>"$T/long.err"
LONG=$!
read -r -t 20 <&"$done"
expect_eq "it is there" 1 "$(pods_listed | wc -w)"
expect_eq "what it leaves is found" "/run/sallyport/$(pods_listed)" "$(of_ours | grep -F "$(pods_listed)")"
kill -KILL "$LONG"
wait_for 1 pods_are ""
wait "$LONG" 2>/dev/null || true
expect_status "the next one cleans up" 0 joined --events-file "$T/other" -- true
left() { find "$CGROUPS/shell" -mindepth 1 -type d; of_ours; }
expect_eq "what is left" "" "$(left)"

# ---- agents that go ------------------------------------------------------------------------------

long() { # COMMAND: one that runs while its agent goes, and ends with status 4 when it is told to
    background "${JOINED[@]}" --events-file "$T/joined" -- \
        bash -c "$1 echo >$T/done; read -r <$T/words; wait; exit 4" 2>"$T/long.err"
    LONG=$!
    read -r -t 20 <&"$done"
}
goes_on() {
    wait_for 20 grep -q 'the agent has ended' "$T/long.err"
    expect_eq "the next agent does not know it" "" "$(pods_listed)"
    echo >&"$words"
    expect_status "it ends as it would" 4 wait "$LONG"
}
head -c 400000 /dev/urandom >"$T/www/large"
long "curl -sS --limit-rate 200k -o $T/answer https://203.0.113.10/large & sleep 0.5;"
old=$AGENT
agent_up --replace
wait_for 10 bash -c "'$SALLYPORT' status --runtime-dir $T/run -o json | jq -e '.pid == $AGENT'" >"$T/out"
goes_on
expect_same "what was under way" "$T/answer" "$T/www/large"
wait "$old"
long ""
agent_down KILL
wait_for 20 grep -q 'the agent has ended' "$T/long.err"
agent_up
goes_on

# ---- hostile -------------------------------------------------------------------------------------

/usr/bin/python3 - "$T/run/control.sock" "$CGROUPS/shell" <<'PY'
import array, json, os, socket, sys, tempfile
def add(trust, *files):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    fds = [os.open(sys.argv[2], os.O_RDONLY), os.open("/proc/self/ns/net", os.O_RDONLY), *files]
    line = json.dumps({"verb": "pods.add", "name": "x", "trust": trust}) + "\n"
    s.sendmsg([line.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
    return json.loads(s.makefile().readline())["error"]
def memfd(data, size=None):
    fd = os.memfd_create("x")
    os.write(fd, data)
    os.ftruncate(fd, size or len(data))
    return fd
pipe = os.pipe()[0]
for trust, files, words in [
    (0, [], "no number from 1 to 4"), (5, [memfd(b"")] * 5, "no number"), ("x", [], "no number"), (-1, [], "no number"),
    (1, [], "files of at most"), (1, [pipe], "files of at most"), (1, [os.open("/", os.O_RDONLY)], "files of at most"),
    (1, [memfd(b"", 5 << 20)], "files of at most"), (1, [memfd(b"garbage")], "certificates in PEM"),
    (2, [memfd(b""), memfd(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")], "certificates in PEM"),
]:
    said = add(trust, *files)
    assert words in said, (trust, said)
PY
expect_eq "none of it is a pod" "" "$(pods_listed)"
agent_down
expect_eq "what is left in the end" "" "$(left)"
