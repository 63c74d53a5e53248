"""The same agent as another build, whose kernel programs are others: other_build.py AGENT OUT main|route

They say that they are under the other half of their license, which the kernel takes as well: so they do
the same, and are not the same.
"""
import struct, sys

FROM, TO = b"Dual BSD/GPL\0", b"Dual MIT/GPL\0"
OBJECT = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 1, 247)  # little endian, relocatable, EM_BPF
agent, out, which = sys.argv[1:]
image = bytearray(open(agent, "rb").read())
changed, at = 0, image.find(OBJECT)
while at >= 0:
    sections, = struct.unpack_from("<Q", image, at + 40)
    size, number = struct.unpack_from("<HH", image, at + 58)
    end = at + sections + size * number
    route = image.find(b"\0hear_sent\0", at, end) >= 0
    if route == (which == "route"):
        license = image.index(FROM, at, end)
        image[license:license + len(TO)] = TO
        changed += 1
    at = image.find(OBJECT, end)
if not changed:
    sys.exit("there is no such object in it")
with open(out, "wb") as file:
    file.write(image)
