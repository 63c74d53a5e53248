"""Streams that one side resets while what the other says in them is on its way: http2_resets.py serve ADDRESS PORT |
ask ADDRESS PORT. The client ends with an error unless the requests around them are answered."""
import sys

sys.dont_write_bytecode = True
from h2frames import *

ROUNDS = 20


class Server(Peer):
    late = ()  # answers that wait until their streams have been reset

    def note(self, got):
        super().note(got)
        if got.kind != HEADERS or len(self.stream(got.stream).heads) != 1:
            return
        path = self.stream(got.stream).field(b":path")
        if path == "/given-up":
            self.late += (got.stream,)
        elif path == "/not-taken":
            self.send(reset(got.stream, "REFUSED_STREAM"))
        else:
            for number in self.late + (got.stream,):
                self.send(headers(number, (":status", "200"), end=False), data(number, b"ok", True))
            self.late = ()


def behave(sock):
    server = Server(sock, server=True)
    server.until(lambda: server.closed)


def answered(client, number):
    if client.ask(number, *head("/answered", scheme="http")).status != "200":
        sys.exit(f"stream {number}: {client.stream(number).reset} {client.goaway} {client.closed} {client.faults}")


def ask(address):
    with socket.create_connection(address, PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Peer(sock)
        for first in range(1, 6 * ROUNDS, 6):
            client.send(headers(first, *head("/given-up", method="POST", scheme="http"), end=False))
            client.send(reset(first))
            answered(client, first + 2)
            client.send(headers(first + 4, *head("/not-taken", method="POST", scheme="http"), end=False))
            client.until(lambda: client.stream(first + 4).over)
            client.send(data(first + 4, b"late"), headers(first + 4, ("x-late", "1")))
        answered(client, first + 6)


what, where = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
if what == "ask":
    ask(where)
else:
    serve(socket.create_server(where, backlog=512), lambda sock: sock, behave)
    threading.Event().wait()
