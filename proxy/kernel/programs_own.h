/* programs_own: what programs.c and programs_tell.c share; nobody else's. */
#pragma once

#include "base/addr.h"
#include "proxy/kernel/program.h"
#include "proxy/kernel/programs.h"

enum {
    PROGRAMS_MAX = 4096, /* with all their images they have room in ktls_programs */
    PROGRAMS_OF_POD_MAX = 64,
    PROGRAM_IMAGES_MAX = 4,
};

struct known_image {
    uint64_t inode;
    uint32_t device;
};
struct known {
    uint64_t pod;
    char *path; /* with pod: what the tree sorts by */
    struct program_use use;
    struct program_facts facts;
    struct known_image images[PROGRAM_IMAGES_MAX]; /* that were seen to hand over keys */
    size_t images_len;
    bool tls; /* it spoke TLS, whoever ended it */
    bool http2;
    uint64_t met_ns;
    struct process *process; /* a reference: the last one that connected; NULL: none did */
    struct addr dst;         /* ... there */
    struct known *next, **link;
};

struct programs {
    struct programs_parts parts;
    int fd, route_fd; /* maps, borrowed */
    bool host;        /* there is kTLS on this machine */
    void *tree;       /* tsearch(3) of struct known */
    struct known *first;
    size_t len;
};
