#include "proxy/keeper/keeper_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "proxy/keeper/keeper_io.h"
#include "proxy/keeper/keeper_process.h"

enum {
    ANSWER_SECONDS = 5,
    /* While pods' connects may have to wait for it: as long as for a SYN that was lost. */
    HASTE_SECONDS = 1,
};

/* ---- questions and answers ---- */

static int wait_at_most(int fd, time_t seconds)
{
    const struct timeval patience = {.tv_sec = seconds};

    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
                   setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0
               ? -errno
               : 0;
}

static int lost(struct keeper_client *client)
{
    keeper_client_close(client);
    return -EPIPE;
}

static int receive(struct keeper_client *client, struct keeper_parcel *answer)
{
    int code = keeper_receive(client->fd, answer);

    client->silent = code == -EAGAIN;
    return code;
}

/* On 0 there is an answer, which may say that it failed. */
static int ask(struct keeper_client *client, const struct keeper_message *message, const int *fds,
               struct keeper_parcel *answer)
{
    if (client->fd < 0)
        return -EPIPE;
    if (keeper_send(client->fd, message, fds) < 0 || receive(client, answer) < 0)
        return lost(client);
    if (!answer->message.answer || answer->message.verb != message->verb) {
        keeper_parcel_fini(answer);
        return lost(client);
    }
    return 0;
}

static int ask_for_nothing(struct keeper_client *client, const struct keeper_message *message,
                           const int *fds)
{
    struct keeper_parcel answer;
    int code = ask(client, message, fds, &answer);

    return code < 0 ? code : answer.message.code;
}

int keeper_client_add(struct keeper_client *client, int netns_fd, uint64_t *cookie,
                      struct listeners *out, struct err *err)
{
    const struct keeper_message message = {.verb = KEEPER_ADD, .cookie = *cookie};
    struct keeper_parcel answer;
    int code = ask(client, &message, &netns_fd, &answer);

    if (code < 0)
        return err_set(err, code, "the keeper is gone");
    if (answer.message.code < 0)
        return err_set(err, answer.message.code, "%s", answer.message.text);
    *cookie = answer.message.cookie;
    keeper_wire_take(&answer.message, answer.fds, out);
    return 0;
}

int keeper_client_give(struct keeper_client *client, uint64_t cookie, int netns_fd,
                       const struct listeners *listeners)
{
    struct keeper_message message = {.verb = KEEPER_GIVE, .cookie = cookie};
    int fds[1 + KEEPER_WIRE_LISTENERS] = {netns_fd};

    keeper_wire_put(&message, listeners, fds + 1);
    return ask_for_nothing(client, &message, fds);
}

int keeper_client_remove(struct keeper_client *client, uint64_t cookie)
{
    const struct keeper_message message = {.verb = KEEPER_REMOVE, .cookie = cookie};

    return ask_for_nothing(client, &message, NULL);
}

int keeper_client_next(struct keeper_client *client, uint64_t *cookie, int *netns_fd,
                       struct listeners *out)
{
    const struct keeper_message message = {.verb = KEEPER_NEXT, .cookie = *cookie};
    struct keeper_parcel answer;
    int code = ask(client, &message, NULL, &answer);

    if (code < 0 || answer.message.code < 0)
        return code < 0 ? code : answer.message.code;
    *cookie = answer.message.cookie;
    *netns_fd = answer.fds[0];
    keeper_wire_take(&answer.message, answer.fds + 1, out);
    return 0;
}

size_t keeper_client_sockets(struct keeper_client *client, uint64_t cookie, enum inside_kind kind,
                             int *fds, size_t wanted, int *code)
{
    const struct keeper_message message = {
        .verb = KEEPER_SOCKETS,
        .cookie = cookie,
        .kind = kind,
        .count = (uint32_t)(wanted < KEEPER_WIRE_FDS_MAX ? wanted : KEEPER_WIRE_FDS_MAX),
    };
    struct keeper_parcel answer;

    *code = ask(client, &message, NULL, &answer);
    if (*code < 0)
        return 0;
    if (answer.message.code < 0 || answer.message.count > wanted) {
        *code = answer.message.code < 0 ? answer.message.code : lost(client);
        keeper_parcel_fini(&answer);
        return 0;
    }
    memcpy(fds, answer.fds, answer.message.count * sizeof(*fds));
    return answer.message.count;
}

int keeper_client_end(struct keeper_client *client)
{
    const struct keeper_message message = {.verb = KEEPER_END};
    int code = ask_for_nothing(client, &message, NULL);
    struct pollfd gone = {.fd = client->fd, .events = POLLIN};

    if (code == 0)
        poll(&gone, 1, ANSWER_SECONDS * 1000);
    keeper_client_close(client);
    return code;
}

void keeper_client_make_haste(struct keeper_client *client)
{
    if (client->fd >= 0)
        wait_at_most(client->fd, HASTE_SECONDS);
}

void keeper_client_close(struct keeper_client *client)
{
    fd_close(&client->fd);
}

/* ---- finding it, or starting one ---- */

static int place(const char *runtime_dir, const char *name, struct sockaddr_un *out,
                 struct err *err)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (snprintf(out->sun_path, sizeof(out->sun_path), "%s/%s", runtime_dir, name) >=
        (int)sizeof(out->sun_path))
        return err_set(err, -ENAMETOOLONG, "%s: too long a name for the keeper's socket",
                       runtime_dir);
    return 0;
}

static int dial(const struct sockaddr_un *at, int *out)
{
    CLEANUP(fd_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0 || wait_at_most(fd, ANSWER_SECONDS) < 0 ||
        connect(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
        return -errno;
    *out = fd_take(&fd);
    return 0;
}

/* It begins with no signal blocked or ignored, and in its stdin's place has the socket it accepts
 * at: so whoever dials from now on waits for it, and need not know when it is ready. It forks and
 * leaves its own session to be nobody's child (keeper_process.c). */
static int spawn(int listener, const char *path, struct err *err)
{
    char *argv[] = {(char *)"sallyport", (char *)"keeper", (char *)path, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int code, status = 0;
    pid_t child;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    code = posix_spawn_file_actions_adddup2(&files, listener, STDIN_FILENO);
    if (code == 0)
        code = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_RDWR, 0);
    if (code == 0) {
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        code = posix_spawn(&child, "/proc/self/exe", &files, &attributes, argv, environ);
    }
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (code)
        return err_sys(err, -code, "starting the keeper");
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return status ? err_set(err, -ECHILD, "the keeper did not start") : 0;
}

/* The socket's name is there only when somebody listens behind it. */
static int start(const struct sockaddr_un *at, const char *runtime_dir, struct err *err)
{
    CLEANUP(fd_close) int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct sockaddr_un fresh;
    int code = place(runtime_dir, "keeper.new", &fresh, err);

    if (code < 0)
        return code;
    if (listener < 0)
        return err_sys(err, -errno, "the keeper's socket");
    unlink(fresh.sun_path);
    if (bind(listener, (struct sockaddr *)&fresh, sizeof(fresh)) < 0 ||
        chmod(fresh.sun_path, 0600) < 0 || listen(listener, KEEPER_AGENTS_MAX) < 0 ||
        rename(fresh.sun_path, at->sun_path) < 0)
        return err_sys(err, -errno, "%s", at->sun_path);
    return spawn(listener, at->sun_path, err);
}

static int say_hello(struct keeper_client *client, int hold_until_fd)
{
    const struct keeper_message hello = {.verb = KEEPER_HELLO};

    return ask_for_nothing(client, &hello, &hold_until_fd);
}

int keeper_client_open(struct keeper_client *client, const char *runtime_dir, int hold_until_fd,
                       struct err *err)
{
    struct sockaddr_un at;
    int code = place(runtime_dir, "keeper.sock", &at, err);

    if (code < 0)
        return code;
    keeper_client_close(client);
    if (!client->silent && dial(&at, &client->fd) == 0 && say_hello(client, hold_until_fd) == 0)
        return 0;
    keeper_client_close(client);
    code = start(&at, runtime_dir, err);
    if (code < 0)
        return code;
    code = dial(&at, &client->fd);
    if (code == 0)
        code = say_hello(client, hold_until_fd);
    if (code < 0)
        return err_sys(err, code, "the keeper at %s", at.sun_path);
    return 0;
}
