/* asking: a pod's program that asks name servers, and our side, which hears and answers. */
#pragma once

#include "fixture.h"

enum { SERVERS_MAX = 6, TEXT_MAX = 64 };

/* What a program does: one socket, and a question to each server, whose text is the server's
 * address. It leaves the socket to the report. */
struct ask {
    int family;
    bool connects;
    const char *bind_to; /* or NULL */
    const char *to[SERVERS_MAX + 1];
    uint16_t port;
    int fd; /* 0: a new one; else one that an earlier program left behind */
};

/* A question as our listener hears it. */
struct question {
    int listener; /* descriptor */
    size_t peer;
    struct addr from, to;
    char text[TEXT_MAX];
    struct origin origin;
};

/* cmocka's, for the group: the fixture, what the kernel tells of sockets, and our ears. */
int asking_set_up(void **state);
int asking_take_down(void **state);
void asking_forget(void); /* questions that nobody heard */

struct report ask_from(const char *cgroup, int netns, struct ask ask);
struct report ask_from_pod(struct ask ask);  /* which must not fail */
bool is_v4(const struct ask *ask, size_t i); /* by which family the question goes */

/* Waits; the first listener that was asked: its last question, and the asker. */
void hear(bool v4, struct question *out);
void assert_nothing_heard(void);
void assert_asker(const struct question *question, const struct report *report, uint16_t port);
/* The same text, back from the address it was written to. */
void answer(const struct question *question);

/* What the program gets, in one of three ways; the sender must be whom the text names. */
enum way_to_read { RECVFROM, RECVMSG, RECV, WAYS_TO_READ };
void assert_answered(int fd, const struct ask *ask, enum way_to_read how);
