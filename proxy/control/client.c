#include "proxy/control/client.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/un.h>

#include "proxy/control/control.h"
#include "proxy/runtime.h"

enum {
    CHUNK = 16384,
    LINE_MAX_BYTES = 64 << 20,
    STEP_MS = 20,
    BEGINNING_MS = 3000, /* at most, for an agent to begin */
};

/* Somebody has the place, but answers nobody: it is about to begin, or another one takes over. */
static bool is_beginning(const char *runtime_dir)
{
    char path[PATH_MAX];
    CLEANUP(fd_close) int fd = -1;

    snprintf(path, sizeof(path), "%s/agent.lock", runtime_dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Between two agents there is a moment in which neither has the place: so nobody is there only if
 * that is so twice. */
static int connect_soon(int fd, const struct sockaddr_un *address, const char *runtime_dir)
{
    int nobody = 0;

    for (int waited = 0;; waited += STEP_MS) {
        int code;

        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
            return 0;
        code = -errno;
        nobody = is_beginning(runtime_dir) ? 0 : nobody + 1;
        if ((code != -ENOENT && code != -ECONNREFUSED) || waited >= BEGINNING_MS || nobody == 2)
            return code;
        usleep(STEP_MS * 1000);
    }
}

int client_connect(struct client *client, const char *runtime_dir, struct err *err)
{
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *dir = runtime_choose(runtime_dir);
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET, dir);
    int code;

    if (fd < 0)
        return err_sys(err, -errno, "control socket");
    if (len < 0 || (size_t)len >= sizeof(address.sun_path))
        return err_set(err, -ENAMETOOLONG, "%s: too long for the directory of a socket", dir);
    code = connect_soon(fd, &address, dir);
    if (code == -ENOENT || code == -ECONNREFUSED || code == -ENOTDIR)
        return err_set(err, -ENOENT, "no agent runs at %s; 'sallyport run' starts one", dir);
    if (code == -EACCES)
        return err_set(err, -EACCES, "only root may ask the agent at %s", dir);
    if (code < 0)
        return err_sys(err, code, "%s", address.sun_path);
    *client = (struct client){.fd = fd_take(&fd)};
    return 0;
}

void client_fini(struct client *client)
{
    fd_close(&client->fd);
    free(TAKE(client->data));
}

/* An agent that closes early has said why before: so a broken pipe is no failure yet. */
static int send_all(int fd, const char *bytes, size_t len, const int *fds, size_t fds_len,
                    struct err *err)
{
    char space[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec left = {(char *)bytes, len};
    struct msghdr message = {.msg_iov = &left, .msg_iovlen = 1};

    if (fds_len > CONTROL_FDS_MAX)
        return err_set(err, -EINVAL, "at most %d descriptors go with a request", CONTROL_FDS_MAX);
    if (fds_len) {
        struct cmsghdr *head = (struct cmsghdr *)space;

        message.msg_control = space;
        message.msg_controllen = CMSG_SPACE(fds_len * sizeof(int));
        *head = (struct cmsghdr){.cmsg_len = CMSG_LEN(fds_len * sizeof(int)),
                                 .cmsg_level = SOL_SOCKET,
                                 .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(head), fds, fds_len * sizeof(int));
    }
    while (left.iov_len) {
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 0;
        if (n < 0)
            return err_sys(err, -errno, "asking the agent");
        left.iov_base = (char *)left.iov_base + n;
        left.iov_len -= (size_t)n;
        message.msg_control = NULL; /* went with the first byte */
        message.msg_controllen = 0;
    }
    return 0;
}

static int send_request(int fd, json_t *request, const int *fds, size_t fds_len, struct err *err)
{
    CLEANUP(text_free) char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    size_t len = text ? strlen(text) : 0;

    json_decref(request);
    if (!text)
        return err_set(err, -EINVAL, "a request that is no text: strange bytes in a name?");
    text[len] = '\n'; /* in place of the closing NUL */
    return send_all(fd, text, len + 1, fds, fds_len, err);
}

int client_call(struct client *client, json_t *request, const int *fds, size_t len, json_t **answer,
                struct err *err)
{
    json_t *line = NULL;
    const char *refusal;
    int result = send_request(client->fd, request, fds, len, err);

    if (result == 0)
        result = client_read_line(client, CLIENT_PATIENCE_MS, &line, err);
    if (result < 0)
        return result;
    if (result == 0)
        return err_set(err, -EPIPE, "the agent ended before it answered");
    refusal = json_string_value(json_object_get(line, "error"));
    if (refusal)
        result = err_set(err, -EREMOTEIO, "%s", refusal);
    else if (!json_is_true(json_object_get(line, "ok")))
        result = err_set(err, -EPROTO, "an answer that is neither 'ok' nor 'error'");
    else
        *answer = json_incref(line);
    json_decref(line);
    return result < 0 ? result : 0;
}

/* 1: more bytes; 0: the end. */
static int read_more(struct client *client, int ms, struct err *err)
{
    struct pollfd readable = {.fd = client->fd, .events = POLLIN};
    ssize_t n;
    int ready;

    if (client->at) {
        memmove(client->data, client->data + client->at, client->len - client->at);
        client->len -= client->at;
        client->at = 0;
    }
    if (client->len + CHUNK > client->size) {
        size_t size = client->size ? client->size * 2 : (size_t)CHUNK * 2;
        char *grown = size <= LINE_MAX_BYTES ? realloc(client->data, size) : NULL;

        if (!grown)
            return err_set(err, -EMSGSIZE, "the agent's answer is too long");
        client->data = grown;
        client->size = size;
    }
    do
        ready = poll(&readable, 1, ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return err_set(err, -ETIMEDOUT, "the agent has not answered for %d s", ms / 1000);
    do
        n = recv(client->fd, client->data + client->len, CHUNK, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != ECONNRESET) /* which is an end, with bytes of ours unread */
        return err_sys(err, -errno, "the agent's answer");
    client->len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

int client_read_line(struct client *client, int ms, json_t **line, struct err *err)
{
    size_t seen = client->at;
    json_error_t fault;
    char *end;

    while (!(end = client->len > seen ? memchr(client->data + seen, '\n', client->len - seen)
                                      : NULL)) {
        size_t behind = client->len - client->at;
        int result = read_more(client, ms, err);

        if (result < 0)
            return result;
        if (result == 0 && behind)
            return err_set(err, -EPIPE, "the agent ended within a line");
        if (result == 0)
            return 0;
        seen = client->at + behind;
    }
    *line = json_loadb(client->data + client->at, (size_t)(end - client->data) - client->at,
                       JSON_REJECT_DUPLICATES, &fault);
    client->at = (size_t)(end - client->data) + 1;
    if (!*line)
        return err_set(err, -EPROTO, "the agent's answer is no JSON: %s", fault.text);
    return 1;
}
