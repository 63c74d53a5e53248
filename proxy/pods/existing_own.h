/* existing_own: what existing.c, which finds connections, and existing_meet.c, which says what
 * becomes of each, share; nobody else's. */
#pragma once

#include "proxy/keeper/diag.h"
#include "proxy/pods/existing.h"
#include "proxy/pods/held.h"

enum { EXISTING_NETS_MAX = 256, EXISTING_PORTS = 1 << 16 };

/* One pod's. */
struct scan {
    struct scan *next;
    struct existing *existing;
    struct pod *pod; /* a reference */
    bool again;      /* its pod was an agent's before us */
    bool failed;     /* something of it could not be read; told once */
    struct held_list held;
    uint64_t *cgroups; /* it and those below that are its */
    size_t cgroups_len, cgroups_room;
    uint64_t nets[EXISTING_NETS_MAX]; /* where its processes are: cookies */
    size_t nets_len, net_at;
    /* of the namespace that is being read */
    int diag_fd;
    uint8_t family; /* whose answer is being read; 0: none, all have been */
    uint8_t listening[EXISTING_PORTS / 8];
    struct diag_socket *found; /* the pod's, as it seems */
    size_t found_len, found_room, found_at;
};

struct existing {
    struct existing_parts parts;
    int noted_fd, older_fd, enrolled_fd; /* the maps `connections`, `older` and `enrolled` */
    void *noted;                         /* room for what is in the first */
    struct event *step_due;
    struct scan *first, **last; /* the first is at work */
    bool told_no_end;
};

/* It is of the pod, as it seems. */
void existing_meet(const struct scan *scan, const struct diag_socket *socket);
