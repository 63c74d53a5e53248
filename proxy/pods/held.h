/* held: which of a pod's processes has which socket open, as /proc tells it, and how another one's
 * socket is come by.
 *
 * Who is told of a socket here may have closed it since: held_take() gives it only if it is still
 * the one that was meant.
 * Called by:  existing.c. Control thread only; bounded, and read a bit at a time. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct held {
    uint64_t inode;
    pid_t pid;
    int fd; /* there */
};

struct held_list { /* zeroed: of nobody */
    pid_t *pids;
    size_t pids_len, pids_room, pid_at;
    DIR *dir; /* of the process that is being read */
    struct held *list;
    size_t len, room;
    bool cut; /* there are more than we look at, or memory for */
};

void held_add_process(struct held_list *held, pid_t pid);
/* Reads on, at most so many descriptors. False: all are read. */
bool held_read(struct held_list *held, size_t most);
/* The lowest pid of who has it open; NULL: nobody. Once all are read. */
const struct held *held_find(const struct held_list *held, uint64_t inode);
void held_fini(struct held_list *held);

/* A descriptor of ours of that very socket; or -ESTALE: it has been closed, -EPERM, ... */
int held_take(const struct held *held, uint64_t cookie);
/* Ends a TCP connection as its program would that disconnects it at once: the program sees
 * ECONNRESET, and the other side a reset; or, where the kernel does not let that be done, the end
 * of it. */
int held_reset(int fd);
