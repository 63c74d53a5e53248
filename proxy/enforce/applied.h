/* applied: the policies that clients applied, and the texts they stand in, kept in a directory for
 * the next agent:
 *
 *   DIR/index.json    which policies, by which file's name, in which text
 *   DIR/SHA256.yaml   the texts; those that the index does not name mean nothing
 *
 * Called by:  sources.c, sources_verbs.c. Control thread only, but for applied_compile(). */
#pragma once

#include <sys/stat.h>

#include "base/err.h"
#include "proxy/enforce/policy_files.h"

/* Bytes as a client sent them, shared by the policies in them. */
struct applied_text {
    unsigned refs;
    char *file; /* what the client calls them */
    uint8_t *data;
    size_t len;
    char digest[65]; /* SHA-256, in hex */
};

struct applied_policy {
    struct policy *policy;     /* a reference */
    struct applied_text *text; /* likewise */
    uint64_t meaning;          /* of its document, whatever its layout and comments */
};

struct applied { /* begins zeroed */
    struct applied_policy *list;
    size_t len, room;
};

void applied_fini(struct applied *applied);
/* *out, empty, becomes the same: to be changed, and put in the place of the first. -ENOMEM. */
int applied_copy(struct applied *out, const struct applied *from);

/* Compiles one file of a client's, and adds what is in it to fresh and to list, in which no name
 * may be twice. false: there are faults, in story. */
bool applied_compile(struct applied *fresh, struct policy_list *list, struct span bytes,
                     const char *file, struct policy_story *story);

/* Borrowed, until one is put or dropped; NULL: there is none of that name. */
const struct applied_policy *applied_find(const struct applied *applied, const char *id);
/* In the place of the one of its name, if there is one; takes references. -ENOMEM. */
int applied_put(struct applied *applied, const struct applied_policy *one);
void applied_drop(struct applied *applied, const char *id); /* which is there */

/* *out, empty, becomes what is in the directory, which need not be there. -EINVAL: a text has
 * faults, in story. */
int applied_read(struct applied *out, const char *dir, struct policy_story *story, struct err *err);
/* To see whether another agent wrote there: all zero where nothing is. */
struct stat applied_look(const char *dir);
/* What was there before goes; all or nothing. */
int applied_write(const struct applied *applied, const char *dir, struct err *err);
