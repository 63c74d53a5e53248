#!/usr/bin/python3
"""attach_program.py CGROUP FLAGS: attaches a BPF program named "stranger", which lets everything pass,
to cgroup/connect4 of a cgroup by BPF_PROG_ATTACH with these flags (0: exclusive, 1: override, 2: multi).
It stays there until the cgroup is removed."""
import ctypes
import os
import platform
import struct
import sys

BPF_PROG_LOAD, BPF_PROG_ATTACH = 5, 8
CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT = 18, 10
SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    text = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = libc.syscall(SYSCALL, command, text, 128)
    if result < 0:
        sys.exit(f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return result


allow = ctypes.create_string_buffer(struct.pack("<BBhi BBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0))
licence = ctypes.create_string_buffer(b"GPL")
program = bpf(BPF_PROG_LOAD, struct.pack(
    "<II QQ IIQ II 16s II", CGROUP_SOCK_ADDR, 2, ctypes.addressof(allow), ctypes.addressof(licence),
    0, 0, 0, 0, 0, b"stranger", 0, CGROUP_INET4_CONNECT))
cgroup = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
bpf(BPF_PROG_ATTACH, struct.pack("<IIII", cgroup, program, CGROUP_INET4_CONNECT, int(sys.argv[2])))
