"""A program of a pod, told line by line what to do; it answers each by one line.

    ready                    "ready"
    get URL                  over a connection of its own: "200 LOCAL-ADDRESS", or the error's name
    open NAME URL            the same, and keeps the connection
    connect NAME URL         keeps a connection, over which nothing was asked yet: "connected"
    again NAME               the same request over that
    unshare                  into a network namespace of its own, without exec
    crowd N URL              the same N times: how many there are of the answers
    close NAME               closes that
    drop                     closes all that is kept
    shut NAME                ends the sending side of it
"""
import collections
import ctypes
import errno
import http.client
import os
import socket
import ssl
import sys
import urllib.parse

PATIENCE = 20 * int(os.environ.get("SALLYPORT_SLOW", "1"))
trusted = ssl.create_default_context(cafile=sys.argv[1])
kept = {}


def connect(url):
    url = urllib.parse.urlsplit(url)
    if url.scheme == "https":
        return http.client.HTTPSConnection(url.hostname, url.port or 443, timeout=PATIENCE, context=trusted), url.path
    return http.client.HTTPConnection(url.hostname, url.port or 80, timeout=PATIENCE), url.path


def fetch(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return f"{answer.status} {connection.sock.getsockname()[0]}"


def get(url):
    connection, path = connect(url)
    answer = fetch(connection, path)
    connection.close()
    return answer


def open_(name, url):
    kept[name] = connect(url)
    return fetch(*kept[name])


def connect_(name, url):
    kept[name] = connect(url)
    kept[name][0].connect()
    return "connected"


def crowd(number, url):
    answers = collections.Counter(open_(f"{url} {i}", url) for i in range(int(number)))
    return " ".join(f"{count} x {answer}" for answer, count in answers.items())


def close(name):
    kept.pop(name)[0].close()
    return "closed"


def drop():
    for connection, _ in kept.values():
        connection.close()
    kept.clear()
    return "dropped"


def unshare():
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return "unshared"


def shut(name):
    kept[name][0].sock.shutdown(socket.SHUT_WR)
    return "shut"


actions = {
    "ready": lambda: "ready",
    "get": get,
    "open": open_,
    "connect": connect_,
    "crowd": crowd,
    "close": close,
    "drop": drop,
    "again": lambda name: fetch(*kept[name]),
    "unshare": unshare,
    "shut": shut,
}
for line in iter(sys.stdin.readline, ""):
    words = line.split()
    try:
        print(actions[words[0]](*words[1:]), flush=True)
    except OSError as error:
        print(errno.errorcode.get(error.errno, repr(error)), flush=True)
    except http.client.HTTPException as error:
        print(repr(error), flush=True)
