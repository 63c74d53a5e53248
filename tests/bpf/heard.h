/* heard: what the kernel programs tell of sockets, read as the agent reads it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

enum { HEARD_MAX = 4096 };

struct heard {
    struct abi_socket records[HEARD_MAX]; /* since the test began, in their order */
    size_t len;
};
extern struct heard heard;

void heard_init(void); /* once the fixture is set up */
void heard_fini(void);
void heard_forget(void); /* a test begins: what was told so far is another's */

/* Reads what there is. The kernel tells a socket's end in the call that closes it, so all is there
 * as soon as a program has ended, or the test has closed the socket that it left behind. */
void heard_read(void);
/* How many of this kind, after reading. cookie 0: of any socket. */
size_t heard_count(enum abi_record_kind kind, uint64_t cookie);
/* The only one of this kind and socket: there must be one. */
const struct abi_socket *heard_one(enum abi_record_kind kind, uint64_t cookie);
