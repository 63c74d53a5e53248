"""policy_bypass_sides: who else takes part where policy_bypass.py tries.

policy_bypass_sides.py origin LOG: in the namespace of the servers. Writes down what comes to the ports that nobody may
reach, and each packet with WORD in it, in the clear.
policy_bypass_sides.py lend PATH NUMBER: makes sockets, and gives one each to who calls at PATH.
"""
import select
import socket
import sys

SITE, OTHER, CLOSED = "203.0.113.10", "203.0.113.54", 9000
WORD = b"secret"


def origin(log):
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    listeners = [socket.create_server((address, port)) for address, port in ((SITE, CLOSED), (OTHER, 53))]
    heard = []
    for address, port in (SITE, 443), (SITE, CLOSED), (OTHER, 53):
        heard.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        heard[-1].bind((address, port))
    with open(log, "a", encoding="ascii") as out:
        print("serves", file=out, flush=True)
        while True:
            for sock in select.select([wire, *listeners, *heard], [], [])[0]:
                if sock is wire:
                    packet = wire.recv(65536)
                    if WORD in packet:
                        print("wire", packet, file=out, flush=True)
                elif sock in heard:
                    print("datagram", sock.getsockname(), sock.recv(65536), file=out, flush=True)
                else:
                    conn, _ = sock.accept()
                    conn.settimeout(20)
                    try:
                        said = conn.recv(65536)
                    except OSError:
                        said = b""
                    if said:
                        print("connection", sock.getsockname(), said, file=out, flush=True)
                    conn.close()


def lend(path, number):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    for _ in range(number):
        conn = server.accept()[0]
        sort = conn.recv(100).decode()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if "datagram" in sort else socket.SOCK_STREAM)
        socket.send_fds(conn, [b"x"], [sock.fileno()])


if sys.argv[1] == "origin":
    origin(sys.argv[2])
else:
    lend(sys.argv[2], int(sys.argv[3]))
