"""The two sides of a connection as endings.py's scenes have them: plain, inside TLS, on the way there.

A file DIR/NAME.MARK tells the other side how far this one is; so nobody sleeps and hopes."""
import os
import select
import socket
import ssl
import struct
import time

PATIENCE = 8  # seconds, fewer than a peek may take; "silence" is never what is wanted


class End:
    """One side of a connection, plain."""

    def __init__(self, sock, name, directory):
        self.sock, self.name, self.directory = sock, name, directory
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or a reset may drop what still waits

    def open(self, context, server_side):
        pass

    def send(self, data):
        self.sock.sendall(data)

    def some(self):
        return self.sock.recv(65536)

    def take(self, count):
        data = b""
        while len(data) < count and (more := self.some()):
            data += more
        return data

    def end(self):
        """Says that no more will come."""
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self):
        self.sock.shutdown(socket.SHUT_WR)

    def urgent(self):
        self.sock.send(b"!", socket.MSG_OOB)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def to_the_end(self):
        """How many bytes still come, and what comes behind them."""
        count = 0
        try:
            while data := self.some():
                count += len(data)
            return f"{count} bytes, end"
        except ssl.SSLError as error:
            return f"{count} bytes, {'cut' if 'EOF' in str(error) else error.reason}"
        except ConnectionResetError:
            return f"{count} bytes, reset"
        except TimeoutError:
            return f"{count} bytes, silence"

    def stuff(self):
        """Sends until the other side takes no more."""
        self.sock.settimeout(0.5)
        try:
            while True:
                self.sock.send(bytes(65536))
        except TimeoutError:
            self.sock.settimeout(PATIENCE)

    def lost(self):
        """Waits for an error, and reads no earlier."""
        poll = select.poll()
        poll.register(self.sock, 0)
        if not poll.poll(PATIENCE * 1000):
            return "silence"
        return self.to_the_end().split(", ")[1]

    def mark(self, what):
        open(f"{self.directory}/{self.name}.{what}", "w").close()

    def await_mark(self, what):
        for _ in range(PATIENCE * 100):
            if os.path.exists(f"{self.directory}/{self.name}.{what}"):
                return
            time.sleep(0.01)
        raise TimeoutError(what)


class TlsEnd(End):
    """The same inside TLS: the library's sockets cannot close one direction."""

    def open(self, context, server_side):
        self.prepare(context, server_side)
        self.pump(self.tls.do_handshake)

    def prepare(self, context, server_side):
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # or a cut would look like an end
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side,
                                    None if server_side else "localhost")

    def flush(self):
        if data := self.outgoing.read():
            self.sock.sendall(data)

    def pump(self, call, *arguments):
        while True:
            try:
                result = call(*arguments)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                if data := self.sock.recv(65536):
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def send(self, data):
        self.pump(self.tls.write, data)

    def some(self):
        try:
            return self.pump(self.tls.read, 65536)
        except ssl.SSLZeroReturnError:
            return b""

    def end(self):
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:  # the other side's end is yet to come
            pass
        self.flush()
        self.sock.shutdown(socket.SHUT_WR)


class HalfOpen(TlsEnd):
    """Shakes hands only as far as the scene says."""

    def open(self, context, server_side):
        self.prepare(context, server_side)

    def hello(self):
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()

    def handshake(self):
        try:
            self.pump(self.tls.do_handshake)
            return "opened"
        except ssl.SSLError as error:
            return "end" if "EOF" in str(error) else error.reason
        except ConnectionResetError:
            return "reset"

    def some(self):
        return self.sock.recv(65536)

    def what_ends_it(self):
        return self.to_the_end().split(", ")[1]
