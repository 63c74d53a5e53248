/* The files as a process has them. Its links may lead anywhere, its files may be pipes, and its
 * file systems of its own making and never answer: so paths end in its root, only regular files are
 * read, and a thread that nobody needs to wait for does it. */
#include "proxy/dns/configured.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"

enum { PATIENCE_S = 1 };

struct reading {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int root;
    bool done, abandoned; /* who is the last to see it frees it */
    struct configured *found;
};

static void reading_free(struct reading **reading)
{
    struct reading *gone = TAKE(*reading);

    if (!gone)
        return;
    configured_free(&gone->found);
    fd_close(&gone->root);
    pthread_cond_destroy(&gone->changed);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}

/* As much of it as is read, without a last line that is cut short: it would say something else. */
static size_t read_file(int root, const char *path, char *out)
{
    const struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                                 .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    CLEANUP(fd_close) int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    struct stat file;
    size_t len = 0;
    ssize_t n = 1;

    if (fd < 0 || fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        return 0;
    while (len < CONFIGURED_FILE_MAX && n > 0) {
        n = read(fd, out + len, CONFIGURED_FILE_MAX - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (len == CONFIGURED_FILE_MAX)
        while (len && out[len - 1] != '\n')
            len--;
    return len;
}

static struct configured *read_root(int root)
{
    CLEANUP(text_free) char *resolv_conf = malloc(CONFIGURED_FILE_MAX);
    CLEANUP(text_free) char *hosts = malloc(CONFIGURED_FILE_MAX);
    size_t resolv_conf_len, hosts_len;

    if (!resolv_conf || !hosts)
        return NULL;
    resolv_conf_len = read_file(root, "etc/resolv.conf", resolv_conf);
    hosts_len = read_file(root, "etc/hosts", hosts);
    return configured_parse(span_of(resolv_conf, resolv_conf_len), span_of(hosts, hosts_len));
}

static void *read_both(void *arg)
{
    struct reading *reading = arg;
    struct configured *found = read_root(reading->root);
    bool last;

    pthread_mutex_lock(&reading->lock);
    reading->found = found;
    reading->done = true;
    last = reading->abandoned;
    pthread_cond_signal(&reading->changed);
    pthread_mutex_unlock(&reading->lock);
    if (last)
        reading_free(&reading);
    return NULL;
}

static int reading_new(struct reading **out, pid_t pid, struct err *err)
{
    CLEANUP(reading_free) struct reading *reading = calloc(1, sizeof(*reading));
    char path[64];

    if (!reading)
        return err_set(err, -ENOMEM, "what resolves names");
    reading->root = -1;
    pthread_mutex_init(&reading->lock, NULL);
    pthread_cond_init(&reading->changed, NULL);
    snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
    reading->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (reading->root < 0)
        return err_sys(err, -errno, "%s", path);
    *out = TAKE(reading);
    return 0;
}

static bool wait_for(struct reading *reading)
{
    struct timespec until;
    int code = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    while (!reading->done && code == 0)
        code = pthread_cond_clockwait(&reading->changed, &reading->lock, CLOCK_MONOTONIC, &until);
    return reading->done;
}

int configured_read(struct configured **out, pid_t pid, struct err *err)
{
    CLEANUP(reading_free) struct reading *reading = NULL;
    pthread_t thread;
    bool done;
    int code = reading_new(&reading, pid, err);

    if (code < 0)
        return code;
    code = pthread_create(&thread, NULL, read_both, reading);
    if (code)
        return err_sys(err, -code, "a thread to read what resolves names");
    pthread_detach(thread);
    pthread_mutex_lock(&reading->lock);
    done = wait_for(reading);
    reading->abandoned = !done;
    pthread_mutex_unlock(&reading->lock);
    if (!done) {
        reading = NULL; /* the thread's, whenever that ends */
        return err_set(err, -ETIMEDOUT,
                       "/etc/resolv.conf and /etc/hosts of process %d could not be read within %d "
                       "s",
                       (int)pid, PATIENCE_S);
    }
    if (!reading->found)
        return err_set(err, -ENOMEM, "what resolves names");
    *out = TAKE(reading->found);
    return 0;
}
