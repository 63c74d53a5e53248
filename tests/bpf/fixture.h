/* fixture: a registered pod in the bed, its keeper, and programs that dial and serve. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bed.h"
#include "policy/view.h"
#include "proxy/keeper/keeper.h"
#include "proxy/doors/origin.h"
#include "proxy/pods/pods.h"

enum { SOON_MS = 2000 };

struct fixture {
    struct bed bed;
    struct keeper *keeper;
    struct pods *pods;
    struct keeper_net *net; /* the namespace "pod" */
    int options;            /* the link by which the cgroup "pod" is followed */
    struct err err;
};
extern struct fixture fx;

#define assert_ok(code)                                                                            \
    do {                                                                                           \
        if ((code) < 0)                                                                            \
            fail_msg("%s", fx.err.text);                                                           \
    } while (0)

/* cmocka's: for the group, and to register the cgroup "pod" as a pod for one test. */
int set_up(void **state);
int take_down(void **state);
int register_default(void **state);  /* the default ports */
int register_open(void **state);     /* ... and open when the agent is down */
int register_loopback(void **state); /* all ports, loopback too */
int unregister(void **state);

/* What the policies of a file, in YAML, make of the pod "pod"; "": there are none. */
struct policy_view *view_of(const char *yaml);
/* They are in force for it from now on. */
void use_policy(const char *yaml);

/* What a program does; if it stays, it leaves its socket to the report. */
struct dial {
    int family, type;    /* 0: SOCK_STREAM */
    const char *bind_to; /* or NULL */
    uint16_t bind_port;  /* 0: any; else one that others may use, too */
    const char *to;
    uint16_t port;
    enum {
        STAY,
        SEND_AND_CLOSE,
        RESET,
        NAME_AND_CLOSE /* a datagram that names where it goes; there is no connect */
    } then;
    unsigned again;       /* how many more times it does all that */
    const char *first_to; /* or NULL: connected to, and disconnected from, before */
    uint16_t first_port;
};
struct report dial_from(const char *cgroup, int netns, struct dial dial);
struct report dial_from_pod(struct dial dial);

/* The three ways to the world, and what a program sees on them. */
struct way {
    const char *name;
    int family;
    const char *to, *peer, *self;
};
enum { WAYS = 3 };
extern const struct way ways[WAYS];

socklen_t place(int family, const char *text, uint16_t port, struct sockaddr_storage *out);
int connect_to(int fd, int family, const char *to, uint16_t port);

/* A server like any other, in a namespace. */
int serve(int netns, int type, int family, const char *on, uint16_t port);
int accept_within(int listener, int ms); /* -1: nobody came */

int our_listener(const struct dial *dial); /* which one it would come to */
uint16_t our_port(void);
size_t records_waiting(void);

void assert_ip(const struct addr *addr, const char *want);
/* It came to our listener; what it meant is in *origin. */
void assert_steered(const struct dial *dial, struct report *report, struct origin *origin);
void assert_went_direct(struct report *report, int server);
