"""The server of http2_works.py, which does what its path says: http2_works_origin.py CERT KEY

Prints its ports: by TLS, plain, by TLS with extended CONNECT, with one stream at a time, and of one that says nothing. /seen
answers with what it has met on that connection; ends when it is asked for /done."""
import json
import os
import sys
import time

sys.dont_write_bytecode = True
from h2frames import *


GONE = {}  # of connections that have ended: how much came of a request's body, and whether its end did


class Server(Peer):
    held, refuses, pings = (), False, ()

    def note(self, got):
        super().note(got)
        if got.kind == PING and not got.flags & ACK:
            self.pings += (got.payload.hex(),)
        if got.kind == DATA and got.stream in self.streams:
            self.on_bytes(got.stream, got)
        if got.kind in (HEADERS, CONTINUATION) and not self.header and got.stream in self.streams:
            stream = self.stream(got.stream)
            self.on_head(got.stream, stream) if len(stream.heads) == 1 else self.on_trailers(got.stream, stream)

    def on_head(self, number, stream):
        method, path = stream.field(b":method"), stream.field(b":path") or "/echo"
        what = getattr(self, "on_" + path.strip("/").partition("/")[0], None)
        if method == "CONNECT" or path == "/echo":
            self.reply(number, ("x", stream.field(b"x")), end=stream.ended)
        elif what:
            what(number, path)
        else:
            self.reply(number, end=False)
            self.body(number, path.encode())

    def reply(self, number, *more, status="200", end=False):
        self.send(headers(number, (":status", status), *more, end=end))

    def on_bytes(self, number, got):
        stream = self.stream(number)
        if stream.field(b":method", 0) == "CONNECT" or stream.field(b":path", 0) == "/echo":
            waits, stream.data = bytes(stream.data), bytearray()
            self.body(number, waits, end=stream.ended)

    def on_trailers(self, number, stream):
        if stream.field(b":path", 0) == "/echo":
            self.body(number, b"", *((name.decode(), value.decode()) for name, value in stream.heads[-1]))

    def on_interim(self, number, _):
        for status, *more in (("100",), ("103", ("link", "</a>")), ("103", ("link", "</b>")), ("200", ("a", "b"))):
            self.reply(number, *more, status=status)
        self.body(number, b"ok")

    def on_held(self, number, path):
        self.held += (number,)
        if len(self.held) == int(path.split("/")[2]):
            waiting, self.held = self.held, ()
            for one in reversed(waiting):
                self.reply(one)
                self.body(one, str(one).encode())

    def on_leave(self, number, path):
        self.send(goaway(number, path.split("/")[2], b"words"))
        self.reply(number)
        self.body(number, b"left")

    def on_altsvc(self, number, _):
        self.send(frame(ALTSVC, 0, 0, b"\0\x0ahttps://a.bh2=\":1\""), frame(ALTSVC, 0, number, b"\0\0h2=\":1\""),
                  frame(ORIGIN, 0, 0, b"\0\x0bhttps://a.b"))
        self.reply(number)
        self.body(number, b"ok")

    def on_ping(self, number, _):
        self.send(frame(PING, 0, 0, b"upstream"))
        self.until(lambda: b"upstream" in self.pongs)
        self.reply(number)
        self.body(number, b"ok")

    def on_slowpong(self, number, _):  # answers no PING before it is asked for /pong
        self.polite = False
        self.reply(number, end=True)

    def on_pong(self, number, _):
        self.polite = True
        self.send(*(frame(PING, ACK, 0, bytes.fromhex(ping)) for ping in self.pings))
        self.reply(number, end=True)

    def on_big(self, number, path):
        size = int(path.split("/")[2])
        self.reply(number, ("content-length", str(size)))
        self.body(number, pattern(size))

    def on_padded(self, number, path):
        self.reply(number)
        size = int(path.split("/")[2])
        self.send(*(frame(DATA, PADDED, number, bytes((n % 256,)) + pattern(size)[n:n + 1] + bytes(n % 256))
                    for n in range(size)), data(number, b"", True))

    def on_cut(self, number, path):
        why, body = path.split("/")[2:]
        self.reply(number)
        self.body(number, body.encode(), end=False)
        self.send(reset(number, why))

    def on_early(self, number, _):
        self.generous = False
        self.reply(number, status="413")
        self.body(number, b"too large")
        self.send(reset(number, "NO_ERROR"))
        self.generous = True

    def on_only(self, number, _):
        self.send(headers(number, (":status", "400"), ("grpc-status", "3")), reset(number, "NO_ERROR"))

    def on_trailed(self, number, _):
        self.send(headers(number, (":status", "200"), end=False), data(number, b"ok"),
                  headers(number, ("grpc-status", "3")), reset(number, "NO_ERROR"))

    def on_headed(self, number, _):
        self.send(headers(number, (":status", "103"), end=False), headers(number, (":status", "200"), end=False),
                  reset(number, "INTERNAL_ERROR"))

    def on_fields(self, number, path):
        payload = block((":status", "200"), *((f"x-{n}", "v" * 1000) for n in range(int(path.split("/")[2]))))
        self.send(frame(HEADERS, 0, number, payload[:16384]), *(
            frame(CONTINUATION, 0, number, payload[at:at + 16384]) for at in range(16384, len(payload), 16384)),
            frame(CONTINUATION, END_HEADERS, number))
        self.body(number, b"ok")

    def on_status(self, number, path):
        self.reply(number, ("content-length", "5"), status=path.split("/")[2], end=True)

    def on_bare(self, number, path):
        self.reply(number, status=path.split("/")[2], end=True)

    def on_silent(self, number, _):
        pass

    def on_deaf(self, number, _):
        self.generous = False

    def on_seen(self, number, _):
        self.reply(number, ("content-type", "application/json"))
        self.body(number, json.dumps({
            "settings": self.settings, "gone": GONE, "pings": self.pings, "faults": self.faults, "goaway": self.goaway,
            "sent": {n: s.credit for n, s in self.streams.items()}, "waits": sum(len(w) for w, *_ in self.bodies.values()),
            "priorities": [(got.kind, got.payload[:5].hex()) for got in self.frames
                           if got.kind == PRIORITY or got.kind == HEADERS and got.flags & PRIORITISED],
            "streams": {s.field(b":path", 0) or s.field(b":authority", 0): {
                "data": s.data.decode("latin-1")[:100], "len": len(s.data), "reset": s.reset, "ended": s.ended,
                "heads": [[(name.decode(), value.decode()) for name, value in head] for head in s.heads]}
                for s in self.streams.values()}}).encode())

    def on_done(self, _number, _path):
        os._exit(0)


def pattern(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def behave(sock, *ours):
    peer = Server(sock, (MAX_STREAMS, 2000), *ours, server=True)
    while peer.read(120):
        pass
    GONE.update((stream.field(b":path", 0), (stream.ended, len(stream.data))) for stream in peer.streams.values())
    for fault in peer.faults:
        print("at the server:", fault, file=sys.stderr, flush=True)


def say_nothing(sock):
    sock.settimeout(None)
    while sock.recv(65536):
        pass


if __name__ == "__main__":
    certificate = sys.argv[1:]
    print(serve(*listen(*certificate), behave), serve(*listen(), behave),
          serve(*listen(*certificate), lambda sock: behave(sock, (ENABLE_CONNECT, 1))),
          serve(*listen(*certificate), lambda sock: behave(sock, (MAX_STREAMS, 1))),
          serve(*listen(*certificate), say_nothing), flush=True)
    time.sleep(3600)
