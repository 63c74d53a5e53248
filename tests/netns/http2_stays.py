"""http2_stays.py HOST SMALL SLOW: a client that does not leave, of an agent that ends.

Has three connections: over the first the slow answer is coming, over the second nothing more is asked, the third is
not even read any more. Says "ready" then. What it hears afterwards it prints when the agent has shut the first two,
which it keeps open as long as stdin is."""
import socket
import ssl
import sys

from h2frames import MOST, PATIENCE, Peer, head, headers

host, small, slow = sys.argv[1:]
context = ssl.create_default_context()
context.set_alpn_protocols(["h2"])


def connect():
    sock = socket.create_connection((host, 443), PATIENCE)
    return Peer(context.wrap_socket(sock, server_hostname=host))


def path(what):
    return head(what, authority=host)


busy, idle, deaf = connect(), connect(), connect()
for peer in busy, idle, deaf:
    if peer.ask(1, *path(small)).status != "200":
        sys.exit(f"before it: {peer.goaway} {peer.closed}")
busy.send(headers(3, *path(slow)))
busy.until(lambda: busy.stream(3).data)
print("ready", flush=True)

# the notice: what is asked yet is answered
busy.until(lambda: busy.goaway)
print("notice", busy.last == MOST, busy.ask(5, *path(small)).status, flush=True)
# what follows it: what was asked is answered, nothing else is
busy.until(lambda: busy.last != MOST)
print("then", busy.last, flush=True)
busy.send(headers(7, *path(small)))
busy.until(lambda: busy.closed)
print("slow", busy.stream(3).status, len(busy.stream(3).data), busy.stream(3).ended, flush=True)
print("behind it", busy.stream(7).status or "nothing", busy.closed, flush=True)
idle.until(lambda: idle.closed)
print("idle", idle.last, idle.closed, flush=True)
print("faults", busy.faults + idle.faults, flush=True)
sys.stdin.read()
