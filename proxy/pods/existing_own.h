/* existing_own: what existing.c, which finds connections, and existing_meet.c, which says what
 * becomes of each, share; nobody else's. */
#pragma once

#include "bpf/abi.h"
#include "policy/view.h"
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
    struct { /* BPF maps; the first two with room for what they have */
        int connections, speeches, older, enrolled, route;
        void *connection, *speech;
    } maps;
    struct event *step_due;
    struct scan *first, **last; /* the first is at work */
    bool told_no_end, restored;
};

/* existing_heard.c. fd is a descriptor of ours of the socket.
 *
 * What the kernel programs find on a socket: how its end is told. */
struct abi_socket existing_note(const struct scan *scan, const struct diag_socket *socket,
                                const struct process *process);
/* Its end is told by this. */
bool existing_put(const struct existing *existing, int fd, const struct abi_socket *note);
/* An agent before us has put that there; false: nobody has. */
bool existing_get(const struct existing *existing, int fd, struct abi_socket *note);
/* A connect was seen on it. */
bool existing_was_seen(const struct existing *existing, int fd);
/* When it began, by the boot clock, as far as the kernel programs know. */
uint64_t existing_began_ns(const struct existing *existing, int fd);
/* Its words are heard already. */
bool existing_is_heard(const struct existing *existing, int fd);
/* ... by the program of an agent before us: from now on by ours. False: not as they are said. */
bool existing_hear_again(const struct existing *existing, const struct diag_socket *socket, int fd);
/* Has its words heard from now on, and its end told by the note, where that can be and its policies
 * (scope, may be NULL) do not want it otherwise. */
bool existing_hear(const struct scan *scan, const struct diag_socket *socket,
                   const struct policy_scope *scope, struct abi_socket *note, int fd);

/* It is of the pod, as it seems. */
void existing_meet(const struct scan *scan, const struct diag_socket *socket);
