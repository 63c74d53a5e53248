#!/usr/bin/python3
"""control_hostile.py DIR PID [wait]: what root could send to the control socket in DIR by mistake or in malice, while
an honest client goes on asking. PID is the agent's; with "wait" there are
some for whose end it takes time. Fails where the agent does not answer, answers what it
must not, or has more descriptors open afterwards than before."""
import array
import json
import os
import random
import socket
import sys
import threading
import time

DIR, PID, WAIT = sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["wait"]
PATH = DIR + "/control.sock"
CROWD = 100
random.seed(5)


def connect(patience=60):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(patience)
    s.connect(PATH)
    return s


def line_of(s):
    """What is read up to a newline, or up to the end."""
    got = b""
    while not got.endswith(b"\n"):
        try:
            more = s.recv(65536)
        except ConnectionResetError:  # closed with bytes of ours unread, behind what it said
            break
        if not more:
            break
        got += more
    return got


def ask(verb, s=None):
    s = s or connect()
    s.sendall(json.dumps({"verb": verb}).encode() + b"\n")
    return json.loads(line_of(s).partition(b"\n")[0])  # of a list the first line


def honest(what):
    began = time.monotonic()
    for verb in "ping", "status", "sessions":
        answer = ask(verb)
        assert answer.get("ok") is True, (what, verb, answer)
    print(f"ok: {what}: others are answered, in {1000 * (time.monotonic() - began):.0f} ms", flush=True)


def say(data, s=None):
    """What it answers; the rest of data may not be taken."""
    s = s or connect()
    try:
        s.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return line_of(s)


def expect_refused(what, data):
    answer = say(data)
    try:
        assert json.loads(answer)["error"]
    except Exception:
        sys.exit(f"{what}: answered by {answer!r}")


def send_fds(s, data, fds):
    s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


# ---- what is no request ----------------------------------------------------------------------


def garbage():
    for _ in range(200):
        data = random.randbytes(random.randint(1, 3000)).replace(b"\n", b"") + b"\n"
        expect_refused("garbage", data)
    for what, data in {
        "nothing": b"\n",
        "invalid UTF-8": b'{"verb":"ping","a":"\xff\xc0\x80\xed\xa0\x80"}\n',
        "NUL": b'{"verb":"ping"}\0\n',
        "deep arrays": b'{"verb":"ping","a":' + b"[" * 60000 + b"\n",
        "deep objects": b'{"a":' * 10000 + b"1" + b"}" * 10000 + b"\n",
        "a member twice": b'{"verb":"status","verb":"ping"}\n',
        "two requests": b'{"verb":"ping"}\n{"verb":"ping"}\n',
        "an unknown verb": b'{"verb":"format.disk"}\n',
        "a huge number": b'{"verb":"ping","a":' + b"9" * 60000 + b"}\n",
        "many members": b'{"verb":"x",' + b",".join(b'"%d":0' % i for i in range(6000)) + b"}\n",
        "one byte too many": b'{"verb":"ping"' + b" " * (65536 - 15) + b"}\n",
    }.items():
        expect_refused(what, data)
    exact = b'{"verb":"ping"' + b" " * (65536 - 16) + b"}\n"
    assert len(exact) == 65536 and json.loads(say(exact))["ok"] is True


def endless():
    """1 GB at once, from ten."""
    chunk = b"x" * (1 << 20)

    def one():
        s, sent = connect(), 0
        try:
            while sent < 1 << 30:
                sent += s.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        if sent > 8 << 20:
            taken.append(sent)
        assert b"at most 65536 bytes" in line_of(s)

    taken = []
    threads = [threading.Thread(target=one) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not taken, f"{taken} bytes were taken"


def halves():
    """Clients that die in the middle of asking, of listening, and of sending descriptors."""
    whole = b'{"verb":"sessions"}\n'
    for i in range(300):
        s = connect()
        if i % 3 == 0:
            s.send(whole[:i % len(whole)] or b"{")
        elif i % 3 == 1:
            s.send(whole)
        else:
            send_fds(s, b"{", [s.fileno(), 0, 1])
        s.close()


# ---- descriptors -----------------------------------------------------------------------------


def descriptors():
    null, pipe = os.open("/dev/null", os.O_RDWR), os.pipe()
    for i in range(100):  # not asked for
        s = connect()
        send_fds(s, b'{"verb":"ping"}\n', [null] * (1 + i % 8))
        assert json.loads(line_of(s))["ok"] is True
    for count in 9, 100, 253:
        s = connect()
        send_fds(s, b'{"verb":"ping"}\n', [null] * count)
        assert b"at most 8 descriptors" in line_of(s), count
    s = connect()  # a few with each byte
    try:
        for byte in b'{"verb":"ping"}\n':
            send_fds(s, bytes([byte]), [null, *pipe])
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert b"at most 8 descriptors" in line_of(s)
    for _ in range(50):  # sockets that carry themselves
        a, b = socket.socketpair()
        send_fds(a, b"x", [a.fileno(), b.fileno()])
        s = connect()
        send_fds(s, b'{"verb":"ping"', [a.fileno(), b.fileno(), s.fileno()])
        a.close(), b.close(), s.close()
    for fd in null, *pipe:
        os.close(fd)


# ---- those who do not end --------------------------------------------------------------------


def crowd():
    """Nobody of them writes all of a request, or reads its answer."""
    clients = [connect() for _ in range(CROWD)]
    for i, s in enumerate(clients):
        s.sendall((b"", b'{"verb":', b'{"verb":"status"}\n')[i % 3])
    honest(f"{CROWD} that neither write nor read")
    for s in clients:  # the agent drops each
        while True:
            try:
                if not s.recv(1 << 20):
                    break
            except ConnectionResetError:
                break
        s.close()


def multitude():
    """More than there are places."""
    clients = [connect() for _ in range(3 * CROWD)]
    honest(f"{3 * CROWD} at once")
    for s in clients:
        s.close()


def stranger():
    """Root has opened all doors; the agent looks who it is."""
    os.chmod(DIR, 0o755)
    os.chmod(PATH, 0o666)
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            os._exit(say(b'{"verb":"status"}\n') != b'{"error":"only root may ask the agent"}\n')
        except BaseException:
            os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.chmod(DIR, 0o700)
    os.chmod(PATH, 0o600)
    assert status == 0, f"a stranger's status: {status}"


def open_files():
    return len(os.listdir(f"/proc/{PID}/fd"))


honest("nobody else")
before = open_files()
for attack in [garbage, endless, halves, descriptors, stranger, multitude] + [crowd] * WAIT:
    attack()
    honest(attack.__name__)
deadline = time.monotonic() + 30
while open_files() > before and time.monotonic() < deadline:
    time.sleep(0.05)
after = open_files()
assert after <= before, f"{after} descriptors are open, {before} were"
honest("afterwards")
