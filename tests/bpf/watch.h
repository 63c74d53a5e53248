/* watch: what the tests of process events stand on: a registered cgroup, and the three tracepoints
 * of bpf/process.bpf.c attached, nothing else.
 *
 * cgroups below the test's own: pod (registered), pod/deep, other. All gone with watch_fini. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "bpf/abi.h"

enum { WATCH_RECORDS_MAX = 64 };

enum { WATCH_RING = 256 * 1024 }; /* bytes of the ring buffer of process events */

struct watch {
    char cgroup[256];
    char directory[64]; /* for the test's files */
    struct sallyport_bpf *bpf;
    struct ring_buffer *ring; /* of watch_listen */
    struct abi_process records[WATCH_RECORDS_MAX];
    size_t records_len;
};

void watch_init(struct watch *watch); /* exits 77 where root or a kernel feature is missing */
void watch_fini(struct watch *watch);

uint64_t watch_cgroup_id(const struct watch *watch, const char *name);

/* Forks a child that runs work() in the cgroup; it is forked outside, so that only what it does
 * inside is told. Returns its pid. */
pid_t watch_start(const struct watch *watch, const char *cgroup, void (*work)(void));
/* The same, and waits for its end; *status is as waitpid(2) tells it. status may be NULL. */
pid_t watch_run(const struct watch *watch, const char *cgroup, void (*work)(void), int *status);

/* Reads the ring buffer itself, for tests without an identity that does. */
void watch_listen(struct watch *watch);
/* What was told since the last look is in records. */
void watch_look(struct watch *watch);
/* The record of this kind and process, NULL when there is none; exits when there are more. By the
 * pid that we see, which is not the kernel's in a container. */
const struct abi_process *watch_find(const struct watch *watch, enum abi_record_kind kind,
                                     pid_t pid);

struct watch_text {
    char data[ABI_PATH_MAX + 1];
    size_t len;
};
struct watch_texts {
    struct watch_text path, cwd, file, args;
};
void watch_read_texts(const struct abi_process *record, struct watch_texts *texts);
