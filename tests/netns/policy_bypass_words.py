"""policy_bypass_words: what policy_bypass.py says, and what it says it with.

Its first argument is the file of the authorities that it trusts.
"""
import socket
import ssl
import struct
import sys

SITE = "203.0.113.10"
WORD = b"secret"
DENIED = b"GET /secret HTTP/1.1\r\nHost: good.example\r\n\r\n"
ALLOWED = b"GET /ok HTTP/1.1\r\nHost: good.example\r\n\r\n"
CAFILE = sys.argv[1]


def tcp(address=SITE, port=443, family=socket.AF_INET):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(30)
    sock.connect((address, port))
    return sock


def tls(sock=None, name="good.example", context=None, alpn=("http/1.1",)):
    context = context or ssl.create_default_context(cafile=CAFILE)
    context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(sock or tcp(), server_hostname=name)


def answers(sock, wanted=1):
    """The status of each answer, until there are so many or the connection ends; "nothing" when it does without one."""
    got = b""
    try:
        while got.count(b"HTTP/1.") < wanted and (more := sock.recv(65536)):
            got += more
    except OSError:
        pass
    return " ".join(line.split(b" ")[1].decode() for line in got.split(b"\n") if line.startswith(b"HTTP/1.")) or "nothing"


def say(sock, data=DENIED, wanted=1):
    sock.sendall(data)
    return answers(sock, wanted)


def hello(*extensions, legacy=0x0303):
    """A ClientHello by hand."""
    name = b"good.example"
    sni = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    all_of = sni + bytes.fromhex("000a000400020017" "000d00040002" "0403") + b"".join(extensions)
    body = struct.pack(">H", legacy) + bytes(32) + b"\0" + bytes.fromhex("0002c02b0100")
    body += struct.pack(">H", len(all_of)) + all_of
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def record(kind, data):
    return bytes((kind, 3, 3)) + struct.pack(">H", len(data)) + data
