#include "certs/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <sys/stat.h>

static int read_all(int fd, struct file *file, size_t size)
{
    while (file->len < size) {
        ssize_t n = read(fd, file->data + file->len, size - file->len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break; /* it became shorter since fstat() */
        file->len += (size_t)n;
    }
    return 0;
}

int file_read(struct file *out, const char *path, struct err *err)
{
    /* O_NONBLOCK: to open a FIFO must not wait for its writer. */
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    CLEANUP(file_free) struct file file = {0};
    struct stat st;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(err, -errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "%s is not a regular file", path);
    if (st.st_size > FILE_SIZE_MAX)
        return err_set(err, -EFBIG, "%s is larger than %d MiB", path, FILE_SIZE_MAX >> 20);
    file.mode = st.st_mode & 07777;
    file.uid = st.st_uid;
    file.gid = st.st_gid;
    file.data = malloc((size_t)st.st_size + 1); /* an empty file has data too */
    if (!file.data)
        return err_sys(err, -ENOMEM, "cannot read %s", path);
    rc = read_all(fd, &file, (size_t)st.st_size);
    if (rc < 0)
        return err_sys(err, rc, "cannot read %s", path);
    *out = file;
    file = (struct file){0};
    return 0;
}

void file_free(struct file *file)
{
    OPENSSL_cleanse(file->data, file->len);
    free(TAKE(file->data));
    file->len = 0;
}

static int write_all(int fd, struct span bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.data, bytes.len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes.data += n;
        bytes.len -= (size_t)n;
    }
    return 0;
}

/* The owner first: until the mode is set, nobody else has any access. */
static int share(int fd, const struct file *like)
{
    if (like && fchown(fd, like->uid, like->gid) < 0)
        return -errno;
    return fchmod(fd, like ? like->mode & 0777 : 0644) < 0 ? -errno : 0;
}

int file_replace(const char *path, struct span bytes, const struct file *like, struct err *err)
{
    CLEANUP(text_free) char *fresh = NULL;
    CLEANUP(fd_close) int fd = -1;
    int rc;

    if (asprintf(&fresh, "%s.XXXXXX", path) < 0) {
        fresh = NULL; /* asprintf leaves it undefined */
        return err_sys(err, -ENOMEM, "cannot write %s", path);
    }
    fd = mkostemp(fresh, O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, -errno, "cannot write %s", fresh);
    rc = write_all(fd, bytes);
    if (rc == 0)
        rc = share(fd, like);
    if (rc == 0 && rename(fresh, path) < 0)
        rc = -errno;
    if (rc < 0) {
        unlink(fresh);
        return err_sys(err, rc, "cannot write %s", path);
    }
    return 0;
}
