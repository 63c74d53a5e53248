"""Floods: frames that cost who sends them nothing, by the ten thousand, from a client and from a server.

http2_floods.py origin CERT KEY       prints its ports, by TLS and plain; tells on stderr which of its floods went on;
                                      ends when it is asked for /done
http2_floods.py client FILE TLS PLAIN  floods and is flooded, led by lines on stdin; notes its ports in FILE; tells on
                                      stderr which went on
http2_floods.py check FILE EVENTS     holds what was told of each against the table"""
import collections
import concurrent.futures
import fcntl
import json
import os
import sys
import termios
import time

sys.dont_write_bytecode = True
from h2frames import *

MANY = 20000
MUCH = bytes(1 << 20)
CALM = "ENHANCE_YOUR_CALM"
# name, what is said once, what is said MANY times (a number makes it, if it is callable), the GOAWAY's codes ("taken":
# it may go on), a regular expression for the reason. The stream is S; behind once, it is open.
Flood = collections.namedtuple("Flood", "name once again codes")
S = 0x5afe5afe


def ask(number, *more, path="/silent", end=False):
    return headers(number, *head(path, *more, method="POST"), end=end)


def later(n):
    return 2 * n + 101


def bomb(number):
    """4000 bytes in the table, and a thousand times one byte that means them."""
    entry = b"\x40" + text("a") + text("b" * 4000)
    return frame(HEADERS, 5, number, block(*head("/bomb")) + entry + b"\xbe" * 12000)


open_stream = ask(S)
POD = (
    Flood("resets", b"", lambda n: ask(later(n)) + reset(later(n)), (CALM,)),
    Flood("resets of whole requests", b"", lambda n: ask(later(n), end=True) + reset(later(n)), (CALM,)),
    Flood("made resets: windows of 0", b"", lambda n: ask(later(n)) + window(later(n), 0), (CALM, "PROTOCOL_ERROR")),
    Flood("made resets: windows too large", b"", lambda n: ask(later(n)) + window(later(n), MOST),
          (CALM, "FLOW_CONTROL_ERROR", "PROTOCOL_ERROR")),
    Flood("made resets: lengths that lie", b"", lambda n: ask(later(n), ("content-length", "1")) + data(later(n), b"12"),
          (CALM, "PROTOCOL_ERROR")),
    Flood("made resets: malformed heads", b"", lambda n: ask(later(n), ("A", "b")), (CALM, "PROTOCOL_ERROR")),
    Flood("streams past the limit", b"", lambda n: ask(later(n)), (CALM, "PROTOCOL_ERROR", "taken")),
    Flood("refused requests", b"", lambda n: headers(later(n), *head("/x", authority="other.test")), (CALM, "PROTOCOL_ERROR", "taken")),
    Flood("CONTINUATIONs of nothing", headers(S, *head("/x"), done=False), frame(CONTINUATION, 0, S), (CALM,)),
    Flood("CONTINUATIONs of a byte", frame(HEADERS, 1, S), frame(CONTINUATION, 0, S, b"\x88"), (CALM, "PROTOCOL_ERROR")),
    Flood("SETTINGS", b"", settings((WINDOW, 65535)), (CALM,)),
    Flood("SETTINGS of nothing", b"", settings(), (CALM,)),
    Flood("acknowledgements of SETTINGS", b"", frame(SETTINGS, ACK), (CALM, "PROTOCOL_ERROR")),
    Flood("PINGs", b"", lambda n: frame(PING, 0, 0, struct.pack(">Q", n)), (CALM,)),
    Flood("answers to PINGs", b"", frame(PING, ACK, 0, bytes(8)), (CALM, "PROTOCOL_ERROR", "taken")),
    Flood("DATA of nothing", open_stream, data(S), (CALM,)),
    Flood("DATA of padding", open_stream, frame(DATA, PADDED, S, b"\0"), (CALM,)),
    Flood("HEADERS of nothing", b"", lambda n: frame(HEADERS, 5, later(n)), (CALM, "PROTOCOL_ERROR")),
    Flood("fields without a name", b"",
          lambda n: frame(HEADERS, 5, later(n), block(*head("/x")) + b"\0\0\0" * 100), (CALM,)),
    Flood("PRIORITYs", open_stream, frame(PRIORITY, 0, S, u32(0) + b"\7"), (CALM,)),
    Flood("PRIORITYs of idle streams", b"", lambda n: frame(PRIORITY, 0, later(n), u32(later(n + 1)) + b"\7"), (CALM,)),
    Flood("windows of 1 for a stream", open_stream, window(S, 1), (CALM,)),
    Flood("windows of 1 for the connection", b"", window(0, 1), (CALM,)),
    Flood("RST_STREAMs of one stream", open_stream + reset(S), reset(S), (CALM, "STREAM_CLOSED", "PROTOCOL_ERROR")),
    Flood("GOAWAYs", b"", goaway(0), (CALM, "NO_ERROR", "PROTOCOL_ERROR")),
    Flood("frames nobody knows", b"", frame(0xee, 0, 0, b"x"), (CALM, "taken")),
    Flood("HPACK bombs", b"", lambda n: bomb(later(n)), (CALM, "PROTOCOL_ERROR")),
)
opened = headers(S, (":status", "200"), end=False)
UPSTREAM = (
    Flood("CONTINUATIONs of nothing", headers(S, (":status", "200"), end=False, done=False),
          frame(CONTINUATION, 0, S), (CALM,)),
    Flood("SETTINGS", b"", settings((WINDOW, 65535)), (CALM,)),
    Flood("PINGs", b"", lambda n: frame(PING, 0, 0, struct.pack(">Q", n)), (CALM,)),
    Flood("answers to PINGs", b"", frame(PING, ACK, 0, bytes(8)), (CALM, "PROTOCOL_ERROR", "taken")),
    Flood("DATA of nothing", opened, data(S), (CALM,)),
    # after so many the stream is reset, the program answered, and gone
    Flood("interim answers", b"", headers(S, (":status", "103"), end=False), (CALM, "taken", "none")),
    Flood("windows of 1 for a stream", b"", window(S, 1), (CALM,)),
    Flood("windows of 1 for the connection", b"", window(0, 1), (CALM,)),
    Flood("PRIORITYs", b"", frame(PRIORITY, 0, S, u32(0) + b"\7"), (CALM, "PROTOCOL_ERROR")),
    Flood("RST_STREAMs of one stream", reset(S), reset(S), (CALM, "STREAM_CLOSED", "PROTOCOL_ERROR")),
    Flood("GOAWAYs", b"", goaway(MOST), (CALM, "PROTOCOL_ERROR")),
    Flood("ALTSVCs", b"", frame(ALTSVC, 0, 0, b"\0\1ah2=\":1\""), (CALM, "taken")),
    Flood("frames nobody knows", b"", frame(0xee, 0, 0, b"x"), (CALM, "taken")),
    Flood("an HPACK bomb", b"", frame(HEADERS, 4, S, block((":status", "200")) + b"\x40" + text("a") + text("b" * 4000)
                                      + b"\xbe" * 12000), (CALM, "PROTOCOL_ERROR", "INTERNAL_ERROR")),
)


def flood(peer, which, stream):
    """How it went: the GOAWAY's code, "none" where the connection ended without one, or "taken"."""
    there = u32(stream)
    sent = peer.send(which.once.replace(u32(S), there))
    for at in range(0, MANY, 100):
        piece = b"".join(which.again(n) for n in range(at, at + 100)) if callable(which.again) else 100 * which.again
        sent = sent and peer.send(piece.replace(u32(S), there))
        peer.drain()
        if peer.closed or not sent:
            break
    if not peer.closed and sent:
        peer.send(frame(PING, 0, 0, b"flooded?"))
    peer.until(lambda: b"flooded?" in peer.pongs and sent)
    if peer.goaway not in (None, "NO_ERROR") or peer.closed:
        return peer.goaway or "none"
    return "taken" if b"flooded?" in peer.pongs else "stuck"


def verdict(side, which, met):
    if met not in which.codes:
        print(f"{which.name}, {side}: wanted {' or '.join(which.codes)}, met {met}", file=sys.stderr, flush=True)


# ---- the server ----------------------------------------------------------------------------------------

class Server(Peer):
    def note_headers(self, got):
        super().note_headers(got)
        path = self.stream(got.stream).field(b":path", 0)
        if path == "/done":
            os._exit(0)
        elif path.startswith("/flood/"):
            which = UPSTREAM[int(path.split("/")[2])]
            verdict("upstream", which, flood(self, which, got.stream))
            self.sock.close()
        elif path == "/much":
            self.send(headers(got.stream, (":status", "200"), end=False))
            self.body(got.stream, MUCH)
        elif path == "/ok":
            self.send(headers(got.stream, (":status", "200"), end=False))
            self.body(got.stream, b"ok")


def behave(sock):
    peer = Server(sock, (MAX_STREAMS, 500), server=True)
    while peer.read():
        del peer.frames[:]
    for fault in peer.faults:
        print("at the server:", fault, file=sys.stderr, flush=True)


# ---- the client ------------------------------------------------------------------------------------------

def from_pod(which, port, tls):
    with connect(port, tls) as sock:
        here = cookie(sock)
        peer = Peer(sock)
        peer.ask(1, *head("/ok"))
        met = flood(peer, which, 3)
    verdict("pod", which, met)
    return "pod", which.name, here, met


def from_upstream(which, port, tls):
    with connect(port, tls) as sock:
        here = cookie(sock)
        peer = Peer(sock)
        stream = peer.ask(1, *head(f"/flood/{UPSTREAM.index(which)}"))
        if "taken" not in which.codes:  # the stream may be over before the flood is
            peer.until(lambda: peer.closed)
        met = f"{stream.status or stream.reset} {peer.goaway}"
    return "upstream", which.name, here, met


def honest(port, tls):
    """Much of what is no flood."""
    with connect(port, tls) as sock:
        peer = Peer(sock)
        for number in range(1, 3000, 2):
            peer.ask(number, *head("/ok"))
            if number % 100 == 1:
                peer.send(frame(PING, 0, 0, bytes(8)), settings((WINDOW, 65535 + number)))
        peer.send(ask(4001), ask(4003), reset(4001), reset(4003), ask(5001, path="/ok"))
        for _ in range(3000):
            peer.body(5001, b"x", end=False)
            peer.drain()
        peer.body(5001, b"x")
        if peer.ask(5003, *head("/ok")).status != "200" or peer.goaway:
            print(f"an honest client was refused: {peer.goaway}", file=sys.stderr)


def client(path, tls, plain):
    only = os.environ.get("ONLY", "")
    honest(tls, True)  # what an agent takes once is taken
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.monotonic()
    jobs = [(act, which, *place) for act, table in ((from_pod, POD), (from_upstream, UPSTREAM)) for which in table
            for place in ((tls, True), (plain, False)) if only in which.name]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        went = list(pool.map(lambda job: guarded(*job), jobs))
    for game in (unread, shut):
        for port, safe in ((tls, True), (plain, False)):
            try:
                game(port, safe)
            except OSError as error:
                print(f"{game.__name__}: {error!r}", file=sys.stderr)
    honest(tls, True)
    with open(path, "w", encoding="ascii") as file:
        json.dump([one for one in went if one], file)
    print(f"done: {len(jobs)} floods in {time.monotonic() - start:.1f} s", flush=True)
    sys.stdin.readline()
    Peer(connect(tls, True)).ask(1, *head("/done"))


# ---- games with windows: what the agent may hold of one connection is bounded ------------------------------

def unread(port, tls):
    """Much is asked for, with windows as large as can be, and nothing of it read."""
    with connect(port, tls) as sock:
        peer = Peer(sock, (WINDOW, MOST))
        peer.send(window(0, MOST - 65535), *(headers(number, *head("/much")) for number in range(1, 201, 2)))
        came, quiet = 0, 0
        while quiet < 7:  # 2 s without a byte: a pause of the machine's is shorter
            time.sleep(0.3)
            waits = there(sock)
            quiet = quiet + 1 if waits and waits == came else 0
            came = waits


def there(sock):
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]


def shut(port, tls):
    """Much is asked for, on many streams, and no window is opened for it; another stream goes on."""
    numbers = range(1, 201, 2)
    with connect(port, tls) as sock:
        peer = Peer(sock, (WINDOW, 10), generous=False)
        peer.send(window(0, MOST - 65535), *(headers(number, *head("/much")) for number in numbers))
        peer.until(lambda: all(peer.stream(number).data for number in numbers))
        if peer.ask(1001, *head("/ok")).status != "200" or peer.stream(1001).data != b"ok":
            print(f"a stream beside {len(numbers)} that stall: {peer.goaway} {peer.closed}", file=sys.stderr)


def guarded(act, which, port, tls):
    try:
        return act(which, port, tls)
    except (OSError, ValueError) as error:
        return print(f"{which.name}: {error!r}", file=sys.stderr)


# ---- what was told ------------------------------------------------------------------------------------------

def check(path, events_path):
    closes = told_of(events_path, "process_close")
    with open(path, encoding="ascii") as file:
        went = json.load(file)
    wrong = 0
    for side, name, here, met in went:
        table, whose = (POD, "program") if side == "pod" else (UPSTREAM, "upstream")
        codes = next(which.codes for which in table if which.name == name)
        told = closes.get((here, None), {}).get("error", "")
        if "taken" not in codes and not told.startswith(f"the {whose}'s HTTP/2: "):
            wrong += 1
            print(f"{name}, {side}: met {met}, told '{told}'")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    if sys.argv[1] == "origin":
        print(serve(*listen(*sys.argv[2:]), behave), serve(*listen(), behave), flush=True)
        time.sleep(3600)
    elif sys.argv[1] == "client":
        client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        check(*sys.argv[2:])
