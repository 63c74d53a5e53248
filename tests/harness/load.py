#!/usr/bin/env python3
"""load: clients that must not notice anything.

    load.py HOST PORT PATH CA FRESH KEPT SECONDS_A_KEPT_CONNECTION

FRESH threads open a connection for each request; KEPT threads keep one for some seconds with a
request every 20 ms, then open another. Any refused connect, reset, early end, bad certificate, wrong
status or length is a failure. Goes on until stdin ends, then prints one line of JSON.
"""
import json, socket, ssl, sys, threading, time

host, port, path, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
fresh, kept, life = int(sys.argv[5]), int(sys.argv[6]), float(sys.argv[7])
context = ssl.create_default_context(cafile=ca)
over = threading.Event()
lock = threading.Lock()
total = {"requests": 0, "connections": 0, "failed": 0, "slowest_ms": 0.0, "errors": []}


def count(kind, began, error=None):
    with lock:
        total[kind] += 1
        total["slowest_ms"] = max(total["slowest_ms"], round((time.monotonic() - began) * 1000, 1))
        if error is not None:
            total["failed"] += 1
            if len(total["errors"]) < 10:
                total["errors"].append(repr(error))


def connect():
    raw = socket.create_connection((host, port), timeout=30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname=host)


def ask(tls, last):
    how = "close" if last else "keep-alive"
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {how}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = tls.recv(65536)
        if not more:
            raise ConnectionError("ended before its answer")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(head.split(b"\r\n")[0])
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        more = tls.recv(65536)
        if not more:
            raise ConnectionError("ended inside its answer")
        body += more
    if len(body) != length:
        raise ValueError("too many bytes")


def once(lifetime):
    began = time.monotonic()
    try:
        tls = connect()
        count("connections", began)
        end = began + lifetime
        while True:
            began = time.monotonic()
            last = began >= end or over.is_set()
            ask(tls, last)
            count("requests", began)
            if last:
                break
            time.sleep(0.02)
        tls.close()
    except Exception as error:  # whatever it is, the client noticed something
        count("requests", began, error)


def go_on(lifetime):
    while not over.is_set():
        once(lifetime)


threads = [threading.Thread(target=go_on, args=(0,)) for _ in range(fresh)]
threads += [threading.Thread(target=go_on, args=(life,)) for _ in range(kept)]
for thread in threads:
    thread.start()
sys.stdin.read()
over.set()
for thread in threads:
    thread.join()
print(json.dumps(total))
