/* spoken: a pod on the kernel route, what it says by it, and what of that comes up, read as
 * proxy/kernel/ring.c reads it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fixture.h"
#include "proxy/kernel/backend.h"

enum { SPOKEN_MAX = 2 << 20, SPOKEN_PORT = 9000 };

/* What came up of one direction of one socket. */
struct spoken {
    uint8_t bytes[SPOKEN_MAX];
    size_t len; /* of those */
    uint64_t skipped, lost;
    unsigned begins; /* heads */
    bool denied;     /* the last of them did not go */
    uint8_t flags;   /* enum abi_said_flags, of all pieces */
    uint32_t pid;
    uint64_t cookie;
};
extern struct spoken spoken[2]; /* by enum abi_direction */

extern struct backend *backend;

/* cmocka's: for the group, and to register the pod for one test, loopback looked into. */
int set_up_spoken(void **state);
int take_down_spoken(void **state);
int register_spoken(void **state);
#define spoken_test(test) cmocka_unit_test_setup_teardown(test, register_spoken, unregister)

/* Reads what there is; forgets what there was before. cookie 0: of any socket. */
void spoken_read(uint64_t cookie);

/* A program of the pod connects to a server in its own namespace and does something there. */
struct report speak(void (*work)(int fd, const void *arg), const void *arg, int server);
int spoken_server(void); /* a listener on SPOKEN_PORT */
