"""A program that lets the kernel encrypt and tries to get a request past its rules: taken.py CERT KEY PORT, where at PORT
all requests are allowed. Its server is here, too, and reads when it is told. A line for each way: its name and what came
of it; the last one is what the server has of requests that no rule allows."""
import contextlib, ctypes, errno, mmap, os, re, socket, ssl, struct, sys, tempfile, threading

OP_ENABLE_KTLS = 1 << 3
SOL_TLS, TLS_TX, RECORD_TYPE = 282, 1, 1
TCP_CORK, TCP_ULP = 3, 31
HANDSHAKE, KEY_UPDATE = 22, b"\x18\0\0\1\0"
KEYS = struct.pack("<HH36x", 0x304, 51)  # AES-128-GCM's, which are nobody's
ALLOWED = b"GET /of12 HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = ALLOWED[:-2] + b"X: " + b"A" * 60000
PATIENCE = 120  # the guest is slow
libc = ctypes.CDLL(None)


def context(side):
    made = ssl.SSLContext(side)
    if side == ssl.PROTOCOL_TLS_SERVER:
        made.load_cert_chain(*sys.argv[1:3])
    else:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


# ---- the server ---------------------------------------------------------------------------------------

SERVER = context(ssl.PROTOCOL_TLS_SERVER)
got, reads = [], threading.Event()


def serve(sock):
    data = bytearray()
    got.append(data)
    try:
        if sock.recv(1, socket.MSG_PEEK) == b"\x16":
            sock = SERVER.wrap_socket(sock, server_side=True)
        reads.wait()
        while more := sock.recv(65536):
            data += more
    except OSError:
        pass


def listen(port):
    listener = socket.create_server(("127.0.0.1", port))

    def accepts():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accepts, daemon=True).start()
    return listener.getsockname()[1]


# ---- the ways -----------------------------------------------------------------------------------------


def denied(way):
    return b"GET /denied-" + way.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def dial():
    sock = socket.create_connection(("127.0.0.1", JUDGED))
    sock.settimeout(PATIENCE)
    return sock


def by_itself(sock):
    return context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(sock)


def hello():
    """What a handshake begins with."""
    said = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), said).do_handshake()
    return said.read()


def by_kernel(sock):
    """Its plain text is what is written to it; all the rest the kernel does."""
    client = context(ssl.PROTOCOL_TLS_CLIENT)
    client.options |= OP_ENABLE_KTLS
    return socket.socket(fileno=client.wrap_socket(sock).detach())


def hand_keys(sock):
    sock.setsockopt(SOL_TLS, TLS_TX, KEYS)


def partial():
    """A send is taken in part; what comes then is not its rest."""
    sock = by_kernel(dial())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    taken = sock.send(LONG, socket.MSG_DONTWAIT)
    assert 0 < taken < len(LONG), taken
    reads.set()
    sock.settimeout(PATIENCE)
    sock.sendall(b"\r\n\r\n" + denied("partial"))


def more():
    sock, text = by_kernel(dial()), ALLOWED + denied("more")
    sock.send(text[:len(ALLOWED) + 8], socket.MSG_MORE)
    sock.send(text[len(ALLOWED) + 8:])


def handshake(sock, text):
    sock.sendmsg([text], [(SOL_TLS, RECORD_TYPE, bytes((HANDSHAKE,)))])


def key_update():
    sock = by_kernel(dial())
    handshake(sock, KEY_UPDATE)
    sock.sendall(denied("key_update"))


def finished():
    """What ends a handshake of TLS 1.2, with keys of TLS 1.3."""
    handshake(by_kernel(dial()), b"\x14\0\0\x0cGET /denied-")


def key_update_letter():
    handshake(by_kernel(dial()), KEY_UPDATE[:-1] + b"G")


def head(text, length):
    return text[:-2] + b"X: " + b"a" * (length - len(text) - 5) + b"\r\n\r\n"


def spliced():
    """Pages are changed that the kernel has yet to encrypt."""
    sock, memory = by_kernel(dial()), mmap.mmap(-1, 4096)
    memory[:200] = head(ALLOWED, 200)
    out, into = os.pipe()
    segment = struct.pack("@PN", ctypes.addressof(ctypes.c_char.from_buffer(memory)), 200)
    assert libc.vmsplice(into, segment, ctypes.c_size_t(1), 0) == 200
    try:
        os.splice(out, sock.fileno(), 200, flags=os.SPLICE_F_MORE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        sock.sendall(denied("spliced"))  # before 6.5 a program has to write it
    memory[:200] = head(denied("spliced"), 200)
    sock.sendall(ALLOWED)


def behind_a_file():
    """A body may be a file, but what is behind it is looked at."""
    sock, size = by_kernel(dial()), 200000
    sock.sendall(ALLOWED[:-2] + b"Content-Length: %d\r\n\r\n" % size)
    with tempfile.TemporaryFile() as file:
        file.write(b"A" * size)
        file.seek(0)
        reads.set()
        assert sock.sendfile(file) == size
    sock.sendall(ALLOWED)
    sock.sendall(denied("behind_a_file"))


def wrong_keys():
    sock = dial()
    sock.sendall(hello())
    sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    hand_keys(sock)
    sock.sendall(denied("wrong_keys"))


def refuse_keys(sock):
    try:
        hand_keys(sock)
    except OSError as error:
        assert error.errno == errno.ENOPROTOOPT, error


def until_end(sock):
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass
    return "ended"


def own_records():
    """The kernel did not take the keys, and the program goes on by itself."""
    sealed = by_itself(dial())
    refuse_keys(sealed)
    sealed.sendall(denied("own_records"))
    return until_end(sealed)


def own_record_that_waits():
    """It was sealed and waits while the kernel takes keys, which are not for it."""
    sealed = by_itself(dial())
    refuse_keys(sealed)
    sealed.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 1)
    sealed.sendall(denied("own_record_that_waits"))
    sealed.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    hand_keys(sealed)
    sealed.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 0)
    return until_end(sealed)


def again():
    """A connection to where all is allowed was there before, on the same socket."""
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
    sock.settimeout(PATIENCE)
    sock.sendall(hello())
    refuse_keys(sock)
    libc.connect(sock.fileno(), bytes(16), 16)  # AF_UNSPEC
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    sock.connect(("127.0.0.1", JUDGED))
    sock = by_kernel(sock)
    sock.sendall(denied("again"))


listen(int(sys.argv[3]))
JUDGED = listen(0)
for way in (partial, more, key_update, key_update_letter, finished, spliced, behind_a_file, wrong_keys, own_records,
            own_record_that_waits, again):
    try:
        went = way() or "sent"
    except ssl.SSLEOFError:
        went = "ended"  # what becomes of EACCES and the like
    except OSError as error:
        went = errno.errorcode.get(error.errno) or str(error)
    print(way.__name__, went, flush=True)
print("arrived", *sorted({found.decode() for data in got for found in re.findall(rb"/denied-\w+", data)}))
