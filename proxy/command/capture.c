/* capture: has the agent give what a pod says inside TLS, or the keys to it, and writes the file.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/log.h"
#include "events/buffer.h"
#include "proxy/command/capture_options.h"
#include "proxy/command/command.h"
#include "proxy/control/client.h"

enum { FAILED = 1, CHUNK = 65536, LAST_MS = 5000, LAST_LINE_MAX = 4096 };

struct taker {
    struct client client;
    int file, signals;
    bool owns_file;
    bool ending;       /* we have said that it is enough */
    uint8_t head[4];   /* of a load */
    size_t head_len;   /* what came of it */
    uint32_t left;     /* of the load */
    bool last;         /* what follows is the last line */
    struct buffer end; /* ... that */
};

/* ---- the file ---- */

/* Whoever may read it may read the pod's secrets: it is ours alone, and no file of another. */
static int open_file(struct taker *taker, const char *name)
{
    if (strcmp(name, "-") == 0) {
        taker->file = STDOUT_FILENO;
        return 0;
    }
    taker->file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (taker->file < 0) {
        log_error("%s: %s", name,
                  errno == EEXIST ? "is there already; say another name" : strerror(errno));
        return -errno;
    }
    taker->owns_file = true;
    return 0;
}

static int write_all(int file, const char *bytes, size_t len, struct err *err)
{
    while (len) {
        ssize_t n = write(file, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, -errno, "writing the file");
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- what comes ---- */

/* Loads of the file, then the last line. */
static int take(struct taker *taker, const char *bytes, size_t len, struct err *err)
{
    int result = 0;

    while (len && result == 0) {
        size_t n = len;

        if (taker->last) {
            buffer_append(&taker->end, bytes, n);
            if (taker->end.failed || taker->end.len > LAST_LINE_MAX)
                result = err_set(err, -EPROTO, "the agent's last line does not end");
        } else if (taker->left) {
            n = n < taker->left ? n : taker->left;
            result = write_all(taker->file, bytes, n, err);
            taker->left -= (uint32_t)n;
        } else {
            n = 1;
            taker->head[taker->head_len++] = (uint8_t)*bytes;
            if (taker->head_len == sizeof(taker->head)) {
                memcpy(&taker->left, taker->head, sizeof(taker->head));
                taker->left = ntohl(taker->left);
                taker->last = !taker->left;
                taker->head_len = 0;
            }
        }
        bytes += n;
        len -= n;
    }
    return result;
}

/* ^C, or its like: the agent sends what is left, and ends. */
static void say_enough(struct taker *taker)
{
    struct signalfd_siginfo info;

    if (read(taker->signals, &info, sizeof(info)) != sizeof(info))
        return;
    taker->ending = true;
    shutdown(taker->client.fd, SHUT_WR);
}

/* Until the agent has said its last. */
static int follow(struct taker *taker, struct err *err)
{
    struct client *client = &taker->client;
    int result = take(taker, client->data + client->at, client->len - client->at, err);

    while (result == 0 && !(taker->end.len && taker->end.data[taker->end.len - 1] == '\n')) {
        struct pollfd ends[] = {{.fd = client->fd, .events = POLLIN},
                                {.fd = taker->ending ? -1 : taker->signals, .events = POLLIN},
                                {.fd = taker->file}};
        char bytes[CHUNK];
        ssize_t n = poll(ends, ARRAY_SIZE(ends), taker->ending ? LAST_MS : -1);

        if (n == 0)
            return err_set(err, -ETIMEDOUT, "the agent does not end it");
        if (n > 0 && ends[1].revents)
            say_enough(taker);
        if (n > 0 && ends[2].revents & POLLERR)
            return err_set(err, -EPIPE, "nobody reads stdout");
        if (n < 0 || !ends[0].revents)
            continue;
        n = recv(client->fd, bytes, sizeof(bytes), 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return err_set(err, -EPIPE, "the agent has ended, and with it the capture");
        if (n < 0 && errno != EINTR)
            return err_sys(err, -errno, "the agent");
        if (n > 0)
            result = take(taker, bytes, (size_t)n, err);
    }
    return result;
}

static void say_end(const struct taker *taker, const char *what)
{
    json_t *line = json_loadb(taker->end.data, taker->end.len, 0, NULL);
    const char *why = json_string_value(json_object_get(line, "ended"));
    long long came = json_integer_value(json_object_get(line, "came"));
    long long missed = json_integer_value(json_object_get(line, "missed"));
    const char *things = strcmp(what, "pcap") == 0 ? "packets" : "lines";

    if (missed)
        log_warn("%s; %lld of %lld %s are missing: they came faster than they were taken",
                 why ? why : "it ended", missed, came, things);
    else
        log_info("%s; %lld %s", why ? why : "it ended", came, things);
    json_decref(line);
}

static int run(struct taker *taker, const struct capture_options *options)
{
    json_t *answer = NULL;
    struct err err;
    int result = client_connect(&taker->client, options->runtime_dir, &err);

    if (result == 0)
        result = client_call(&taker->client,
                             json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "verb", "capture",
                                       "namespace", options->space, "pod", options->pod, "what",
                                       options->what, "seconds", (json_int_t)options->seconds,
                                       "bytes", (json_int_t)options->bytes),
                             NULL, 0, &answer, &err);
    if (result < 0 && taker->owns_file)
        unlink(options->file); /* nothing is in it, and it was not there before */
    json_decref(answer);
    if (result == 0) {
        log_info("what pod %s%s%s says from now on is written; ^C ends it", options->space,
                 *options->space ? "/" : "", options->pod);
        result = follow(taker, &err);
    }
    if (result < 0)
        log_error("%s", err.text);
    else
        say_end(taker, options->what);
    return result < 0 ? FAILED : 0;
}

int command_capture(int argc, char **argv)
{
    struct capture_options options;
    struct taker taker = {.client.fd = -1, .file = -1, .signals = -1};
    int status = capture_options_parse(&options, argc, argv);
    sigset_t enough;

    if (status)
        return status - 1;
    sigemptyset(&enough);
    sigaddset(&enough, SIGINT);
    sigaddset(&enough, SIGTERM);
    sigaddset(&enough, SIGHUP);
    sigprocmask(SIG_BLOCK, &enough, NULL);
    signal(SIGPIPE, SIG_IGN);
    taker.signals = signalfd(-1, &enough, SFD_CLOEXEC | SFD_NONBLOCK);
    status =
        taker.signals < 0 || open_file(&taker, options.file) < 0 ? FAILED : run(&taker, &options);
    if (taker.owns_file && close(taker.file) < 0) {
        log_error("%s: %s", options.file, strerror(errno));
        status = FAILED;
    }
    fd_close(&taker.signals);
    client_fini(&taker.client);
    buffer_fini(&taker.end);
    return status;
}
