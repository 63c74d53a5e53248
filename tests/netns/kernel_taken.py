"""kernel_taken: a program that tries, in turn, to get a request past the rules of its pod on the kernel route.

kernel_taken.py ORIGIN EVENTS WAYS...: a line for each way: its name, what came of it, whether what was allowed before it
came whole ("whole"; what is more of it is shown) to the origin (kernel_taken_origin.py, by its socket ORIGIN), and whether
the denial was told in the file EVENTS.
"""
import errno
import re
import socket
import struct
import sys
import threading

import kernel_taken_pod as pod
import kernel_taken_sends
import kernel_taken_sockets
import kernel_taken_uring
import kernel_taken_words
from kernel_taken_pod import Way

MODULES = kernel_taken_words, kernel_taken_sends, kernel_taken_sockets, kernel_taken_uring


def find(name):
    for module in MODULES:
        if name in getattr(module, "WORDS", {}):
            return lambda: module.say(module.WORDS[name])
        if hasattr(module, name):
            return getattr(module, name)
    raise SystemExit("no way is called " + name)


def arrived(sock):
    got = sock.arrives()
    if re.search(rb"/denied-\w+[^\w]", got):
        return "DENIED"
    if sock.allowed is None or got == sock.allowed:
        return "whole"
    if got.startswith(sock.allowed):
        return "whole+%s" % repr(got[len(sock.allowed):][-40:]).replace(" ", "_")
    return "%d_of_%d" % (len(got), len(sock.allowed))


def stories(sock):
    """How its connections are to be told, of one that had several."""
    requests = ["/ok"] * sock.allowed.count(b" /ok ") + [pod.path().decode()] * (not sock.fine)
    last = {sock.getsockname()[1]: pod.whole_story(pod.ANSWERS, *requests)}
    return sock.past | last


def try_out(name):
    Way.name, Way.sockets = name, []
    try:
        went = find(name)() or "sent"
    except OSError as error:
        went = errno.errorcode.get(error.errno) or str(error)
    awaited = [] if went.startswith("no_") else Way.sockets
    told = {pod.is_told(sock) for sock in awaited if not sock.fine}
    came = {arrived(sock) for sock in Way.sockets}
    several = [(sock.cookie(), stories(sock)) for sock in awaited if sock.past]
    for sock in Way.sockets:  # nothing is tried again of what was refused
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()
    told |= {pod.is_told_apart(*story) for story in several}
    print(name, went, *sorted(came), *sorted("told" if so else "untold" for so in told), flush=True)
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(pod.PATIENCE)
            if thread.is_alive():
                print(name, "hangs", flush=True)


Way.origin = sys.argv[1]
Way.events = open(sys.argv[2], encoding="utf-8")
for way in sys.argv[3:]:
    try_out(way)
