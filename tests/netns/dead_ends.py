"""A router behind which nobody is: what comes to its interface `dead` (argument: a file to make when it
is there) is answered by the last byte of the address it was for, with the ICMP error that ANSWERS names
(type and code by IPv4, by IPv6), or not at all. The kernel's own routes would do, but say so only so often."""
import fcntl, os, struct, sys

ANSWERS = {
    0x66: ((3, 1), (1, 3)),   # no such host
    0x67: ((3, 13), (1, 1)),  # forbidden
    0x69: ((3, 0), (1, 0)),   # no such network
    0x73: ((3, 3), (1, 4)),   # no such port, as firewalls say
}

def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF

def message(kind, pseudo, quoted):
    data = struct.pack("!BBHI", *kind, 0, 0) + quoted
    return data[:2] + struct.pack("!H", checksum(pseudo(len(data)) + data)) + data[4:]

def answer(packet):
    v4 = packet[0] >> 4 == 4
    source, to = (packet[12:16], packet[16:20]) if v4 else (packet[8:24], packet[24:40])
    kinds = ANSWERS.get(int(str(to[-1]), 16) if v4 else to[-1])
    if not kinds:
        return None
    if v4:
        body = message(kinds[0], lambda n: b"", packet[:128])
        head = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(body), 0, 64, 1, 0) + to + source
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    body = message(kinds[1], lambda n: to + source + struct.pack("!II", n, 58), packet[:128])
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 64) + to + source + body

tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", b"dead", 0x1001))  # TUNSETIFF: IFF_TUN | IFF_NO_PI
open(sys.argv[1], "w").close()
while True:
    reply = answer(os.read(tun, 65536))
    if reply:
        os.write(tun, reply)
