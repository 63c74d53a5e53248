/* spoken: a pod on the kernel route, what it says by it, and what of that comes up, read as
 * proxy/kernel/ring.c reads it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "bpf/abi.h"
#include "fixture.h"
#include "proxy/kernel/backend.h"

/* The shortest record that TLS can begin with: whoever has to be seen must begin with one. */
#define CLIENT_HELLO                                                                               \
    "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03"                                                 \
    "0123456789012345678901234567890"                                                              \
    "1\x00\x00\x02\x13\x01\x01\x00"

enum { SPOKEN_MAX = 12 << 20, SPOKEN_PORT = 9000 };

/* What came up of one direction of one socket. */
struct spoken {
    uint8_t bytes[SPOKEN_MAX];
    size_t len; /* of those */
    uint64_t skipped, lost;
    unsigned begins; /* heads */
    bool denied;     /* the last of them did not go */
    uint32_t before; /* ... so many before these did not, either */
    uint8_t flags;   /* enum abi_said_flags, of all pieces */
    uint32_t pid;
};
extern struct spoken spoken[ABI_DIRECTIONS];

/* What the other end does with its socket before all else, or NULL. */
extern int (*spoken_prepare)(int fd);

/* How little room the other end has for what comes (SO_RCVBUF); 0: as usual. */
extern int spoken_room;

/* What arrived at the other end. */
extern struct spoken_arrived {
    uint8_t bytes[SPOKEN_MAX];
    size_t len;
} arrived;

extern struct backend *backend;

/* The backend, beside fx.keeper. */
void spoken_begin(void);
void spoken_end(void);

/* cmocka's: for the group, and to register the pod for one test, loopback looked into. */
int set_up_spoken(void **state);
int take_down_spoken(void **state);
int register_spoken(void **state);
#define spoken_test(test) cmocka_unit_test_setup_teardown(test, register_spoken, unregister)

/* enum abi_route_flags, in the place of what backend.c found out about this kernel. */
void spoken_route(uint32_t flags);

/* Reads what there is, of this socket (0: of any), and forgets what there was before. */
void spoken_read(uint64_t cookie);

/* A program of the pod connects to a server in its own namespace, does its work there, whose result
 * is the report's code, and closes; what arrived and what came up is there then. `answer`: what the
 * server says at once. */
struct report speak(int (*work)(int fd, const void *arg), const void *arg, struct span answer);

/* The same, but the pod's program is the server: a stranger connects. `defers`: it has the kernel
 * wait for the first bytes. */
struct report speak_to_pod(int (*work)(int fd, const void *arg), const void *arg,
                           struct span answer, bool defers);

/* Connects are allowed; requests of the pod from now on as this says. */
void spoken_spell(const struct abi_spelling *spelling);

/* Ways to send; 0 or a negative errno. */
int send_all(int fd, const void *bytes, size_t len, size_t pieces);
/* A head of 100 fields of 8 kB between these lines; its length. */
size_t write_large_head(void *into, size_t size, const char *begins, const char *ends);
/* There is no more to say: 0 when the other end has no more either, or how it ended. */
int wait_for_end(int fd);
