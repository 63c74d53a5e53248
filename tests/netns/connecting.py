"""Clients of a pod that connect, ask, and connect again, until they are told to end by SIGTERM.

connecting.py CLIENTS ADDRESS PORT: a line for each connection, with times of the monotonic clock:
    BEGUN CONNECTED ENDED OUTCOME      "ok", "connect ERROR", "answer ERROR"
"""
import errno
import signal
import socket
import sys
import threading
import time

going = True


def ask_once(to):
    connected = 0
    try:
        with socket.create_connection(to, 20) as connection:
            connected = time.monotonic()
            connection.sendall(b"GET /small HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
            answer = b""
            while some := connection.recv(65536):
                answer += some
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"small\n"):
            return connected, f"answer {answer[:40]!r}"
        return connected, "ok"
    except OSError as e:
        name = errno.errorcode.get(e.errno, type(e).__name__)
        return connected, f"{'answer' if connected else 'connect'} {name}"


def client(to):
    while going:
        begun = time.monotonic()
        connected, outcome = ask_once(to)
        print(f"{begun:.6f} {connected:.6f} {time.monotonic():.6f} {outcome}", flush=True)


def stop(*_):
    global going
    going = False


signal.signal(signal.SIGTERM, stop)
clients = [threading.Thread(target=client, args=((sys.argv[2], int(sys.argv[3])),))
           for _ in range(int(sys.argv[1]))]
for one in clients:
    one.start()
for one in clients:
    one.join()
