"""client_hello: ClientHellos of every kind to localhost, and how each was answered, one line each.

client_hello.py PORT CUTS: a real ClientHello (of OpenSSL's) is cut into records and segments at will
and its handshake finished; or it is changed, and then the first answer tells. Which server it is, and
whether somebody stands between, must make no difference. CUTS: cut it in two at every CUTS-th byte.
"""
import socket
import ssl
import struct
import sys
import time

PORT, CUTS = int(sys.argv[1]), int(sys.argv[2])
GET = b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Client:
    """A client whose bytes we carry."""

    def __init__(self, host="localhost", alpn=None, version=None):
        context = ssl.create_default_context()
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.records = self.outgoing.read()

    def message(self):
        """The handshake message, out of its records."""
        whole, rest = b"", self.records
        while rest:
            size = struct.unpack(">H", rest[3:5])[0]
            whole, rest = whole + rest[5:5 + size], rest[5 + size:]
        return whole

    def step(self, sock, what):
        """what() until it needs no more of the peer's bytes."""
        while True:
            try:
                done = what()
                sock.sendall(self.outgoing.read())
                return done
            except ssl.SSLWantReadError:
                sock.sendall(self.outgoing.read())
                data = sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def finish(self, sock):
        """The rest of the handshake, a request, its answer."""
        self.step(sock, self.tls.do_handshake)
        self.step(sock, lambda: self.tls.write(GET))
        answer = b""
        while b"\r\n\r\nsmall" not in answer:
            data = self.step(sock, lambda: self.tls.read(65536))
            if not data:
                break
            answer += data
        return f"{self.tls.version()} {answer.split()[1].decode()}"


def records(message, size, version=b"\x03\x01"):
    return b"".join(b"\x16" + version + struct.pack(">H", len(message[at:at + size])) + message[at:at + size]
                    for at in range(0, len(message), size))


class Hello:
    """A ClientHello in its parts."""

    def __init__(self, message):
        self.version, self.random = message[4:6], message[6:38]
        at = 39 + message[38]
        self.session = message[39:at]
        size = struct.unpack(">H", message[at:at + 2])[0]
        self.ciphers = message[at + 2:at + 2 + size]
        at += 2 + size
        at += 1 + message[at]  # compression: none
        self.extensions, at = [], at + 2
        while at < len(message):
            kind, size = struct.unpack(">HH", message[at:at + 4])
            self.extensions.append((kind, message[at + 4:at + 4 + size]))
            at += 4 + size

    def with_extension(self, kind, data):
        """In the place of its namesake, or in front of all."""
        kinds = [k for k, _ in self.extensions]
        if kind in kinds:
            self.extensions[kinds.index(kind)] = (kind, data)
        else:
            self.extensions.insert(0, (kind, data))
        return self

    def without(self, *kinds):
        self.extensions = [(k, d) for k, d in self.extensions if k not in kinds]
        return self

    def named(self, *entries):
        """With these names, each as (type, bytes)."""
        names = b"".join(bytes([kind]) + vector(name) for kind, name in entries)
        return self.with_extension(0, vector(names))

    def message(self):
        extensions = b"".join(struct.pack(">H", k) + vector(d) for k, d in self.extensions)
        body = (self.version + self.random + bytes([len(self.session)]) + self.session + vector(self.ciphers)
                + b"\x01\0" + (vector(extensions) if self.extensions else b""))
        return b"\x01" + struct.pack(">I", len(body))[1:] + body


def vector(data):
    return struct.pack(">H", len(data)) + data


def connect():
    sock = socket.create_connection(("127.0.0.1", PORT), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def told(name, result):
    print(f"{name}: {result}", flush=True)


def failure(error):
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate refused"
    if isinstance(error, ssl.SSLError):
        return (error.reason or type(error).__name__).lower()
    return type(error).__name__


def whole(name, cut=lambda hello: [hello], pause=0, records_of=None, **options):
    """A handshake to its end, its ClientHello in these segments."""
    client = Client(**options)
    hello = records_of(client) if records_of else client.records
    try:
        with connect() as sock:
            for segment in cut(hello):
                sock.sendall(segment)
                if pause:
                    time.sleep(pause)
            return told(name, client.finish(sock))
    except OSError as error:
        return told(name, failure(error))


def answer_to(data):
    """The first thing the server says to these bytes."""
    with connect() as sock:
        sock.sendall(data)
        got = b""
        while len(got) < 5 or len(got) < 5 + struct.unpack(">H", got[3:5])[0]:
            more = sock.recv(65536)
            if not more:
                break
            got += more
    if got[:1] == b"\x15" and len(got) > 6:
        return f"alert {got[6]}"
    if got[:1] == b"\x16" and got[5:6] == b"\x02":
        retry = got[11:43] == bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
        return "HelloRetryRequest" if retry else "ServerHello"
    return f"{got[:9]!r}" if got else "closed"


def first(name, data):
    try:
        told(name, answer_to(data))
    except OSError as error:
        told(name, type(error).__name__)


def changed(name, change, size=16384, **options):
    hello = Hello(Client(**options).message())
    first(name, records((change(hello) or hello).message(), size))


def pieces(size):
    return lambda hello: [hello[at:at + size] for at in range(0, len(hello), size)]


# ---- cut: the handshake must end well ------------------------------------------------------------
size = len(Client().records)
for at in range(1, size, CUTS):
    whole(f"cut at byte {at}", lambda hello: [hello[:at], hello[at:]], pause=0.002)
whole("a byte in each segment", pieces(1))
for most in 1, 5, 37, 200:
    whole(f"records of {most}", records_of=lambda client: records(client.message(), most))
whole("a byte in each record, records cut anywhere", pieces(7), records_of=lambda client: records(client.message(), 1))
for version in b"\x03\0", b"\x03\x03", b"\x03\xff":
    whole(f"record version {version.hex()}", records_of=lambda client: records(client.message(), 16384, version))
whole("a change of cipher right behind it", records_of=lambda client: client.records + b"\x14\x03\x03\0\x01\x01")

many = [b"protocol %05d" % n for n in range(1000)]
for count in 60, 300, 850, 1000:
    protocols = [p.decode() for p in many[:count]] + ["http/1.1"]
    whole(f"{count} protocols, in segments of 1400", pieces(1400), alpn=protocols)
    whole(f"{count} protocols, in records of 1000", pieces(1400), alpn=protocols,
          records_of=lambda client: records(client.message(), 1000))
whole("300 protocols, a few bytes in each segment", pieces(3), alpn=[p.decode() for p in many[:300]] + ["http/1.1"])

# ---- names of a real client -----------------------------------------------------------------------
for name in "localhost", "LocalHost", "UPPER.names.test", "under_score.names.test", "127.0.0.1", "a." * 100 + "names.test":
    whole(f"the name {name[:30]}", host=name)
whole("TLS 1.2", version=ssl.TLSVersion.TLSv1_2)
whole("TLS 1.3", version=ssl.TLSVersion.TLSv1_3)

# ---- changed: the first answer tells ---------------------------------------------------------------
changed("unchanged", lambda hello: None)
changed("no name", lambda hello: hello.without(0))
for name, entries in {
        "a closing dot": [(0, b"localhost.")],
        "UTF-8": [(0, "bücher.test".encode())],
        "a blank": [(0, b"local host")],
        "a wildcard": [(0, b"*.names.test")],
        "an empty name": [(0, b"")],
        "no name in the list": [],
        "255 bytes": [(0, b"n" * 255)],
        "253 bytes in labels": [(0, b".".join([b"n" * 60] * 4) + b".names.test")],
        "256 bytes": [(0, b"n" * 256)],
        "a label of 64": [(0, b"n" * 64 + b".names.test")],
        "a NUL": [(0, b"localhost\0.names.test")],
        "two names": [(0, b"localhost"), (0, b"www.names.test")],
        "another type": [(7, b"localhost")],
        "another type before it": [(7, b"x"), (0, b"localhost")],
}.items():
    changed(f"SNI: {name}", lambda hello: hello.named(*entries))

share = vector(b"\x11\xec" + vector(b"k" * 1216) + b"\0\x1d" + vector(bytes(range(1, 33))))
for size in 16384, 300:
    changed(f"a post-quantum share, in records of {size}", size=size,
            change=lambda hello: hello.with_extension(10, vector(b"\x11\xec\0\x1d\0\x17"))
            .with_extension(51, share))
changed("nothing but a share nobody knows", lambda hello: hello.with_extension(10, vector(b"\x63\x99\0\x1d"))
        .with_extension(51, vector(b"\x63\x99" + vector(b"k" * 1216))))
changed("padded to 16 kB", lambda hello: hello.with_extension(21, bytes(15500)))
changed("padded to 40 kB", lambda hello: hello.with_extension(21, bytes(40000)))


def grease(hello):
    hello.ciphers = b"\x1a\x1a" + hello.ciphers
    hello.with_extension(43, b"\x06\x2a\x2a\x03\x04\x03\x03")
    hello.with_extension(10, vector(b"\x3a\x3a\0\x1d\0\x17"))
    hello.with_extension(51, vector(b"\x3a\x3a\0\x01\0\0\x1d" + vector(bytes(range(1, 33)))))
    return hello.with_extension(0x4a4a, b"").with_extension(0xeaea, b"\0")


changed("GREASE", grease)
changed("compressed certificates", lambda hello: hello.with_extension(27, b"\x08\0\x01\0\x02\0\x03\x1a\x1a"))
changed("an unknown extension", lambda hello: hello.with_extension(0x7777, b"anything"))
changed("an unknown extension twice", lambda hello: hello.extensions.extend([(0x7777, b""), (0x7777, b"")]))
changed("groups twice", lambda hello: hello.extensions.insert(0, (10, vector(b"\0\x1d"))))
changed("a name twice", lambda hello: hello.extensions.insert(0, (0, vector(b"\0" + vector(b"localhost")))))
changed("no session id, as without middleboxes", lambda hello: setattr(hello, "session", b""))
for version in "0300", "0301", "0302":
    changed(f"nothing above {version}", lambda hello: setattr(hello.without(43), "version", bytes.fromhex(version)))
changed("versions nobody knows", lambda hello: hello.with_extension(43, b"\x04\x7f\x1c\x05\x01"))
changed("a cipher nobody knows", lambda hello: setattr(hello, "ciphers", b"\xfe\xfe"))
changed("no extension at all", lambda hello: setattr(hello, "extensions", []))

message = Client().message()
first("an empty record in front", b"\x16\x03\x01\0\0" + records(message, 16384))
first("an empty record in the middle", records(message[:50], 50) + b"\x16\x03\x01\0\0" + records(message[50:], 16384))
first("a record too long", b"\x16\x03\x01\x48\x01" + message)
first("an alert in the middle", records(message[:50], 50) + b"\x15\x03\x01\0\x02\x01\0" + records(message[50:], 16384))
first("another message", records(b"\x02" + message[1:], 16384))
first("a length that is none", records(b"\x01\xff\xff\xff" + message[4:], 16384))
first("the hello of SSL 2", b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + b"\0\0\x2f\0\0\x35\0\0\x05\0\0\x04\0\0\x0a\0\0\x09\0\0\x03" + b"c" * 16)
