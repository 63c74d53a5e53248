"""Reads a pcapng file as its specification has it, follows its TCP streams, and says what is in it as
JSON. Anything odd is an error: lengths, options, checksums, a SYN in the middle."""
import json
import struct
import sys


def options(data):
    found = {}
    while data:
        code, length = struct.unpack("=HH", data[:4])
        if code == 0:
            break
        found[code] = data[4:4 + length]
        data = data[4 + length + -length % 4:]
    return found


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[:len(data) // 2 * 2])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def packet(data):
    if data[0] >> 4 == 4:
        assert checksum(data[:20]) == 0xffff and struct.unpack("!H", data[2:4])[0] == len(data) and data[9] == 6
        ends, tcp = (data[12:16], data[16:20]), data[20:]
    else:
        assert struct.unpack("!H", data[4:6])[0] == len(data) - 40 and data[6] == 6
        ends, tcp = (data[8:24], data[24:40]), data[40:]
    assert checksum(ends[0] + ends[1] + struct.pack("!HH", 6, len(tcp)) + tcp) == 0xffff, "checksum"
    ports = struct.unpack("!HH", tcp[:4])
    seq, ack = struct.unpack("!II", tcp[4:12])
    return (ends[0], ports[0]), (ends[1], ports[1]), seq, ack, tcp[13], tcp[20:]


streams, came, missed, packets, last = {}, None, None, 0, 0
data = open(sys.argv[1], "rb").read()
kinds = []
while data:
    kind, length = struct.unpack("=II", data[:8])
    assert length % 4 == 0 and struct.unpack("=I", data[length - 4:length])[0] == length, "a block's length"
    body, data = data[8:length - 4], data[length:]
    kinds.append(kind)
    if kind == 0x0A0D0D0A:
        assert struct.unpack("=IHHQ", body[:16]) == (0x1A2B3C4D, 1, 0, 2 ** 64 - 1)
    elif kind == 1:
        assert struct.unpack("=HHI", body[:8]) == (101, 0, 0) and options(body[8:])[9] == b"\x09"
    elif kind == 5:
        found = options(body[12:])
        came, missed = (struct.unpack("=Q", found[i])[0] for i in (4, 5))
    elif kind == 6:
        interface, high, low, length, whole = struct.unpack("=IIIII", body[:20])
        assert interface == 0 and length == whole and high << 32 | low >= last
        last, packets = high << 32 | low, packets + 1
        source, target, seq, ack, flags, payload = packet(body[20:20 + length])
        ends = tuple(sorted((source, target)))
        if ends not in streams:
            streams[ends] = {"program": source, "comment": None, "syn": False, "fin": 0, "gaps": 0, "next": {}, "bytes": {source: b"", target: b""}}
        stream = streams[ends]
        comment = options(body[20 + length + -length % 4:]).get(1)
        if comment:
            stream["comment"] = comment.decode()
        if flags & 2:
            stream["syn"] = True
        stream["gaps"] += stream["next"].get(source, seq) != seq
        stream["gaps"] += flags & 16 and stream["next"].get(target, ack) != ack
        stream["next"][source] = seq + len(payload) + bool(flags & 3) & 0xffffffff
        stream["fin"] += flags & 1
        stream["bytes"][source] += payload
    else:
        raise SystemExit(f"block {kind}")
assert kinds[:2] == [0x0A0D0D0A, 1] and kinds[-1] == 5, kinds
print(json.dumps({"packets": packets, "came": came, "missed": missed, "streams": [
    {**{key: stream[key] for key in ("comment", "syn", "fin", "gaps")},
     "said": stream["bytes"].pop(stream["program"]).decode("latin-1"),
     "heard": stream["bytes"].popitem()[1].decode("latin-1")} for stream in streams.values()]}))
