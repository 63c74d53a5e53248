"""kernel_taken_uring: sends that the kernel does for a program later: io_uring, by its system calls."""
import ctypes
import errno
import mmap
import struct

from kernel_taken_pod import ALLOWED, LONG, WAITS, denied, dial, libc
from kernel_taken_sends import CHANGED_AT, change, filled_pipe

SETUP, ENTER, GETEVENTS = 425, 426, 1
SQ_RING, CQ_RING, SQES = 0, 0x8000000, 0x10000000
WRITE, SEND, SPLICE, SEND_ZC = 23, 26, 30, 47
LINKED, BY_A_THREAD = 1 << 2, 1 << 4
ENTRIES, PAGE = 4, 4096


class NoRing(OSError):
    """Its text is what came of it."""


class Ring:
    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = libc.syscall(SETUP, ENTRIES, params)
        if self.fd < 0:
            raise NoRing("no_uring:_" + errno.errorcode[ctypes.get_errno()])
        self.sq, self.cq = struct.unpack("10I", params[40:80]), struct.unpack("10I", params[80:120])
        self.submit, self.complete, self.entries = (mmap.mmap(self.fd, PAGE, offset=at) for at in (SQ_RING, CQ_RING, SQES))

    def run(self, *entries):
        """The results of operations that were made by operation()."""
        tail = struct.unpack_from("I", self.submit, self.sq[1])[0]
        for i, entry in enumerate(entries):
            slot = (tail + i) % ENTRIES
            self.entries[slot * 64:slot * 64 + 64] = entry
            struct.pack_into("I", self.submit, self.sq[6] + slot * 4, slot)
        struct.pack_into("I", self.submit, self.sq[1], tail + len(entries))
        if libc.syscall(ENTER, self.fd, len(entries), len(entries), GETEVENTS, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        head, end = (struct.unpack_from("I", self.complete, at)[0] for at in self.cq[:2])
        mask = struct.unpack_from("I", self.complete, self.cq[2])[0]
        results = [struct.unpack_from("i", self.complete, self.cq[5] + (at & mask) * 16 + 8)[0] for at in range(head, end)]
        struct.pack_into("I", self.complete, self.cq[0], end)
        return results


def operation(code, sock, data=None, size=0, flags=0, from_fd=0):
    at = ctypes.addressof(data) if data else 2**64 - 1
    offset = 2**64 - 1 if code == SPLICE else 0
    return struct.pack("<BBHiQQIIQHHi16x", code, flags, 0, sock.fileno(), offset, at, size, 0, 0, 0, 0, from_fd)


def done(results):
    for result in results:
        if result == -errno.ENOTSUP:
            raise NoRing("no_zero_copy")
        if result < 0:
            raise OSError(-result, "io_uring")
    return results[0]


def of(text):
    return ctypes.create_string_buffer(text, len(text))


def sends(code, flags=0):
    sock, data = dial(), of(denied())
    sock.ask()
    done(Ring().run(operation(code, sock, data, len(data), flags)))


def uring_send():
    sends(SEND)


def uring_send_by_a_thread():
    sends(SEND, BY_A_THREAD)


def uring_write():
    sends(WRITE)


def uring_zero_copy():
    sends(SEND_ZC)


def uring_linked():
    """The second one is done when the first one is."""
    sock, first, second = dial(), of(ALLOWED), of(denied())
    sock.allowed = ALLOWED
    done(Ring().run(operation(SEND, sock, first, len(first), LINKED), operation(SEND, sock, second, len(second))))


def uring_splice():
    sock, text = dial(), denied()
    sock.ask()
    done(Ring().run(operation(SPLICE, sock, None, len(text), from_fd=filled_pipe(text)[0])))


def uring_zero_copy_changed():
    sock, data = dial(WAITS), of(LONG)
    ring = Ring()
    taken = done(ring.run(operation(SEND_ZC, sock, data, len(data))))
    change(sock, taken, lambda text: ctypes.memmove(ctypes.addressof(data) + CHANGED_AT, text, len(text)))
