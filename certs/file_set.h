/* file_set: files of one directory that change together, as Kubernetes writes its volumes.
 *
 * The files lie in DIR/..NAME/, the link DIR/..data leads there, and DIR/tls.crt is a link to
 * ..data/tls.crt. A new set is written whole beside the old one, then ..data is renamed over: a
 * reader who looks at ..data before and after (file_set_read()) has read one set or knows that he
 * has not, and a disk that is full leaves the old one as it was. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"

enum { FILE_SET_NAME_SIZE = NAME_MAX + 1 };

/* Which set is in force: the name ..data leads to, "" where a directory has none. */
void file_set_version(const char *dir, char out[FILE_SET_NAME_SIZE]);
/* Whether a set of that name is one that file_set_write() made. */
bool file_set_is_ours(const char *version);

/* Calls read(arg, dir, version, err) until it has seen one set from its beginning to its end, and
 * returns what it returned then; each call begins anew. */
int file_set_read(const char *dir,
                  int (*read)(void *arg, const char *dir, const char *version, struct err *err),
                  void *arg, struct err *err);

struct file_part {
    const char *name;
    struct span bytes;
    mode_t mode;
    bool linked; /* has a name in DIR, too */
};

/* Puts a set into force and removes the one before it. dir must be there, and locked by the caller
 * against others who write (readers need no lock). -EEXIST: there is something else in the place of
 * a link. On failure nothing has changed. */
int file_set_write(const char *dir, const struct file_part *parts, size_t len, struct err *err);
