#include "proxy/keeper/fd_store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "proxy/notify.h"

enum {
    FIRST_FD = 3, /* of those that systemd passes */
    PASSED_MAX = 65536,
};

/* ---- names ---- */

_Static_assert(FD_STORE_PARTS <= 'Z' - 'A' + 1, "a letter a part");

void fd_store_name(char out[FD_STORE_NAME_MAX], uint64_t cookie, unsigned int part)
{
    snprintf(out, FD_STORE_NAME_MAX, "%" PRIx64 "%c", cookie, (char)('A' + part));
}

static bool take_digit(uint64_t *number, uint8_t digit)
{
    bool decimal = digit >= '0' && digit <= '9';

    if (!decimal && (digit < 'a' || digit > 'f'))
        return false;
    *number = *number << 4 | (uint64_t)(decimal ? digit - '0' : digit - 'a' + 10);
    return true;
}

bool fd_store_parse(struct span name, uint64_t *cookie, unsigned int *part)
{
    size_t digits = name.len - 1;
    uint64_t number = 0;

    if (name.len < 2 || name.len >= FD_STORE_NAME_MAX || name.data[0] == '0' ||
        name.data[digits] < 'A' || name.data[digits] >= 'A' + FD_STORE_PARTS)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (!take_digit(&number, name.data[i]))
            return false;
    *cookie = number;
    *part = name.data[digits] - 'A';
    return true;
}

/* ---- what systemd keeps ---- */

static int store(uint64_t cookie, unsigned int part, int fd)
{
    char name[FD_STORE_NAME_MAX];

    fd_store_name(name, cookie, part);
    return fd < 0 ? 0 : notify_store(name, fd);
}

void fd_store_add(uint64_t cookie, int netns_fd, const struct listeners *listeners)
{
    struct listeners copy = *listeners;
    int *places[KEEPER_WIRE_LISTENERS], code = 0;

    keeper_wire_listeners(&copy, places);
    for (unsigned int i = 0; code == 0 && i < KEEPER_WIRE_LISTENERS; i++)
        code = store(cookie, i, *places[i]);
    if (code == 0)
        code = store(cookie, FD_STORE_NETNS, netns_fd);
    if (code < 0)
        log_warn("having systemd keep the listeners of network namespace %" PRIu64 ": %s", cookie,
                 strerror(-code));
}

void fd_store_remove(uint64_t cookie)
{
    char name[FD_STORE_NAME_MAX];
    int code = 0;

    for (unsigned int part = FD_STORE_PARTS; code == 0 && part-- > 0;) {
        fd_store_name(name, cookie, part);
        code = notify_unstore(name);
    }
    if (code < 0)
        log_warn("having systemd close the listeners of network namespace %" PRIu64 ": %s", cookie,
                 strerror(-code));
}

/* ---- what it kept ---- */

static int option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static bool is_socket_of(int fd, unsigned int part, uint64_t cookie)
{
    static const struct {
        unsigned int first;
        int type, protocol4, protocol6;
    } kinds[] = {
        {0, SOCK_STREAM, IPPROTO_TCP, IPPROTO_TCP},
        {2, SOCK_DGRAM, IPPROTO_UDP, IPPROTO_UDP},
        {KEEPER_WIRE_LISTENERS - 4, SOCK_RAW, IPPROTO_ICMP, IPPROTO_ICMPV6},
        {KEEPER_WIRE_LISTENERS - 2, SOCK_RAW, IPPROTO_RAW, IPPROTO_RAW},
    };
    bool v6 = part % 2;
    size_t kind = ARRAY_SIZE(kinds) - 1;
    uint64_t home = 0;
    socklen_t len = sizeof(home);

    while (kinds[kind].first > part)
        kind--;
    return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &home, &len) == 0 && home == cookie &&
           option(fd, SO_DOMAIN) == (v6 ? AF_INET6 : AF_INET) &&
           option(fd, SO_TYPE) == kinds[kind].type &&
           option(fd, SO_PROTOCOL) == (v6 ? kinds[kind].protocol6 : kinds[kind].protocol4) &&
           option(fd, SO_ACCEPTCONN) == (kinds[kind].type == SOCK_STREAM);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in6 at = {0}; /* the port is at the same place by both families */
    socklen_t len = sizeof(at);

    return getsockname(fd, (struct sockaddr *)&at, &len) < 0 ? 0 : ntohs(at.sin6_port);
}

static bool has_one_port(struct listener *listener)
{
    listener->port = port_of(listener->v4);
    return listener->port && (listener->v6 < 0 || port_of(listener->v6) == listener->port);
}

/* That netns_fd is the very namespace that the socket is in. */
static bool is_home_of(int socket_fd, int netns_fd)
{
    CLEANUP(fd_close) int home = ioctl(socket_fd, SIOCGSKNS);
    struct stat a, b;

    return home >= 0 && fstat(home, &a) == 0 && fstat(netns_fd, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* IPv6 and raw sockets are not to be had everywhere. */
bool fd_store_is_whole(uint64_t cookie, const int fds[FD_STORE_PARTS], struct listeners *out)
{
    int *places[KEEPER_WIRE_LISTENERS];

    listeners_init(out);
    keeper_wire_listeners(out, places);
    for (unsigned int i = 0; i < KEEPER_WIRE_LISTENERS; i++) {
        if (fds[i] >= 0 && !is_socket_of(fds[i], i, cookie))
            return false;
        *places[i] = fds[i];
    }
    for (size_t i = 0; i < ABI_PEERS; i++)
        if (!has_one_port(&out->datagram[i]))
            return false;
    return has_one_port(&out->stream) && is_home_of(out->stream.v4, fds[FD_STORE_NETNS]);
}

struct kept {
    uint64_t cookie;
    unsigned int part;
    int fd;
    bool given; /* with its whole namespace */
};

struct fd_store_kept {
    size_t len;
    struct kept each[];
};

static int by_cookie(const void *a, const void *b)
{
    const struct kept *one = a, *other = b;

    return one->cookie < other->cookie ? -1 : one->cookie > other->cookie;
}

static void unstore(struct span name)
{
    char text[256];

    if (name.len && span_to_text(name, text, sizeof(text)))
        notify_unstore(text);
}

static size_t number_in(const char *variable)
{
    const char *text = getenv(variable);

    return text ? strtoul(text, NULL, 10) : 0;
}

/* Takes in those with names of ours, of `passed` for which there is room, and closes the others. */
static void sort(struct fd_store_kept *kept, size_t passed, const char *names)
{
    for (size_t i = 0; i < passed; i++) {
        struct span name = span_of(names, strcspn(names, ":"));
        struct kept *next = &kept->each[kept->len];
        int fd = FIRST_FD + (int)i;

        names += name.len + (names[name.len] == ':');
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            continue; /* nobody passed it */
        if (fd_store_parse(name, &next->cookie, &next->part)) {
            next->fd = fd;
            kept->len++;
            continue;
        }
        unstore(name);
        fd_close(&fd);
    }
    qsort(kept->each, kept->len, sizeof(kept->each[0]), by_cookie);
    if (kept->len < passed)
        log_warn("%zu descriptors that were passed to us are none of ours: closed",
                 passed - kept->len);
}

struct fd_store_kept *fd_store_take(void)
{
    size_t passed = number_in("LISTEN_PID") == (size_t)getpid() ? number_in("LISTEN_FDS") : 0;
    const char *names = getenv("LISTEN_FDNAMES");
    struct fd_store_kept *kept = NULL;

    if (passed && passed <= PASSED_MAX)
        kept = calloc(1, sizeof(*kept) + passed * sizeof(kept->each[0]));
    if (kept)
        sort(kept, passed, names ? names : "");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return kept;
}

void fd_store_free(struct fd_store_kept **kept)
{
    for (size_t i = 0; *kept && i < (*kept)->len; i++)
        fd_close(&(*kept)->each[i].fd);
    free(TAKE(*kept));
}

/* All parts of the first one's namespace; returns how many. One of them may have come twice. */
static size_t group(const struct kept *each, size_t len, int fds[FD_STORE_PARTS])
{
    size_t n = 0;

    for (size_t i = 0; i < FD_STORE_PARTS; i++)
        fds[i] = -1;
    while (n < len && each[n].cookie == each->cookie) {
        if (fds[each[n].part] < 0)
            fds[each[n].part] = each[n].fd;
        n++;
    }
    return n;
}

void fd_store_give(struct fd_store_kept *kept,
                   int (*give)(void *arg, uint64_t cookie, int netns_fd,
                               const struct listeners *listeners),
                   void *arg)
{
    size_t in_vain = 0;

    for (size_t i = 0, n; kept && i < kept->len; i += n) {
        struct listeners listeners;
        int fds[FD_STORE_PARTS];
        uint64_t cookie = kept->each[i].cookie;
        bool whole, given;

        n = group(kept->each + i, kept->len - i, fds);
        whole = fd_store_is_whole(cookie, fds, &listeners);
        if (!whole)
            fd_store_remove(cookie);
        given = whole && give(arg, cookie, fds[FD_STORE_NETNS], &listeners) == 0;
        in_vain += !given;
        for (size_t j = i; j < i + n; j++)
            kept->each[j].given = given;
    }
    if (in_vain)
        log_warn("%zu network namespaces, as systemd kept them, are of no use: closed", in_vain);
}

bool fd_store_lacks(const struct fd_store_kept *kept, uint64_t cookie)
{
    for (size_t i = 0; kept && i < kept->len; i++)
        if (kept->each[i].cookie == cookie)
            return !kept->each[i].given;
    return number_in("SYSTEMD_EXEC_PID") == (size_t)getpid();
}
