/* file: whole files in and out, for key, certificate and truststore files.
 *
 * Some of them belong to pods: what is not a regular file is never waited for, and what is
 * larger than any bundle is refused. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/span.h"

enum { FILE_SIZE_MAX = 16 << 20 };

struct file {
    uint8_t *data;
    size_t len;
    mode_t mode; /* these three: of the file that was read, after links */
    uid_t uid;
    gid_t gid;
};

/* *out is the caller's, for file_free; untouched on failure. -ENOENT tells a missing file. */
int file_read(struct file *out, const char *path, struct err *err);
/* Wipes too: private keys pass through here. */
void file_free(struct file *file);

/* Makes path hold these bytes, for those who may read `like`: with its owner, group and
 * permissions, whatever the umask. NULL: for everybody, mode 0644 and ours. It is written beside
 * and renamed: a reader sees the old file or the new one, never half. */
int file_replace(const char *path, struct span bytes, const struct file *like, struct err *err);
