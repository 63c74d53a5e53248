/* program: BPF programs of a few instructions, to see what the kernel takes.
 *
 * They let everything pass. Called by bpf_tries.c and kernel_tries.c; who gets a descriptor closes
 * it, which unloads or detaches. */
#pragma once

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* One that lets pass, for the hook that libbpf knows by this section name: its descriptor. */
int program_load(const char *section, struct err *err);

/* Attaches it: a raw tracepoint's by its name in the section, another one to the cgroup. The
 * link's descriptor. */
int program_attach(const char *section, int program_fd, int cgroup_fd, struct err *err);

/* Whether a program for this hook may call the helper: 0, or a negative errno. */
int program_may_call(const char *section, uint32_t helper, const char *name, struct err *err);

/* A function that a tracing program can be attached to. */
struct program_target {
    enum bpf_prog_type type;
    enum bpf_attach_type attach;
    uint32_t btf_id; /* in the kernel's BTF, or that of btf_fd's module */
    uint32_t btf_fd; /* 0: the kernel's own */
    uint32_t prog_flags;
};
/* Loads for that function a program which writes 1 into the first word of the array map_fd, and
 * lets pass. */
int program_load_tracer(const struct program_target *target, int map_fd, struct err *err);
