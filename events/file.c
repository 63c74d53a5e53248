#include "events/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"

enum { FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, MODE = 0600 };

struct events_file {
    char *path;
    uint64_t max_bytes;
    unsigned backups;
    int fd;
    atomic_bool reopen;
    bool begun;      /* to write */
    bool complained; /* about what has not worked since */
};

static void complain(struct events_file *file, const struct err *err)
{
    if (!file->complained)
        log_error("events: %s; writing goes on where it was", err->text);
    file->complained = true;
}

static void use(struct events_file *file, struct sink *sink, int fd)
{
    fd_close(&file->fd);
    file->fd = sink->fd = fd;
    file->complained = false;
}

static int move(const char *from, const char *to, struct err *err)
{
    if (rename(from, to) == 0 || errno == ENOENT)
        return 0;
    return err_sys(err, -errno, "moving %s to %s", from, to);
}

/* F.1 to F.2 and so on, the oldest away, then F to F.1. */
static int move_backups(const struct events_file *file, struct err *err)
{
    for (unsigned i = file->backups; i > 0; i--) {
        CLEANUP(text_free) char *from = NULL, *to = NULL;
        int result;

        if ((i > 1 ? asprintf(&from, "%s.%u", file->path, i - 1)
                   : asprintf(&from, "%s", file->path)) < 0)
            from = NULL;
        if (asprintf(&to, "%s.%u", file->path, i) < 0)
            to = NULL;
        if (!from || !to)
            return err_set(err, -ENOMEM, "%s: no memory", file->path);
        result = move(from, to, err);
        if (result < 0)
            return result;
    }
    return 0;
}

/* The new file is there before the old one is moved, so that what fails leaves all as it is. */
static int begin_anew(struct events_file *file, struct sink *sink, struct err *err)
{
    CLEANUP(text_free) char *fresh = NULL;
    CLEANUP(fd_close) int fd = -1;
    int result;

    if (asprintf(&fresh, "%s.new", file->path) < 0) {
        fresh = NULL;
        return err_set(err, -ENOMEM, "%s: no memory", file->path);
    }
    fd = open(fresh, FLAGS | O_TRUNC | O_NOFOLLOW, MODE);
    if (fd < 0)
        return err_sys(err, -errno, "%s", fresh);
    result = move_backups(file, err);
    if (result == 0)
        result = move(fresh, file->path, err);
    if (result < 0) {
        unlink(fresh);
        return result;
    }
    use(file, sink, fd_take(&fd));
    return 0;
}

/* Tried again with the next lines where it fails. */
static void open_again(struct events_file *file, struct sink *sink)
{
    int fd = open(file->path, FLAGS, MODE);
    struct err err;

    if (fd < 0) {
        err_sys(&err, -errno, "%s", file->path);
        complain(file, &err);
        return;
    }
    atomic_store(&file->reopen, false);
    use(file, sink, fd);
}

static bool is_moved_away(const struct events_file *file)
{
    struct stat ours, there;

    return fstat(file->fd, &ours) == 0 && stat(file->path, &there) == 0 &&
           (ours.st_dev != there.st_dev || ours.st_ino != there.st_ino);
}

static bool ends_inside_a_line(const char *path)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat stat;
    char last;

    return fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size &&
           pread(fd, &last, 1, stat.st_size - 1) == 1 && last != '\n';
}

static bool is_full(const struct events_file *file, size_t more)
{
    struct stat stat;

    return file->max_bytes && fstat(file->fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
           stat.st_size && (uint64_t)stat.st_size + more > file->max_bytes;
}

/* Who wrote it before us may have moved it since we opened it, or have been killed inside a line.
 * (Before we have anything to write it may yet be at it: then a line that has no end is none.) */
static void before_write(struct sink *sink)
{
    struct events_file *file = sink->owner;
    bool first = !file->begun;
    struct err err;

    file->begun = true;
    if (first && is_moved_away(file))
        atomic_store(&file->reopen, true);
    if (atomic_load(&file->reopen))
        open_again(file, sink);
    if ((is_full(file, sink->pending.len) || (first && ends_inside_a_line(file->path))) &&
        begin_anew(file, sink, &err) < 0)
        complain(file, &err);
}

int events_file_open(struct events_file **out, const struct events_file_settings *settings,
                     struct sink *sink,
                     void (*render)(struct sink *, const struct flow_event *, struct buffer *),
                     const char *node_name, struct err *err)
{
    CLEANUP(events_file_free) struct events_file *file = calloc(1, sizeof(*file));

    if (!file)
        return err_set(err, -ENOMEM, "no memory for the events' file");
    file->fd = -1;
    file->max_bytes = settings->max_bytes;
    file->backups = settings->backups;
    file->path = strdup(settings->path);
    if (!file->path)
        return err_set(err, -ENOMEM, "no memory for the events' file");
    file->fd = open(file->path, FLAGS, MODE);
    if (file->fd < 0)
        return err_sys(err, -errno, "%s", file->path);
    sink_init(sink, render, file->fd, node_name, false);
    sink->before_write = before_write;
    sink->owner = file;
    *out = TAKE(file);
    return 0;
}

void events_file_free(struct events_file **file)
{
    struct events_file *gone = TAKE(*file);

    if (!gone)
        return;
    fd_close(&gone->fd);
    free(gone->path);
    free(gone);
}

void events_file_reopen(struct events_file *file)
{
    atomic_store(&file->reopen, true);
}
