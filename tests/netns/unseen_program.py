"""unseen_program: tries, in turn, to get a word past who reads along. A line for each attempt: its name, and what
came of it: "through" when the server has answered the word.

unseen_program.py CERT KEY PORT GREETS DEMANDS: a client's certificate; the ports of unseen_origin.py.
"""
import socket
import ssl
import struct
import sys

CERT, KEY = sys.argv[1:3]
PORT, GREETS, DEMANDS = map(int, sys.argv[3:6])
WORD = b"the secret word\n"


def connect(port=PORT):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(30)
    return sock


def tls(context=None, alpn=None, port=PORT):
    context = context or ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    return context.wrap_socket(connect(port), server_hostname="localhost")


def say(sock, word=WORD):
    sock.sendall(word)
    return b"got it" in sock.recv(4096)


def hello(extension=b"", legacy=0x0303):
    """A ClientHello by hand, with one more extension."""
    name = b"localhost"
    sni = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    groups = bytes.fromhex("000a000400020017") + bytes.fromhex("000d0004000204 03".replace(" ", ""))
    extensions = sni + groups + extension
    body = struct.pack(">H", legacy) + bytes(32) + b"\0" + bytes.fromhex("0002c02b0100")
    body += struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def refuses_our_leaf():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # knows no root
    return say(tls(context))


def plain_bytes():
    return say(connect())


def ech():
    sock = connect()
    sock.sendall(hello(struct.pack(">HH", 0xFE0D, 40) + bytes(40)))
    sock.recv(4096)
    return say(sock)


def odd_bytes():
    return say(connect(), b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + WORD)


def old_tls():
    return say(connect(), hello(legacy=0x0301) + WORD)


def server_first():
    sock = connect(GREETS)
    sock.recv(100)
    return say(sock)


def inseparable_alpn():
    return say(tls(alpn=["postgresql"]))


def other_alpn():
    return say(tls(alpn=["x-foo"]))


def no_http_inside():
    return say(tls())


def client_certificate():
    context = ssl.create_default_context()
    context.load_cert_chain(CERT, KEY)
    return say(tls(context, port=DEMANDS))


def upgrade():
    sock = tls()
    sock.sendall(b"GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n")
    if not sock.recv(4096).startswith(b"HTTP/1.1 101"):
        return False
    return say(sock)


def connect_method():
    sock = connect()
    sock.sendall(b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n")
    return say(sock)


for attempt in (refuses_our_leaf, plain_bytes, ech, odd_bytes, old_tls, server_first, inseparable_alpn, other_alpn,
                no_http_inside, client_certificate, upgrade, connect_method):
    try:
        went = "through" if attempt() else "ended"
    except OSError as error:  # ssl.SSLError, too
        went = getattr(error, "reason", None) or type(error).__name__
    print(attempt.__name__, went, flush=True)
