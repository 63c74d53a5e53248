"""What a program gets that tries to reach out: one line for each word on the command line.

tcp:ADDRESS:PORT, udp:ADDRESS:PORT (connected), send:ADDRESS:PORT (named in the datagram): "ok", or the
errno's name. A datagram is "ok" when its echo came. raw, packets, ping, mptcp, sctp, udplite: whether there is
such a socket. sleep: waits for a line on stdin before it goes on."""
import errno
import socket
import sys


def reach(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        if kind != "send":
            s.connect((address, port))
        if kind == "udp":
            s.send(b"hello")
        if kind == "send":
            s.sendto(b"hello", (address, port))
        if kind != "tcp":
            s.recv(100)


KINDS = {
    "raw": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP),
    "packets": (socket.AF_INET, socket.SOCK_RAW, 255),
    "ping": (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "mptcp": (socket.AF_INET, socket.SOCK_STREAM, 262),
    "sctp": (socket.AF_INET, socket.SOCK_SEQPACKET, 132),
    "udplite": (socket.AF_INET, socket.SOCK_DGRAM, 136),
}


def attempt(word):
    if word == "sleep":
        sys.stdin.readline()
    elif word in KINDS:
        socket.socket(*KINDS[word]).close()
    else:
        kind, rest = word.split(":", 1)
        address, port = rest.rsplit(":", 1)
        reach(kind, address, int(port))


for word in sys.argv[1:]:
    try:
        attempt(word)
        print(word, "ok", flush=True)
    except OSError as error:
        print(word, errno.errorcode.get(error.errno, str(error)), flush=True)
