#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "proxy/keeper/diag.h"
#include "proxy/probe/tries.h"

/* In a mount namespace of our own, so that a mount there is no one else's. */
const char probe_pin_dir[] = "/run";

/* bpf(2) takes CAP_SYS_ADMIN for CAP_BPF and CAP_PERFMON. */
int try_capabilities(struct bed *bed, const struct trial *trial, struct err *err)
{
    static const struct {
        const char *name;
        unsigned number, instead;
    } wanted[] = {
        {"CAP_SYS_ADMIN", CAP_SYS_ADMIN, CAP_SYS_ADMIN},
        {"CAP_NET_ADMIN", CAP_NET_ADMIN, CAP_NET_ADMIN},
        {"CAP_BPF", CAP_BPF, CAP_SYS_ADMIN},
        {"CAP_PERFMON", CAP_PERFMON, CAP_SYS_ADMIN},
    };
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    uint64_t has;
    char lacks[128] = "";
    size_t at = 0;

    (void)bed;
    (void)trial;
    if (syscall(SYS_capget, &header, data) < 0)
        return err_sys(err, -errno, "capget");
    has = data[0].effective | (uint64_t)data[1].effective << 32;
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        if (!(has >> wanted[i].number & 1) && !(has >> wanted[i].instead & 1))
            at += (size_t)snprintf(lacks + at, sizeof(lacks) - at, " %s", wanted[i].name);
    if (at)
        return err_set(err, -EPERM, "lacks%s", lacks);
    return err_set(err, 0, "CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON");
}

int try_mount_namespace(struct bed *bed, const struct trial *trial, struct err *err)
{
    (void)trial;
    if (unshare(CLONE_NEWNS) < 0)
        return err_sys(err, -errno, "unshare");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_sys(err, -errno, "keeping mounts to ourselves");
    bed->mounts = true;
    return err_set(err, 0, "made one");
}

static int raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    CLEANUP(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* There, back and there again, as the keeper does. */
int try_net_namespace(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(fd_close) int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    CLEANUP(fd_close) int new = -1;
    int code;

    (void)trial;
    if (old < 0)
        return err_sys(err, -errno, "/proc/self/ns/net");
    if (unshare(CLONE_NEWNET) < 0)
        return err_sys(err, -errno, "unshare");
    new = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (new < 0 || setns(old, CLONE_NEWNET) < 0 || setns(new, CLONE_NEWNET) < 0)
        return err_sys(err, -errno, "setns");
    code = raise_loopback();
    if (code < 0)
        return err_sys(err, code, "bringing up its lo");
    bed->net = true;
    return err_set(err, 0, "made one, left it and entered it");
}

/* Our process enters and leaves, as commands must be able to; where it may not come back, it stays
 * there till its end. */
static int enter(const char *cgroup)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
    CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd < 0 || write(fd, "0", 1) < 0 ? -errno : 0;
}

int try_cgroup(struct bed *bed, const struct trial *trial, struct err *err)
{
    int code;

    (void)trial;
    if (!bed->own_cgroup[0])
        return err_set(err, -ENOENT, "%s", bed->no_cgroup->text);
    if (mkdir(bed->cgroup, 0755) < 0)
        return err_sys(err, -errno, "making one in %s", bed->own_cgroup);
    code = enter(bed->cgroup);
    if (code < 0)
        return err_sys(err, code, "entering one made in %s", bed->own_cgroup);
    enter(bed->own_cgroup);
    bed->cgroup_fd = open(bed->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (bed->cgroup_fd < 0)
        return err_sys(err, -errno, "%s", bed->cgroup);
    return err_set(err, 0, "made one in %s", bed->own_cgroup);
}

int try_bpffs(struct bed *bed, const struct trial *trial, struct err *err)
{
    (void)trial;
    if (!bed->mounts)
        return err_set(err, -EPERM, "not tried without a mount namespace");
    if (mount("bpf", probe_pin_dir, "bpf", 0, "mode=0700") < 0)
        return err_sys(err, -errno, "mounting one");
    bed->pins = true;
    return err_set(err, 0, "mounted one");
}

/* ---- sockets ---- */

void pair_close(struct pair *pair)
{
    fd_close(&pair->client);
    fd_close(&pair->server);
}

int pair_open(struct pair *out, const struct bed *bed, int family, struct err *err)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in at4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = family == AF_INET ? sizeof(at4) : sizeof(at);
    CLEANUP(pair_close) struct pair pair = NO_PAIR;

    if (!bed->net)
        return err_set(err, -EPERM, "not tried without a network namespace");
    if (family == AF_INET)
        memcpy(&at, &at4, sizeof(at4));
    CLEANUP(fd_close) int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    pair.client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || pair.client < 0)
        return err_sys(err, -errno, "making a socket");
    if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) < 0 ||
        connect(pair.client, (struct sockaddr *)&at, len) < 0)
        return err_sys(err, -errno, "connecting over loopback");
    pair.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (pair.server < 0)
        return err_sys(err, -errno, "accepting over loopback");
    out->client = fd_take(&pair.client);
    out->server = fd_take(&pair.server);
    return 0;
}

int try_ipv6(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(pair_close) struct pair pair = NO_PAIR;
    int code = pair_open(&pair, bed, AF_INET6, err);

    (void)trial;
    return code < 0 ? code : err_set(err, 0, "connected to ::1");
}

static int read_option(const struct bed *bed, int option, void *value, socklen_t len,
                       struct err *err)
{
    CLEANUP(pair_close) struct pair pair = NO_PAIR;
    int code = pair_open(&pair, bed, AF_INET, err);

    if (code < 0)
        return code;
    if (getsockopt(pair.server, SOL_SOCKET, option, value, &len) < 0)
        return err_sys(err, -errno, "getsockopt");
    return err_set(err, 0, "read of an accepted socket");
}

int try_netns_cookie(struct bed *bed, const struct trial *trial, struct err *err)
{
    uint64_t cookie;

    (void)trial;
    return read_option(bed, SO_NETNS_COOKIE, &cookie, sizeof(cookie), err);
}

int try_peer_name(struct bed *bed, const struct trial *trial, struct err *err)
{
    struct sockaddr_in peer;

    (void)trial;
    return read_option(bed, SO_PEERNAME, &peer, sizeof(peer), err);
}

/* ---- connections by sock_diag ---- */

struct search {
    uint64_t cookie;
    struct diag_socket found; /* cookie 0: it was not */
};

static void compare(void *arg, const struct diag_socket *socket)
{
    struct search *search = arg;

    if (socket->cookie == search->cookie)
        search->found = *socket;
}

/* One of a pair of ours. */
static int find_connection(struct search *search, int diag, int fd, struct err *err)
{
    socklen_t len = sizeof(search->cookie);
    struct diag_request request;
    uint8_t answer[32768];
    bool done = false;
    int code = 0;

    diag_ask_all(&request, AF_INET);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &search->cookie, &len) < 0 ||
        send(diag, &request, sizeof(request), 0) < 0)
        return err_sys(err, -errno, "asking for connections");
    while (code == 0 && !done) {
        ssize_t n = recv(diag, answer, sizeof(answer), 0);

        if (n < 0)
            return err_sys(err, -errno, "the list of connections");
        code = diag_take(span_of(answer, (size_t)n), compare, search, &done, err);
    }
    if (code == 0 && !search->found.cookie)
        code = err_set(err, -ENOENT, "a connection of ours is not listed");
    return code;
}

static int search_pair(const struct bed *bed, struct pair *pair, int *diag, struct search *search,
                       struct err *err)
{
    int code = pair_open(pair, bed, AF_INET, err);

    if (code < 0)
        return code;
    *diag = diag_open();
    if (*diag < 0)
        return err_sys(err, *diag, "a socket for it");
    return find_connection(search, *diag, pair->client, err);
}

int try_sock_diag(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(pair_close) struct pair pair = NO_PAIR;
    CLEANUP(fd_close) int diag = -1;
    struct search search = {0};
    int code = search_pair(bed, &pair, &diag, &search, err);

    (void)trial;
    return code < 0 ? code : err_set(err, 0, "it lists connections");
}

int try_sock_destroy(struct bed *bed, const struct trial *trial, struct err *err)
{
    CLEANUP(pair_close) struct pair pair = NO_PAIR;
    CLEANUP(fd_close) int diag = -1;
    struct search search = {0};
    int code = search_pair(bed, &pair, &diag, &search, err);

    (void)trial;
    if (code == 0) {
        code = diag_end(diag, &search.found);
        if (code < 0)
            err_sys(err, code, "ending a connection");
    }
    return code < 0 ? code : err_set(err, 0, "a connection was ended");
}
