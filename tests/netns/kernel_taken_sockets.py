"""kernel_taken_sockets: by which sockets a program may send: such as connect again, send with their SYN or before they are
connected, are of another kind, handed on, or under rules that change."""
import errno
import os
import socket
import sys

from kernel_taken_pod import (ALLOWED, ANSWERS, CALLER, LONG, PATIENCE, SITE, SITE6, WAITS, WRAPPED, Conn, Way, denied, dial,
                              is_told, libc, path, whole_story)
from kernel_taken_sends import SNDBUF_SMALL, narrow, then_other

FASTOPEN, NO_COOKIE, FASTOPEN_CONNECT, SYN_DATA, MPTCP = 0x20000000, 34, 30, 32, 262
TCP_REPAIR, TCP_REPAIR_QUEUE, SEND_QUEUE, TCP_ULP = 19, 20, 2, 31
BODY_WITHOUT_END = b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"


# ---- again --------------------------------------------------------------------------------------------


def disconnect(sock, port, *requests):
    """It had a connection to the port."""
    sock.arrives()
    sock.past[sock.getsockname()[1]] = whole_story(port, *requests)
    libc.connect(sock.fileno(), bytes(16), 16)  # AF_UNSPEC
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    sock.allowed = b""


def in_a_body():
    """Disconnected amid what is allowed, elsewhere."""
    sock = dial(WAITS)
    sock.say(BODY_WITHOUT_END)
    sock.origin_reads()
    disconnect(sock, WAITS, "/ok")
    return sock


def again():
    sock = dial()
    statuses = [sock.ask()]
    disconnect(sock, ANSWERS, "/ok")
    sock.connect((SITE, ANSWERS))
    sock.fine = True
    statuses.append(sock.ask())
    return "_".join(statuses)


def again_denied():
    sock = in_a_body()
    sock.connect((SITE, ANSWERS))
    sock.ask()
    sock.sendall(denied())


def again_after_denied():
    sock = dial()
    try:
        sock.sendall(denied())
    except PermissionError:
        pass
    disconnect(sock, ANSWERS, path().decode())
    sock.connect((SITE, ANSWERS))
    sock.ask()
    sock.sendall(denied())


def again_waiting():
    """What is sent before it is connected waits."""
    sock = in_a_body()
    sock.setblocking(False)
    sock.connect_ex((SITE, ANSWERS))
    sock.settimeout(PATIENCE)
    sock.sendall(denied())


def waiting():
    sock = Conn()
    sock.setblocking(False)
    sock.connect_ex((SITE, ANSWERS))
    sock.settimeout(PATIENCE)
    sock.sendall(denied())


# ---- with the SYN -------------------------------------------------------------------------------------


def at_once(sock, text=None):
    sock.setsockopt(socket.IPPROTO_TCP, NO_COOKIE, 1)
    sock.setblocking(False)
    try:
        sock.sendto(text or denied(), FASTOPEN, (SITE, ANSWERS))
    except BlockingIOError:
        pass


def fast_open():
    at_once(Conn())


def fast_open_allowed():
    sock = Conn()
    at_once(sock, ALLOWED)
    sock.allowed = ALLOWED
    sock.settimeout(PATIENCE)
    status = sock.recv(1000).split(b" ")[1].decode()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & SYN_DATA, "it did not go with the SYN"
    try:
        sock.sendall(denied())
    except PermissionError:
        status += "_EACCES"
    return status


def fast_open_again():
    sock = in_a_body()
    at_once(sock)


def later_open(sock):
    sock.setsockopt(socket.IPPROTO_TCP, NO_COOKIE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, FASTOPEN_CONNECT, 1)
    sock.connect((SITE, ANSWERS))
    sock.sendall(denied())


def fast_open_connect():
    later_open(Conn())


def fast_open_connect_again():
    sock = in_a_body()
    later_open(sock)


def simultaneous():
    """Its peer calls back while it is called."""
    dial(ANSWERS, CALLER).sendall(denied())


# ---- of other kinds -----------------------------------------------------------------------------------


def ipv6():
    sock = dial(ANSWERS, SITE6, socket.AF_INET6)
    sock.ask()
    sock.sendall(denied())


def mapped():
    sock = dial(ANSWERS, "::ffff:" + SITE, socket.AF_INET6)
    sock.ask()
    sock.sendall(denied())


def wrapped():
    """In packets of another protocol, in which nobody looks for a request: one that no send is refused for."""
    try:
        sock = dial(WAITS, WRAPPED, socket.AF_INET6)
    except OSError as error:
        return "no_route" if error.errno == errno.EHOSTUNREACH else errno.errorcode[error.errno]
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SNDBUF_SMALL)
    then_other(sock, sock.send(LONG, socket.MSG_DONTWAIT), LONG, b"\r\n\r\n")


def mptcp():
    dial(protocol=MPTCP).sendall(denied())


def repair():
    sock = dial()
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    try:
        sock.sendall(denied())
    finally:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)


def upper_layer():
    sock = dial()
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    except OSError:
        pass  # there is none here
    sock.sendall(denied())


def half_closed():
    sock = dial()
    sock.ask()
    sock.shutdown(socket.SHUT_RD)
    sock.sendall(denied())


def handed_on():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    sock = dial()
    sock.ask()
    socket.send_fds(ours, [b"x"], [sock.fileno()])
    _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
    os.write(fds[0], denied())


# ---- while the rules change ---------------------------------------------------------------------------


def swapped():
    """A line of stdin says that other rules hold: /ok is denied, /other is not."""
    before, after = dial(), dial()
    status = before.ask()
    print("open", flush=True)
    sys.stdin.readline()
    after.fine = True
    after.ask(ALLOWED.replace(b"/ok", b"/other"))
    try:
        before.sendall(ALLOWED)
    except PermissionError:
        status += "_EACCES"
    return status


def ruled():
    """A line of stdin says that there are rules: /ok is allowed. One of two said something before of which a part was taken,
    and then something else."""
    before, odd = dial(), narrow()
    status = before.ask()
    taken = odd.send(LONG, socket.MSG_DONTWAIT)
    odd.origin_reads()
    odd.allowed = LONG[:taken]
    odd.arrives()
    for text in b"\r\n\r\n", ALLOWED, ALLOWED:
        odd.say(text)
    print("open", flush=True)
    sys.stdin.readline()
    for _ in range(2):
        before.say(ALLOWED)
        before.arrives()
    for sock in before, odd:
        try:
            sock.sendall(denied())
        except PermissionError:
            status += "_EACCES"
    return status


# ---- and are gone -------------------------------------------------------------------------------------


def leave_behind(*sockets):
    """When it was told that they were held back. What is in them the kernel would send in the program's place."""
    told = all(is_told(sock) for sock in sockets)
    for sock in sockets:
        Way.sockets.remove(sock)
        sock.close()
    return "told" if told else "untold"


def leaves_behind():
    """One that waits with its SYN, and one whose denied request waits behind what was allowed."""
    syn, behind = Conn(), narrow()
    at_once(syn)
    taken = behind.send(LONG, socket.MSG_DONTWAIT)
    then_other(behind, taken, LONG, b"\r\n\r\n")
    return leave_behind(syn, behind)
