"""h2frames: HTTP/2 frames written and read by hand, for both sides of a connection.

What is sent is made of bytes by frame() and those below it, so it can be as wrong as it likes. What comes is read
by a Peer, which notes it by stream, and each breach of RFC 9113 in it as a fault: who sits between two of them has
to be correct towards both."""
import collections
import functools
import json
import os
import select
import socket
import ssl
import struct
import threading
import time

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC, ORIGIN = 10, 12
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, WINDOW, MAX_FRAME, MAX_HEADERS = range(1, 7)
ENABLE_CONNECT = 8
CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MOST = (1 << 31) - 1
SO_COOKIE = 57
PATIENCE = 20 * int(os.environ.get("SALLYPORT_SLOW", "1"))
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}

Frame = collections.namedtuple("Frame", "kind flags stream payload")


# ---- writing --------------------------------------------------------------------------------

def u32(number):
    return struct.pack(">I", number)


def code(name):
    return u32(CODES.index(name) if name in CODES else int(name))


def named(payload):
    number = struct.unpack(">I", payload)[0]
    return CODES[number] if number < len(CODES) else str(number)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">IBI", size << 8 | kind, flags, stream) + payload


def integer(value, bits, first=0):
    """An integer of RFC 7541 5.1, behind what its first byte says above it."""
    top = (1 << bits) - 1
    if value < top:
        return bytes((first | value,))
    out, value = bytearray((first | top,)), value - top
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes((value,))


def text(value):
    value = value if isinstance(value, bytes) else value.encode("latin-1")
    return integer(len(value), 7) + value


def block(*fields):
    """Literals that no table keeps: what they decode to depends on nothing."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def headers(stream, *fields, end=True, done=True, raw=b""):
    return frame(HEADERS, (END_STREAM if end else 0) | (END_HEADERS if done else 0), stream, raw + block(*fields))


def data(stream, payload=b"", end=False):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window(stream, more):
    return frame(WINDOW_UPDATE, 0, stream, u32(more))


def reset(stream, why="CANCEL"):
    return frame(RST_STREAM, 0, stream, code(why))


def goaway(last, why="NO_ERROR", words=b""):
    return frame(GOAWAY, 0, 0, u32(last) + code(why) + words)


def head(path, *more, method="GET", scheme="https", authority="localhost"):
    return ((":method", method), (":scheme", scheme), (":authority", authority), (":path", path)) + more


# ---- reading --------------------------------------------------------------------------------

class Stream:
    def __init__(self, credit):
        self.heads, self.data, self.ended, self.reset, self.credit = [], bytearray(), False, None, credit

    @property
    def over(self):
        return self.ended or self.reset is not None

    def field(self, name, which=-1):
        return dict(self.heads[which]).get(name, b"").decode("latin-1") if self.heads else ""

    @property
    def status(self):
        return next((dict(head)[b":status"].decode() for head in self.heads
                     if not dict(head).get(b":status", b"1").startswith(b"1")), "")


class Peer:
    """One side of a connection: says what it is told to, and notes what comes."""

    def __init__(self, sock, *ours, server=False, generous=True, polite=True, greet=True):
        self.sock, self.server, self.generous, self.polite = sock, server, generous, polite
        self.came, self.decoder = bytearray(), hpack.Decoder(max_header_list_size=1 << 24)
        self.streams, self.faults, self.frames = {}, [], []
        self.settings, self.pongs, self.goaway, self.closed, self.acked = {}, [], None, None, 0
        self.window_back, self.last = 0, None
        self.window = dict(ours).get(WINDOW, 65535)
        self.credit = 65535
        self.header = None  # of the HEADERS that CONTINUATIONs go on with
        self.may, self.may_each, self.bodies = {0: 65535}, 65535, {}  # what the other side's windows allow
        self.greeted = not server
        if greet:
            self.send(settings(*ours) if server else PREFACE + settings((ENABLE_PUSH, 0), *ours))

    def send(self, *pieces):
        """Whether they could be sent: who has been told to go reads on for the reason."""
        try:
            self.sock.sendall(b"".join(pieces))
        except OSError:
            return False
        return True

    def stream(self, number):
        return self.streams.setdefault(number, Stream(self.window))

    def give(self, number, more):
        if number:
            self.stream(number).credit += more
        else:
            self.credit += more
        self.send(window(number, more))

    def body(self, number, payload, *trailers, end=True):
        """DATA as far as the windows allow, the rest when they do; with end, the stream's end behind it."""
        waits, _, _ = self.bodies.get(number, (b"", None, None))
        self.bodies[number] = (waits + payload, end, trailers)
        self.pump(number)

    def pump(self, number):
        waits, end, trailers = self.bodies.pop(number)
        at, out = 0, []
        while at < len(waits):
            size = min(16384, len(waits) - at, self.may[0], self.may.setdefault(number, self.may_each))
            if size <= 0:
                break
            self.may[0] -= size
            self.may[number] -= size
            out.append(data(number, waits[at:at + size], end and not trailers and at + size == len(waits)))
            at += size
        if at < len(waits):
            self.bodies[number] = (waits[at:], end, trailers)
        elif end and trailers:
            out.append(headers(number, *trailers))
        elif end and not waits:
            out.append(data(number, b"", True))
        self.send(*out)

    def pump_all(self):
        for number in list(self.bodies):
            if self.stream(number).reset:
                del self.bodies[number]
            else:
                self.pump(number)

    def take(self, size):
        while len(self.came) < size:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError("closed")
            self.came += more
        taken = bytes(self.came[:size])
        del self.came[:size]
        return taken

    def read(self, patience=PATIENCE):
        """The next frame, noted and answered; None at the connection's end, and `closed` says which."""
        self.sock.settimeout(patience)
        try:
            if not self.greeted:
                if self.take(len(PREFACE)) != PREFACE:
                    raise EOFError("no preface")
                self.greeted = True
            size, flags, number = struct.unpack(">IBI", self.take(9))
            size, kind = size >> 8, size & 255
            if size > 16384:
                self.faults.append(f"a frame of {size} bytes")
            got = Frame(kind, flags, number & MOST, self.take(size))
        except TimeoutError:
            raise
        except (OSError, EOFError) as end:
            self.closed = self.closed or str(end) or "closed"
            return None
        if len(self.frames) < 100000:
            self.frames.append(got)
        self.note(got)
        return got

    def until(self, condition, patience=PATIENCE):
        """Reads until it holds. False: the connection ended, or patience did, and it does not."""
        deadline = time.monotonic() + patience
        while not condition():
            left = deadline - time.monotonic()
            try:
                if left <= 0 or not self.read(left):
                    return condition()
            except TimeoutError:
                return condition()
        return True

    def drain(self):
        """Reads what is there."""
        while not self.closed and (len(self.came) >= 9 or getattr(self.sock, "pending", int)()
                                   or self.sock.fileno() < 0 or select.select([self.sock], [], [], 0)[0]):
            self.read()

    def ask(self, number, *fields, patience=PATIENCE):
        """A whole request, and its stream when it is over."""
        self.send(headers(number, *fields))
        self.until(lambda: self.stream(number).over, patience)
        return self.stream(number)

    def note(self, got):
        if self.header and got.kind != CONTINUATION:
            self.faults.append("a header block was interrupted")
        if got.kind == DATA:
            self.note_data(got)
        elif got.kind in (HEADERS, CONTINUATION):
            self.note_headers(got)
        elif got.kind == RST_STREAM:
            stream = self.stream(got.stream)
            stream.reset = named(got.payload)
        elif got.kind == SETTINGS and got.flags & ACK:
            self.acked += 1
        elif got.kind == SETTINGS:
            pairs = dict(struct.iter_unpack(">HI", got.payload))
            self.settings.update(pairs)
            more = self.settings.get(WINDOW, 65535) - self.may_each
            self.may = {number: now + more if number else now for number, now in self.may.items()}
            self.may_each += more
            if self.polite:
                self.send(frame(SETTINGS, ACK))
            self.pump_all()
        elif got.kind == WINDOW_UPDATE:
            more = struct.unpack(">I", got.payload)[0]
            self.may[got.stream] = self.may.get(got.stream, self.may_each) + more
            self.window_back += 0 if got.stream else more
            self.pump_all()
        elif got.kind == PING:
            if got.flags & ACK:
                self.pongs.append(got.payload)
            elif self.polite:
                self.send(frame(PING, ACK, 0, got.payload))
        elif got.kind == GOAWAY:
            self.last, self.goaway = struct.unpack(">I", got.payload[:4])[0], named(got.payload[4:8])

    def note_data(self, got):
        stream, payload = self.stream(got.stream), got.payload
        stream.credit -= len(payload)
        self.credit -= len(payload)
        if stream.credit < 0 or self.credit < 0:
            self.faults.append(f"more DATA on stream {got.stream} than its window allows")
        if not stream.heads or stream.over and stream.reset is None:
            self.faults.append(f"DATA on stream {got.stream}, which is idle or has ended")
        if self.generous and payload:
            self.give(0, len(payload))
            self.give(got.stream, len(payload))
        if got.flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        stream.data += payload
        stream.ended |= bool(got.flags & END_STREAM)

    def note_headers(self, got):
        payload = got.payload
        if got.kind == HEADERS:
            if got.flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            if got.flags & PRIORITISED:
                payload = payload[5:]
            self.header = [got.stream, got.flags & END_STREAM, payload]
        elif not self.header or self.header[0] != got.stream:
            return self.faults.append("a CONTINUATION of nothing")
        else:
            self.header[2] += payload
        if not got.flags & END_HEADERS:
            return None
        number, end, payload = self.header
        self.header = None
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(payload, raw=True)]
        except hpack.HPACKError as fault:
            return self.faults.append(f"a header block that does not decode: {fault}")
        stream = self.stream(number)
        if stream.ended:
            self.faults.append(f"HEADERS on stream {number}, which has ended")
        self.faults += (f"stream {number}: {fault}" for fault in misfields(fields, self.server, stream.heads, end))
        stream.heads.append(fields)
        stream.ended |= bool(end)


def misfields(fields, request, before, end):
    """What is wrong with a header block (RFC 9113 8.2, 8.3)."""
    names = [name for name, _ in fields]
    pseudo = [name for name in names if name.startswith(b":")]
    interim = not request and before and dict(before[-1]).get(b":status", b"").startswith(b"1")
    if before and not interim:
        if pseudo or not end:
            yield "pseudo-header fields in a trailer, or one that ends nothing"
    elif not request and pseudo != [b":status"] or len(set(pseudo)) != len(pseudo):
        yield f"pseudo-header fields {pseudo}"
    elif request and (b":method", b"CONNECT") not in fields and not {b":method", b":scheme", b":path"} <= set(pseudo):
        yield f"pseudo-header fields {pseudo}"
    if names[:len(pseudo)] != pseudo:
        yield "a pseudo-header field behind another field"
    for name, value in fields:
        if not name or name != name.lower() or HOP_BY_HOP & {name} or any(c < 33 or c > 126 for c in name) \
                or b":" in name[1:] or any(c in value for c in b"\r\n\0") or value.strip(b" \t") != value \
                or name == b"te" and value != b"trailers":
            yield f"a field {name!r}: {value[:50]!r}"


# ---- connections ----------------------------------------------------------------------------

@functools.cache  # it takes longer to read all roots than to shake hands
def trusting():
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    return context


def connect(port, tls):
    """To the origin."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = trusting().wrap_socket(sock, server_hostname="localhost")
        if sock.selected_alpn_protocol() != "h2":
            raise OSError(f"ALPN chose {sock.selected_alpn_protocol()}")
    return sock


def listen(cert=None, key=None):
    """A listener, and what makes a connection of what it accepts: by TLS if there is a certificate."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    if not cert:
        return listener, lambda sock: sock
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    return listener, lambda sock: context.wrap_socket(sock, server_side=True)


def serve(listener, wrap, behave):
    """Each connection in a thread of its own, for ever."""
    def one(sock):
        try:
            sock.settimeout(PATIENCE)
            with wrap(sock) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                behave(connection)
        except OSError:
            pass

    def all_of_them():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=all_of_them, daemon=True).start()
    return listener.getsockname()[1]


# ---- events -----------------------------------------------------------------------------------

def told_of(path, kind):
    """The events of a kind, by cookie() and the stream."""
    with open(path, encoding="utf-8") as file:
        events = [json.loads(line)[kind] for line in file if f'{{"{kind}":' in line]
    return {(told["socket"]["cookie"], told.get("stream")): told for told in events}


def cookie(sock):
    """Its name in events. Its ports may be another one's as soon as it is closed."""
    return str(struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0])
