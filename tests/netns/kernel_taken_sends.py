"""kernel_taken_sends: how a program may send so that what leaves is not what was heard: taken in part, by several at a
time, urgent, in small pieces, or from memory that is changed afterwards."""
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
import tempfile
import threading

from kernel_taken_pod import ALLOWED, LONG, PATIENCE, UPGRADES, WAITS, denied, dial, in_child, libc

SNDTIMEO, SNDBUF_SMALL, MSG_ZEROCOPY, SO_ZEROCOPY, PIPE_SIZE = 21, 4608, 0x4000000, 60, 1 << 20
CHANGED_AT = 30000  # in what waits to leave
TCP_CORK = 3


def allowed():
    sock = dial()
    sock.fine = True
    return sock.ask()


def behind_allowed():
    sock = dial()
    sock.ask()
    sock.sendall(denied())


def behind_megabyte():
    sock = dial()
    sock.say(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"A" * 1000000)
    sock.sendall(denied())


# ---- taken in part ------------------------------------------------------------------------------------


def narrow():
    """A socket that takes little, to where nobody reads."""
    sock = dial(WAITS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SNDBUF_SMALL)
    return sock


def then_other(sock, taken, text, rest):
    """The origin has what was taken of the text; the rest is another one."""
    assert 0 < taken < len(text), taken
    sock.allowed = text[:taken]
    sock.origin_reads()
    sock.arrives()
    sock.settimeout(PATIENCE)
    sock.sendall(rest + denied())


def partial_nowait():
    sock, text = narrow(), ALLOWED * 3000
    taken = sock.send(text, socket.MSG_DONTWAIT)
    then_other(sock, taken, text, text[taken:][:len(ALLOWED) - taken % len(ALLOWED)])


def partial_head():
    sock = narrow()
    then_other(sock, sock.send(LONG, socket.MSG_DONTWAIT), LONG, b"\r\n\r\n")


def partial_timeout():
    sock = narrow()
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, SNDTIMEO, struct.pack("ll", 0, 50000))
    then_other(sock, sock.send(LONG), LONG, b"\r\n\r\n")


def partial_signal():
    sock = narrow()
    sock.settimeout(None)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    taken = sock.send(LONG)
    signal.setitimer(signal.ITIMER_REAL, 0)
    then_other(sock, taken, LONG, b"\r\n\r\n")


def filled_pipe(data):
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    os.write(writes, data)
    return reads, writes


def partial_splice():
    sock = narrow()
    reads, _ = filled_pipe(LONG)
    sock.setblocking(False)
    then_other(sock, os.splice(reads, sock.fileno(), len(LONG), flags=os.SPLICE_F_NONBLOCK), LONG, b"\r\n\r\n")


def partial_body():
    """Of a body other bytes may come, but no more than it has left."""
    sock, text = narrow(), b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b"A" * 60000
    taken = sock.send(text, socket.MSG_DONTWAIT)
    sock.allowed = text[:taken]
    sock.origin_reads()
    sock.say(b"B" * (len(text) - taken))
    sock.sendall(denied())


# ---- several at a time --------------------------------------------------------------------------------


def beside_a_head():
    """One waits in the midst of a send while another one says something else."""
    sock = narrow()
    sock.settimeout(None)
    sock.allowed = None

    def sends():
        with contextlib.suppress(OSError):
            sock.sendall(LONG * 8)

    threading.Thread(target=sends, daemon=True).start()
    reads = False
    with contextlib.suppress(PermissionError, BrokenPipeError):
        while True:
            try:
                sock.send(b"\r\n\r\n" + denied(), socket.MSG_DONTWAIT)
                break
            except BlockingIOError:
                if not reads:
                    sock.origin_reads()
                reads = True
    sock.origin_reads()


def one_buffer():
    """It is written to while it is sent."""
    bad = denied()[:-2] + b"X: aaaaaaaaaaaa\r\n\r\n"
    good = b"GET /ok?" + b"a" * (len(bad) - 8 - len(ALLOWED) + 7) + ALLOWED[7:]
    buffer, over = bytearray(good), threading.Event()

    def flips():
        while not over.is_set():
            buffer[:] = bad
            buffer[:] = good

    thread = threading.Thread(target=flips, daemon=True)
    thread.start()
    for _ in range(20):
        sock = dial()
        sock.fine, sock.allowed = True, None
        try:
            for _ in range(20):
                sock.send(buffer)
        except PermissionError:
            pass
    over.set()
    thread.join()


def by_fork_and_dup():
    sock = dial()
    sock.say(ALLOWED[:-2])
    child = in_child(lambda: os.write(sock.fileno(), b"\r\n" + denied()))
    try:
        os.write(os.dup(sock.fileno()), denied())
    except OSError as error:
        return errno.errorcode[child] + "_" + errno.errorcode[error.errno]


# ---- urgent, and in pieces ----------------------------------------------------------------------------


def urgent():
    dial().send(denied(), socket.MSG_OOB)


def urgent_bytewise():
    sock = dial()
    for byte in denied():
        sock.send(bytes((byte,)), socket.MSG_OOB)


def urgent_taken_out():
    """Of "/Xdenied" servers read "/denied": X is urgent. Rules allow the former."""
    sock = dial()
    sock.say(b"GET /")
    sock.arrives()
    sock.send(b"X", socket.MSG_OOB)
    sock.sendall(denied()[5:])


def one_by_one(sock, send):
    """Byte by byte, until that fails: what went may, for it is not even all of the target and a blank."""
    for at, byte in enumerate(denied()):
        send(bytes((byte,)), at)
        sock.allowed += bytes((byte,))


def bytewise():
    sock = dial()
    one_by_one(sock, lambda byte, _: sock.send(byte))


def more_then_shut():
    sock = dial()
    one_by_one(sock, lambda byte, _: sock.send(byte, socket.MSG_MORE))


def corked():
    sock = dial()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_CORK, 1)
    one_by_one(sock, lambda byte, _: sock.send(byte))


def more():
    sock, text = dial(), ALLOWED + denied()
    sock.allowed = None
    sock.send(text[:40], socket.MSG_MORE)
    sock.send(text[40:])


def every_cut():
    text, refused = ALLOWED + denied(), 0
    for cut in range(1, len(text)):
        sock = dial()
        sock.allowed = None
        try:
            sock.sendall(text[:cut])
            sock.sendall(text[cut:])
        except PermissionError:
            refused += 1
    return "all_refused" if refused == len(text) - 1 else "%d_refused" % refused


def in_1000_segments():
    text = ALLOWED * 30 + denied()
    dial().sendmsg([bytes((byte,)) for byte in text][:1024])


# ---- from pages ---------------------------------------------------------------------------------------


def a_file(data):
    file = tempfile.TemporaryFile()
    file.write(data)
    file.flush()
    return file


def sendfile():
    sock, file = dial(), a_file(ALLOWED + denied())
    os.sendfile(sock.fileno(), file.fileno(), 0, 1000)


def splice():
    os.splice(filled_pipe(ALLOWED + denied())[0], dial().fileno(), 1000)


def sendfile_bytewise():
    sock, file = dial(), a_file(denied())
    one_by_one(sock, lambda _, at: os.sendfile(sock.fileno(), file.fileno(), at, 1))


class Segment(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def change(sock, taken, write):
    """What was taken and waits is another text now."""
    assert taken > CHANGED_AT + 1000, taken
    write(b"\r\n\r\n" + denied())
    sock.fine, sock.allowed = True, LONG[:taken]
    sock.origin_reads()


def vmsplice():
    sock, buffer = dial(WAITS), ctypes.create_string_buffer(LONG, len(LONG))
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    segment = Segment(ctypes.addressof(buffer), len(LONG))
    libc.vmsplice(writes, ctypes.byref(segment), 1, 0)
    taken = os.splice(reads, sock.fileno(), len(LONG), flags=os.SPLICE_F_MORE)
    change(sock, taken, lambda data: ctypes.memmove(ctypes.addressof(buffer) + CHANGED_AT, data, len(data)))


def zero_copy():
    sock, buffer = dial(WAITS), bytearray(LONG)
    sock.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    taken = sock.send(buffer, MSG_ZEROCOPY)

    def write(data):
        buffer[CHANGED_AT:CHANGED_AT + len(data)] = data

    change(sock, taken, write)


def mapped_file():
    sock, file = dial(WAITS), a_file(LONG)
    pages = mmap.mmap(file.fileno(), 0)
    taken = os.sendfile(sock.fileno(), file.fileno(), 0, len(LONG))

    def write(data):
        pages[CHANGED_AT:CHANGED_AT + len(data)] = data

    change(sock, taken, write)


# ---- what becomes another protocol --------------------------------------------------------------------


def upgrade(port, to, then, between=b""):
    sock = dial(port)
    status = sock.ask(ALLOWED[:-2] + b"Connection: upgrade\r\nUpgrade: " + to + b"\r\n\r\n")
    try:
        if between:
            sock.say(between)
            sock.arrives()
        sock.sendall(then)
    except OSError as error:
        return status + "_" + errno.errorcode[error.errno]
    return status


def upgrade_h2c():
    return upgrade(UPGRADES, b"h2c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + denied())


def upgrade_h2c_text():
    return upgrade(UPGRADES, b"h2c", denied())


def upgrade_websocket():
    return upgrade(UPGRADES, b"websocket", b"\x81" + bytes((len(denied()),)) + denied())


def upgrade_not_granted():
    return upgrade(80, b"h2c", denied(), ALLOWED * 2)
