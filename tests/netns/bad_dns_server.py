#!/usr/bin/env python3
"""A name server whose manners depend on the name asked for: bad_dns_server.py ADDRESS

What stands before the name's first dot says how it answers, over UDP and TCP at ADDRESS port 53.
Honest answers name 203.0.113.10; those that nobody may believe name 203.0.113.66.
"""
import contextlib
import random
import socket
import struct
import sys
import threading

A, CNAME, TXT, AAAA, HTTPS = 1, 5, 16, 28, 65
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
ASKED = b"\xc0\x0c"  # a pointer to the name in the question
GOOD, BAD = socket.inet_aton("203.0.113.10"), socket.inet_aton("203.0.113.66")


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def record(data, kind=A, owner=ASKED, length=None):
    length = len(data) if length is None else length
    return owner + struct.pack("!HHIH", kind, 1, 60, length) + data


def message(query, *records, rcode=NOERROR, flags=0x8180, count=None, ident=None, question=None):
    """An answer to the query; what is not given is as it should be."""
    count = len(records) if count is None else count
    head = struct.pack("!HHHHHH", query.ident if ident is None else ident, flags | rcode, 1, count, 0, 0)
    return head + (question or query.question) + b"".join(records)


class Query:
    def __init__(self, data, tcp):
        self.tcp = tcp
        self.ident = struct.unpack_from("!H", data)[0]
        end, labels = 12, []
        while data[end]:
            labels.append(data[end + 1 : end + 1 + data[end]].decode().lower())
            end += 1 + data[end]
        self.kind = struct.unpack_from("!H", data, end + 1)[0]
        self.question = data[12 : end + 5]
        self.manner = labels[0]

    def a(self, *addresses):
        return message(self, *(record(address) for address in addresses)) if self.kind == A else message(self)


def service(parameters):
    """A HTTPS record (RFC 9460) with the parameters."""
    wire = b"".join(struct.pack("!HH", key, len(value)) + value for key, value in parameters)
    return record(struct.pack("!H", 1) + b"\0" + wire, HTTPS)


def https(query):
    return message(query, service([
        (1, b"\x02h3\x02h2"),
        (4, GOOD),
        (5, b"\x00\x10" + bytes(16)),
    ])) if query.kind == HTTPS else query.a(GOOD)


def text(size):
    """TXT records that make this many bytes."""
    out = []
    while size > 0:
        data = min(size - 12, 60000)
        left, strings = data, b""
        while left > 0:
            part = min(left - 1, 255)
            strings += bytes([part]) + b"x" * part
            left -= 1 + part
        out.append(record(strings, TXT))
        size -= 12 + len(strings)
    return out


def large(query):
    """As long as a message over TCP can be."""
    return message(query, *text(65535 - 12 - len(query.question))) if query.tcp else truncated(query)


def truncated(query):
    return message(query, flags=0x8380)


MANNERS = {
    # as it should be
    "good": lambda q: q.a(GOOD),
    "empty": message,
    "nxdomain": lambda q: message(q, rcode=NXDOMAIN),
    "refused": lambda q: message(q, rcode=REFUSED),
    "servfail": lambda q: message(q, rcode=SERVFAIL),
    "alias": lambda q: message(q, record(name("end.alias.test"), CNAME), record(GOOD, owner=name("end.alias.test"))),
    "https": https,
    "tc": lambda q: q.a(GOOD) if q.tcp else truncated(q),
    "large": large,
    "thousand": lambda q: q.a(*(socket.inet_aton(f"198.51.{100 + i // 250}.{i % 250}") for i in range(1000))),
    # lies about lengths
    "rdlength": lambda q: message(q, record(BAD, length=400)),
    "rdshort": lambda q: message(q, record(BAD, length=3)),
    "counts": lambda q: message(q, record(BAD), count=500),
    "trailing": lambda q: message(q, record(BAD)) + b"and more",
    "label": lambda q: message(q, record(BAD, owner=b"\x3fx")),
    "cut": lambda q: message(q, record(BAD))[:-2],
    # pointers
    "self": lambda q: message(q, record(BAD, owner=struct.pack("!H", 0xC000 | (12 + len(q.question))))),
    "forward": lambda q: message(q, record(BAD, owner=struct.pack("!H", 0xC000 | (12 + len(q.question) + 16)))),
    "pingpong": lambda q: message(q, record(BAD, owner=b"\x01a" + struct.pack("!H", 0xC000 | (12 + len(q.question))))),
    "nowhere": lambda q: message(q, record(BAD, owner=b"\xff\xff")),
    # something else than was asked for
    "otherid": lambda q: message(q, record(BAD), ident=q.ident ^ 1),
    "othername": lambda q: message(q, record(BAD), question=name("www.other.test") + struct.pack("!HH", q.kind, 1)),
    "othertype": lambda q: message(q, record(BAD), question=q.question[:-4] + struct.pack("!HH", TXT, 1)),
    "otherowner": lambda q: message(q, record(BAD, owner=name("www.other.test"))),
    "question": lambda q: message(q, record(BAD), flags=0x0100),
    "noise": lambda q: struct.pack("!H", q.ident) + random.Random(7).randbytes(400),
    "stump": lambda q: struct.pack("!H", q.ident)[:1],
    "nothing": lambda q: b"",
}


def answers(query):
    """What is sent, one message after another."""
    if query.manner == "silent":
        return []
    if query.manner == "twice":
        return [query.a(GOOD), query.a(BAD)]
    if query.manner == "late":  # a wrong one before the right one
        return [message(query, record(BAD), ident=query.ident ^ 1), query.a(GOOD)]
    return [MANNERS.get(query.manner, MANNERS["good"])(query)]


def serve_udp(server, elsewhere):
    while True:
        data, client = server.recvfrom(65535)
        query = Query(data, tcp=False)
        if query.manner == "otherport":
            elsewhere.sendto(message(query, record(BAD)), client)
            continue
        for answer in answers(query):
            server.sendto(answer, client)


def serve_connection(connection):
    with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as stream:
        while len(head := stream.read(2)) == 2:
            query = Query(stream.read(struct.unpack("!H", head)[0]), tcp=True)
            for answer in answers(query):
                connection.sendall(struct.pack("!H", len(answer)) + answer)
            if query.manner == "framing":  # a length that is never made good
                connection.sendall(b"\xff\xff\0\0")
                return


def main():
    address = sys.argv[1]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp, elsewhere = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    udp.bind((address, 53))
    elsewhere.bind((address, 5353))
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    threading.Thread(target=serve_udp, args=(udp, elsewhere), daemon=True).start()
    with socket.create_server((address, 53), family=family) as tcp:
        while True:
            threading.Thread(target=serve_connection, args=tcp.accept()[:1], daemon=True).start()


main()
