"""kernel_taken_origin: whom kernel_taken.py talks to. It writes down each byte, reads when it is told, and says what it has.

kernel_taken_origin.py SOCKET DIRECTORY: in the namespace of the servers. Each connection's bytes are a file of DIRECTORY.
Who asks by SOCKET says "read PORT" or "got PORT COUNT" of the connection from that source port, and gets what came of it,
when that is COUNT bytes or the connection has ended. NAMED are the servers' port where rules look at names and headers.
"""
import contextlib
import itertools
import os
import socket
import struct
import sys
import threading

SITE, SITE6, WRAPPED, CALLER = "203.0.113.10", "2001:db8:2::10", "2001:db8:5::66", "203.0.113.99"
ANSWERS, WAITS, UPGRADES, NAMED = 80, 81, 82, 83
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
SYN, ACK, OUTGOING = 2, 16, 4

connections, numbers, changed = {}, itertools.count(), threading.Condition()


class Connection:
    def __init__(self, reads):
        self.reads, self.data, self.ended = reads, bytearray(), False
        self.file = open(os.path.join(sys.argv[2], "%05d" % next(numbers)), "wb", buffering=0)

    def add(self, data):
        with changed:
            self.file.write(data)
            self.data += data
            changed.notify_all()

    def end(self):
        with changed:
            self.ended = True
            self.file.close()
            changed.notify_all()


def meet(source, reads):
    with changed:
        connections[source] = Connection(reads)
        changed.notify_all()
        return connections[source]


def serve(sock, source, kind):
    connection = meet(source, kind != WAITS)
    with changed:
        changed.wait_for(lambda: connection.reads)
    with contextlib.suppress(OSError):
        answered = False
        while data := sock.recv(1 << 18):
            connection.add(data)
            if not answered and kind != WAITS:
                sock.sendall(UPGRADED if kind == UPGRADES else OK)
                answered = True
    connection.end()
    sock.close()


def listen(address, kind):
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 100)
    if kind == WAITS:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    listener.bind((address, kind))
    listener.listen(100)

    def accepts():
        while True:
            sock, peer = listener.accept()
            threading.Thread(target=serve, args=(sock, peer[1], kind), daemon=True).start()

    threading.Thread(target=accepts, daemon=True).start()


# ---- one who calls back while he is called ------------------------------------------------------------


def checksum(data):
    total = sum(struct.unpack(">%dH" % ((len(data) + 1) // 2), data + bytes(len(data) % 2)))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def packet(eth, ip, source, to, seq, ack, flags):
    ends = ip[16:20] + ip[12:16]
    tcp = struct.pack(">HHIIBBHHH", source, to, seq, ack, 0x50, flags, 65000, 0, 0)
    tcp = tcp[:16] + struct.pack(">H", checksum(ends + struct.pack(">BBH", 0, 6, len(tcp)) + tcp)) + tcp[18:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0) + ends
    return eth[6:12] + eth[:6] + b"\x08\0" + head[:10] + struct.pack(">H", checksum(head)) + head[12:] + tcp


def call_back():
    """A SYN to CALLER gets a SYN, and nothing else."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
    wire.bind(("eth0", 0x800))
    while True:
        data, where = wire.recvfrom(70000)
        eth, ip = data[:14], data[14:]
        if where[2] == OUTGOING or ip[16:20] != socket.inet_aton(CALLER) or ip[9] != socket.IPPROTO_TCP:
            continue
        tcp = ip[(ip[0] & 15) * 4:struct.unpack(">H", ip[2:4])[0]]
        source, to, seq, _, offset, flags = struct.unpack(">HHIIBB", tcp[:14])
        said = tcp[(offset >> 4) * 4:]
        if flags & (SYN | ACK) == SYN:
            meet(source, True)
            wire.send(packet(eth, ip, to, source, 1000, 0, SYN))
        elif flags & SYN:
            wire.send(packet(eth, ip, to, source, 1001, seq + 1, ACK))
        elif said and source in connections:
            connections[source].add(said)
            wire.send(packet(eth, ip, to, source, 1001, seq + len(said) & 0xFFFFFFFF, ACK))


# ---- who asks -----------------------------------------------------------------------------------------


def answer(asker):
    with asker:
        verb, source, *count = asker.makefile().readline().split()
        source = int(source)
        with changed:
            if verb == "got" and count == ["0"] and source not in connections:
                return
            changed.wait_for(lambda: source in connections)
            connection = connections[source]
            if verb == "read":
                connection.reads = True
                changed.notify_all()
            else:
                changed.wait_for(lambda: connection.ended or len(connection.data) >= int(count[0]), 20)
                asker.sendall(bytes(connection.data))


for port in ANSWERS, WAITS, UPGRADES, NAMED:
    for site in SITE, SITE6, WRAPPED:
        listen(site, port)
threading.Thread(target=call_back, daemon=True).start()
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
