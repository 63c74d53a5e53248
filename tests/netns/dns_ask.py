#!/usr/bin/env python3
"""Asks name servers over plain sockets and says in a line what came: dns_ask.py SERVER WHAT...

SERVER is an address, or several with commas between: all are asked by one unconnected socket.
WHAT is udp:NAME[:TYPE], connected:NAME[:TYPE], tcp:NAME[:TYPE]; connect:ADDRESS, which opens a
connection to its port 80; many:COUNT, which looks up so many names over one socket; or burst:COUNT,
which asks so many questions without a pause and does not care for the answers.
"""
import os
import socket
import struct
import sys

TYPES = {"A": 1, "TXT": 16, "AAAA": 28, "HTTPS": 65}
PATIENCE = 0.4  # seconds; servers here are as near as the next namespace


def family(server):
    return socket.AF_INET6 if ":" in server else socket.AF_INET


def question(ident, name, kind="A"):
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + wire + struct.pack("!HH", TYPES[kind], 1)


def seen(answer, ident):
    """As a resolver would look at it that trusts lengths no more than it has to."""
    if len(answer) < 12:
        return f"{len(answer)} bytes"
    got, flags, _, count = struct.unpack_from("!HHHH", answer)
    words = [f"rcode={flags & 15}", f"records={count}", f"bytes={len(answer)}"]
    if got != ident:
        words.append("other-id")
    if not flags & 0x8000:
        words.append("no-answer")
    if flags & 0x0200:
        words.append("truncated")
    return " ".join(words)


def over_udp(servers, name, kind, connected):
    with socket.socket(family(servers[0]), socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE)
        for i, server in enumerate(servers):
            if connected:
                s.connect((server, 53))
                s.send(question(0x1234 + i, name, kind))
            else:
                s.sendto(question(0x1234 + i, name, kind), (server, 53))
        out = []
        try:
            while True:  # until nothing more comes: an answer may be given twice
                answer, (who, port, *_) = s.recvfrom(65535)
                ident = 0x1234 + servers.index(who) if who in servers else 0
                out.append(f"{who}#{port} " + seen(answer, ident))
                if len(out) == len(servers):
                    s.settimeout(0.1)
        except TimeoutError:
            out.append("nothing more" if out else "nothing")
        except OSError as e:
            out.append(e.strerror)
        return ", ".join(out)


def over_tcp(servers, name, kind):
    try:
        with socket.create_connection((servers[0], 53), PATIENCE) as s, s.makefile("rb") as stream:
            s.sendall((lambda q: struct.pack("!H", len(q)) + q)(question(0x1234, name, kind)))
            head = stream.read(2)
            if len(head) < 2:
                return "end"
            return seen(stream.read(struct.unpack("!H", head)[0]), 0x1234)
    except OSError as e:
        return e.strerror or "nothing"


def resident():
    """kB of the agent, which is our parent."""
    with open(f"/proc/{os.getppid()}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def many(server, count, at_once=32):
    at = answered = 0
    with socket.socket(family(server), socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.connect((server, 53))
        waiting = set()
        while at < count or waiting:
            while at < count and len(waiting) < at_once:
                s.send(question(at & 0xFFFF, f"n{at}.many.test"))
                waiting.add(at & 0xFFFF)
                at += 1
            waiting.remove(struct.unpack_from("!H", s.recv(65535))[0])
            answered += 1
            if answered == count // 10:  # buffers have their size by now
                before = resident()
    return f"answered={answered} grown={resident() - before}"


def burst(server, count):
    with socket.socket(family(server), socket.SOCK_DGRAM) as s:
        s.connect((server, 53))
        for i in range(count):
            s.send(question(i & 0xFFFF, f"b{i}.burst.test"))
    return f"sent={count}"


def one(servers, what):
    how, _, rest = what.partition(":")
    if how == "burst":
        return burst(servers[0], int(rest))
    if how == "many":
        return many(servers[0], int(rest))
    if how == "connect":
        with socket.create_connection((rest, 80), 5):
            return "connected"
    name, _, kind = rest.partition(":")
    if how == "tcp":
        return over_tcp(servers, name, kind or "A")
    return over_udp(servers, name, kind or "A", how == "connected")


for what in sys.argv[2:]:
    print(what, one(sys.argv[1].split(","), what), flush=True)
