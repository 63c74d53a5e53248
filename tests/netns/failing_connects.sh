#!/usr/bin/env bash
# Promise: a connect that is looked into fails with the errno, and after about the time, that it would
# fail with alone, in each way a connect can be made, and its close says so; so a program goes on to the
# next address of a name. What it gives up is given up upstream, and nothing is left of it.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"

[ -e /dev/net/tun ] || modprobe tun || skip "no /dev/net/tun"
make_namespaces
"${IN_UPSTREAM[@]}" sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
# two repetitions of a SYN; ICMP as often as there is reason; Fast Open with data in the first SYN
"${IN_POD[@]}" sysctl -q -w net.ipv4.tcp_syn_retries=2 net.ipv4.icmp_ratelimit=0 net.ipv4.tcp_fastopen=5
"${IN_POD[@]}" sysctl -q -w net.ipv4.tcp_syn_linear_timeouts=0 2>/dev/null || true # where there is such a thing
background "${IN_UPSTREAM[@]}" "${CLEAN[@]}" /usr/bin/python3 "$HERE/dead_ends.py" "$T/routes"
wait_for 20 test -e "$T/routes"
ip -n "$UPSTREAM" link set dead up
# some of them are the pod's neighbours, which the C library puts before others
for net in 198.51.100.64/27 192.0.2.64/27 2001:db8:3::/64; do ip -n "$UPSTREAM" route add $net dev dead; done
ip -n "$POD" route add 192.0.2.64/27 via 192.0.2.1
for route in unreachable:40 throw:41; do # known at once
    ip -n "$POD" route add "${route%:*}" "198.51.100.${route#*:}"
    ip -n "$POD" route add "${route%:*}" "2001:db8:3:1::${route#*:}"
done
ip -n "$POD" route add prohibit 2001:db8:3:1::42
NGINX_LISTEN=(203.0.113.10 '[2001:db8:2::10]')
nginx_server 80
start_nginx "${IN_UPSTREAM[@]}"
echo hello >"$T/www/file"
start_dnsmasq no-round-robin address=/live.test/203.0.113.10 \
    address=/refused.test/203.0.113.10 address=/refused.test/192.0.2.1 \
    address=/unreachable.test/203.0.113.10 address=/unreachable.test/192.0.2.66 \
    address=/silent.test/203.0.113.10 address=/silent.test/192.0.2.68 \
    address=/refused6.test/2001:db8:2::53 address=/refused6.test/203.0.113.10 \
    address=/silent6.test/2001:db8:3::68 address=/silent6.test/203.0.113.10

EXEC_POD=("${IN_POD_DNS[@]}" "${CLEAN[@]}" "$SALLYPORT" exec -o json --events-file "$EVENTS")
exec_pod() { "${EXEC_POD[@]}" "$@"; }

# ---- the same errno, after the same time ---------------------------------------------------------------

cat >"$T/fail.py" <<'PY'
import errno, os, select, socket, sys, threading, time
def blocking(s, to):
    s.connect(to)
def polled(s, to):
    s.setblocking(False)
    code = s.connect_ex(to)
    if code == errno.EINPROGRESS:
        select.select([], [s], [])
        code = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, "")
def bound(s, to):
    s.bind(("192.0.2.2" if s.family == socket.AF_INET else "2001:db8:1::2" if to[0][0] == "2" else "::ffff:192.0.2.2", 0))
    s.connect(to)
def fast_open(s, to):
    s.setsockopt(socket.IPPROTO_TCP, 30, 1)
    s.connect(to)
    s.sendall(b"GET /file HTTP/1.0\r\n\r\n")
    assert s.recv(15) == b"HTTP/1.1 200 OK"
    while s.recv(4096): # who closes with something unread resets the connection
        pass
def few(s, to): # the socket's own limit
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
    s.connect(to)
def timed(s, to): # the program's
    s.settimeout(1.2)
    s.connect(to)
hosts4 = ["203.0.113.10", "203.0.113.53"] + [f"198.51.100.{n}" for n in (66, 67, 68, 69, 73, 40, 41)] 
hosts6 = ["2001:db8:2::10", "2001:db8:2::53"] + [f"2001:db8:3::{n}" for n in (66, 67, 68, 69, 73)]
hosts6 += ["2001:db8:3:1::40", "2001:db8:3:1::41", "2001:db8:3:1::42"]
cases = [(how, 0, host) for host in hosts4 + hosts6 + ["::ffff:" + h for h in hosts4] for how in (blocking, polled)]
cases += [(how, 0, host) for host in hosts4[:3] + hosts6[:3] + ["::ffff:203.0.113.53"] for how in (bound, fast_open)]
cases += [(how, 0, host) for host in ("198.51.100.68", "2001:db8:3::68") for how in (few, timed)]
cases += [(blocking, 262, host) for host in hosts4[:3] + hosts6[:3]] # IPPROTO_MPTCP
# one neighbour each who is not there: what waits for the same one shares its fate
absent = [(blocking, 0, sys.argv[1]), (polled, 0, sys.argv[2]), (blocking, 0, sys.argv[3])]
lines = []
def run(how, protocol, host):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, protocol)
    began = time.monotonic()
    try:
        how(s, (host, 80))
        got = "connected"
    except OSError as e:
        got = errno.errorcode[e.errno] if e.errno else str(e)
    lines.append(f"{how.__name__} {protocol} {host} {got} {time.monotonic() - began:.2f}")
    s.close()
threads = [threading.Thread(target=run, args=case) for case in cases + absent]
for t in threads: t.start()
for t in threads: t.join()
print("\n".join(lines))
PY
"${IN_POD[@]}" "${CLEAN[@]}" /usr/bin/python3 "$T/fail.py" 192.0.2.9{0,1} 2001:db8:1::90 >"$T/alone" &
alone=$!
expect_status "failing" 0 exec_pod -- /usr/bin/python3 "$T/fail.py" 192.0.2.8{0,1} 2001:db8:1::80 >"$T/steered" 2>"$T/client.err"
wait "$alone"
for errno in ECONNREFUSED EHOSTUNREACH ENETUNREACH ETIMEDOUT EACCES connected 'timed out'; do
    expect_grep "how they fail alone" " $errno " "$T/alone"
done
sed -i 's/2[.]9\([01] \)/2.8\1/; s/:90 /:80 /' "$T/alone"
sort -o "$T/alone" "$T/alone"
sort -o "$T/steered" "$T/steered"
for who in alone steered; do # the neighbours may be found missing before the last SYN has gone, or not
    awk '{ $NF = ""; print }' "$T/$who" | sed '/ 192[.]0[.]2[.]8\|:1::8/s/ETIMEDOUT/EHOSTUNREACH/' >"$T/$who.how"
done
diff "$T/alone.how" "$T/steered.how" >&9 || fail "connects fail otherwise (lines with >)"
paste -d ' ' "$T/alone" "$T/steered" | awk '/ 192[.]0[.]2[.]8|:1::8/ { next } { n = NF / 2; d = $NF - $n; if (d > 1.5 || d < -1.5) print }' >"$T/late"
[ ! -s "$T/late" ] || fail "not after the same time: $(cat "$T/late")"
echo "ok: $(wc -l <"$T/steered") connects as without us"

# every one is told once, with its end
python3 - "$T/steered" >"$T/wanted" <<'PY'
import errno, os, sys
for line in open(sys.argv[1]):
    how, protocol, host, *got, _ = line.split()
    text = os.strerror(getattr(errno, got[0])) if got[0][0] == "E" else ""
    print("TCP", host.removeprefix("::ffff:"), text)
PY
expect_eq "closes told" "$(sort "$T/wanted" | sed 's/ *$//')" \
    "$(events '.[].process_close // empty | "TCP \(.socket.daddr) \(.error // "")"' | sed 's/ *$//' | sort)"
expect_eq "connects told" "$(wc -l <"$T/wanted")" "$(events '[.[].process_connect // empty] | length')"
expect_all_seq
echo "ok: told once each, with its reason"

# ---- in other places ------------------------------------------------------------------------------------

refused() { # what, command...: curl's own status for it
    local what=$1
    shift
    expect_status "$what" 7 "$@" 2>"$T/client.err"
    expect_grep "$what" 'Connection refused' "$T/client.err"
    echo "ok: $what"
}
refused "an exec inside an exec" exec_pod -- "$SALLYPORT" exec --events-file "$T/inner" -- \
    curl -sv http://203.0.113.53/file
expect_grep "told by the inner" 'close .* 203.0.113.53:80 .*Connection refused' "$T/inner"
expect_eq "told by the outer" "Connection refused" \
    "$(events '.[].process_close // empty | select(.socket.daddr == "203.0.113.53" and .socket.dport == 80) | .error' | sort -u)"
refused "a namespace that the program enters" sh -c 'exec "$@"' - "${EXEC_POD[@]}" -- \
    nsenter --net="/run/netns/$UPSTREAM" sh -c 'sleep 0.2; curl -sv http://192.0.2.2/'
expect_status "a name server that refuses over TCP" 9 exec_pod -- dig +tcp +tries=1 +time=2 @203.0.113.10 live.test >"$T/out"
expect_grep "and is told so" 'connection refused' "$T/out"

# ---- the next address of a name ---------------------------------------------------------------------------

cat >"$T/get.go" <<'GO'
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	answer, err := client.Get(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(answer.StatusCode)
}
GO
cat >"$T/Get.java" <<'JAVA'
import java.net.*;

/** As Java's HTTP clients do: one address of the name after the other. */
class Get {
    public static void main(String[] arguments) throws Exception {
        URL url = new URL(arguments[0]);
        for (InetAddress address : InetAddress.getAllByName(url.getHost())) {
            try (Socket socket = new Socket()) {
                socket.connect(new InetSocketAddress(address, 80), 2000);
                socket.getOutputStream().write(("GET " + url.getPath() + " HTTP/1.0\r\n\r\n").getBytes());
                System.out.println(new String(socket.getInputStream().readNBytes(12)).substring(9));
                return;
            } catch (SocketTimeoutException | ConnectException | NoRouteToHostException e) {
                System.err.println(address + ": " + e);
            }
        }
    }
}
JAVA
(cd "$T" && GO111MODULE=off GOCACHE="$GO_CACHE" HOME="$T" go build -o get-go get.go &&
    ecj -proc:none -source 11 -target 11 -d . Get.java)
cat >"$T/clients.sh" <<'SH'
# clients.sh DIRECTORY NAME: five clients at once get the page
cd "$1"
url=http://$2/file
curl -s --connect-timeout 6 -o /dev/null -w '%{http_code}\n' "$url" >out.curl 2>err.curl &
wget -q -S --connect-timeout=2 --tries=1 -O /dev/null "$url" 2>&1 | awk '/^ *HTTP/ { print $2 }' >out.wget &
/usr/bin/python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).status)' "$url" >out.python 2>err.python &
./get-go "$url" >out.go 2>err.go &
java -cp . Get "$url" >out.java 2>err.java &
wait
SH
for dead in refused:192.0.2.1 unreachable:192.0.2.66 silent:192.0.2.68 refused6:2001:db8:2::53 silent6:2001:db8:3::68; do
    name=${dead%%:*}.test
    rm -f "$T"/out.*
    expect_status "clients of $name" 0 exec_pod -- bash "$T/clients.sh" "$T" "$name" 2>"$T/client.err"
    expect_eq "what the clients of $name got" "curl 200 go 200 java 200 python 200 wget 200" \
        "$(for client in curl go java python wget; do echo "$client" "$(cat "$T/out.$client")"; done | xargs)"
    tried=$(events '.[].process_connect // empty | select(.socket.daddr == "'"${dead#*:}"'") | .process.binary | split("/") | last' |
        sed 's/python3.*/python/; s/get-go/go/' | sort -u | xargs)
    if [[ $name == *6.test ]]; then wanted='curl go python wget'; else wanted='curl go java python wget'; fi
    expect_eq "who tried the dead address of $name" "$wanted" "$tried" # Java prefers IPv4
    echo "ok: $name"
done

# ---- what is given up ---------------------------------------------------------------------------------------

# Held SYNs are attempts of the agent's, each with a socket. When the program has let go of its own, by
# closing, disconnecting or ending, theirs are gone, too; and what was connected came to be accepted.
cat >"$T/agent.py" <<'PY'
import os, sys, time
agent = os.getppid()
def descriptors():
    return len(os.listdir(f"/proc/{agent}/fd"))
def attempts(): # in SYN_SENT, ours and theirs
    return sum(line.split()[3] == "02" for line in list(open("/proc/net/tcp"))[1:])
def until(what, condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"not within 20 s: {what}; {descriptors()} descriptors, {attempts()} attempts")
        time.sleep(0.02)
def calm(): # how many when it has all ready that it makes ahead
    looks = []
    until("calm", lambda: looks.append(descriptors()) or len(looks) > 25 and len(set(looks[-25:])) == 1)
    return looks[-1]
PY
cat >"$T/give_up.py" <<'PY'
import errno, os, select, socket, sys
from agent import attempts, calm, descriptors, until
count = int(sys.argv[1])
def begin(host):
    s = socket.socket()
    s.setblocking(False)
    assert s.connect_ex((host, 80)) == errno.EINPROGRESS
    return s
def ends(sockets):
    ends, poll = {}, select.poll()
    waiting = {s.fileno(): s for s in sockets}
    for fd in waiting:
        poll.register(fd, select.POLLOUT)
    while waiting:
        for fd, _ in poll.poll(20000) or sys.exit(f"{len(waiting)} of {count} hang"):
            poll.unregister(fd)
            code = waiting.pop(fd).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            ends[code] = ends.get(code, 0) + 1
    return ends
ends([begin("203.0.113.53")]) # what the agent keeps ready from now on
ends([begin("203.0.113.10")])
before = calm()
sockets = [begin("198.51.100.68") for _ in range(count)]
until("attempts", lambda: attempts() == 2 * count)
for s in sockets[::2]:
    s.close()
for s in sockets[1::2]: # disconnects, as AF_UNSPEC does
    s.shutdown(socket.SHUT_RDWR)
until("no attempts", lambda: attempts() == 0)
until("no descriptors", lambda: descriptors() <= before)
del sockets
if os.fork() == 0:
    sockets = [begin("198.51.100.68") for _ in range(count)]
    os._exit(0)
os.wait()
until("no attempts of one who ended", lambda: attempts() == 0 and descriptors() <= before)
sockets = [begin("203.0.113.53") for _ in range(count)]
assert ends(sockets) == {errno.ECONNREFUSED: count}, "refused"
sockets = [begin("203.0.113.10") for _ in range(count)]
assert ends(sockets) == {0: count}, "connected"
sockets = None
until("no descriptors of what was connected", lambda: descriptors() <= before)
PY
count=300
[ -z "$FULL" ] || count=5000
ulimit -n "$(ulimit -Hn)"
expect_status "giving up" 0 "${EXEC_POD[@]}" -- /usr/bin/python3 "$T/give_up.py" $count
expect_eq "closes told" $((4 * count + 2)) "$(events '[.[].process_close // empty] | length')"
expect_eq "refused" $((count + 1)) "$(events '[.[].process_close // empty | select(.error == "Connection refused")] | length')"
expect_all_seq
echo "ok: $count given up, again, refused, connected"

# ---- one who takes all that there is ------------------------------------------------------------------------

# Attempts have their share of the limits: who comes beyond is refused at once and told why, whoever
# used it up; what is open goes on; and all is there again when they have ended.
cat >"$T/use_up.py" <<'PY'
import os, select, signal, socket, sys
from agent import attempts, calm, descriptors, until
count = 80
def get(s):
    s.sendall(b"GET /file HTTP/1.1\r\nHost: live.test\r\n\r\n")
    answer = b""
    while not answer.endswith(b"hello\n"):
        piece = s.recv(4096)
        if not piece:
            sys.exit(f"cut off after {answer}")
        answer += piece
def served():
    with socket.create_connection(("203.0.113.10", 80), 10) as s:
        get(s)
def refused():
    try:
        served()
    except ConnectionResetError:
        return True
    return False
def flood(told):
    sockets, ended, poll = [], 0, select.poll()
    for _ in range(count):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("198.51.100.68", 80))
        sockets.append(s)
        poll.register(s, 0)
    while True:
        for fd, what in poll.poll(50):
            poll.unregister(fd)
            ended += 1
        if ended and attempts() == 2 * (count - ended):
            os.write(told, b"%d" % ended)
            signal.pause()
served()
first = socket.create_connection(("203.0.113.10", 80), 10)
get(first)
before = calm()
for _ in range(2):
    ear, told = os.pipe()
    flooder = os.fork()
    if flooder == 0:
        os.close(ear)
        flood(told)
    os.close(told)
    ended = int(os.read(ear, 9) or sys.exit("the flood ended"))
    os.close(ear)
    for _ in range(3):
        refused() or sys.exit("served, when all was used up")
    get(first)
    os.kill(flooder, signal.SIGKILL)
    os.wait()
    until("no attempts of one who ended", lambda: attempts() == 0 and descriptors() <= before)
    for _ in range(3):
        served()
    until("no descriptors", lambda: descriptors() <= before)
    print(ended + 3)
PY
"${IN_POD[@]}" sysctl -q -w net.ipv4.tcp_syn_retries=6
expect_status "using all up" 0 "${EXEC_POD[@]:0:${#IN_POD_DNS[@]}}" \
    bash -c 'ulimit -S -n 120 && ulimit -H -n 160 && exec "$@"' - "${EXEC_POD[@]:${#IN_POD_DNS[@]}}" -- \
    /usr/bin/python3 "$T/use_up.py" >"$T/refused" 2>"$T/client.err"
expect_eq "refused, and told why" "$(awk '{ n += $1 } END { print n }' "$T/refused")" \
    "$(events '[.[].process_close // empty | select(.error == "refused: too many connections for the open files allowed")] | length')"
expect_eq "closes told" $((2 * (80 + 6) + 2)) "$(events '[.[].process_close // empty] | length')"
expect_all_seq
echo "ok: all used up twice, $(xargs <"$T/refused") refused"
