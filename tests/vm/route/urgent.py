"""A client that encrypts by itself, TLS 1.3, and hides that: of the record that comes first after its hello, a change of
cipher, it sends another length, with an urgent byte, which servers take out.

urgent.py PORT: a line for what came of it as it is, and one with the urgent byte: the answer's status, or "no answer"."""
import socket
import ssl
import sys

CHANGE = b"\x14\x03\x03"


def handshake(sock):
    """-> TLS, to be fed with what is received, and what it would send last."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent)
    while True:
        try:
            tls.do_handshake()
            return tls, received, sent
        except ssl.SSLWantReadError:
            sock.sendall(sent.read())
            received.write(sock.recv(65536))


def ask(urgent):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls, received, sent = handshake(sock)
        tls.write(b"GET /admin HTTP/1.0\r\nX-Long: no handshake ends with so long a record\r\n\r\n")
        last = sent.read()
        assert last.startswith(CHANGE)
        sock.sendall(last[:3])
        if urgent:
            sock.send(b"\x10", socket.MSG_OOB)
        sock.sendall(last[3:])
        while True:
            try:
                return tls.read(1000).split(b" ")[1].decode()
            except ssl.SSLWantReadError:
                received.write(sock.recv(65536) or sys.exit("the server closed it"))


for how in False, True:
    try:
        print("urgent" if how else "plain", ask(how), flush=True)
    except OSError:
        print("urgent" if how else "plain", "no answer", flush=True)
