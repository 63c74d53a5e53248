#include "proxy/doors/origin.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "bpf/abi.h"
#include "proxy/keeper/keeper.h"
#include "proxy/keeper/pins.h"
#include "sallyport.skel.h"

/* By SO_PEERNAME, because getpeername() says ENOTCONN of a connection that was reset in the queue,
 * and its record is to be taken as well. It fails unless it can fill the length asked for. */
int origin_peer(int accepted_fd, struct addr *peer)
{
    struct sockaddr_storage name = {0};
    socklen_t len6 = sizeof(struct sockaddr_in6), len4 = sizeof(struct sockaddr_in);

    if (getsockopt(accepted_fd, SOL_SOCKET, SO_PEERNAME, &name, &len6) < 0 &&
        getsockopt(accepted_fd, SOL_SOCKET, SO_PEERNAME, &name, &len4) < 0)
        return -errno;
    return addr_from_sockaddr(&name, peer) ? 0 : -EAFNOSUPPORT;
}

int origin_local(int accepted_fd, struct addr *local)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);

    if (getsockname(accepted_fd, (struct sockaddr *)&name, &len) < 0)
        return -errno;
    return addr_from_sockaddr(&name, local) ? 0 : -EAFNOSUPPORT;
}

/* Between which addresses the accepted socket is, as sockops filed it. */
static int key_of(int accepted_fd, struct abi_tuple *key, struct addr *src, struct err *err)
{
    socklen_t len = sizeof(key->netns_cookie);
    struct addr local;
    int code = origin_peer(accepted_fd, src);

    if (code == 0)
        code = origin_local(accepted_fd, &local);
    if (code < 0)
        return err_sys(err, code, "addresses of an accepted connection");
    if (getsockopt(accepted_fd, SOL_SOCKET, SO_NETNS_COOKIE, &key->netns_cookie, &len) < 0)
        return err_sys(err, -errno, "network namespace of an accepted connection");
    memcpy(key->ip, src->ip, sizeof(key->ip));
    memcpy(key->local, local.ip, sizeof(key->local));
    key->port = src->port;
    return 0;
}

void origin_from(const struct abi_origin *filed, const struct addr *src, struct origin *out)
{
    static const uint8_t unbound[16];
    struct origin origin = {.src = *src};

    memcpy(origin.dst.ip, filed->ip, sizeof(origin.dst.ip));
    origin.dst.port = filed->port;
    origin.has_bound = memcmp(filed->bound, unbound, sizeof(unbound)) != 0;
    memcpy(origin.bound.ip, filed->bound, sizeof(origin.bound.ip));
    origin.cookie = filed->cookie;
    origin.pod = filed->pod;
    origin.cgroup = filed->cgroup;
    origin.netns_cookie = filed->netns_cookie;
    origin.start_ns = filed->start_ns;
    origin.time_ns = filed->time_ns;
    origin.pid = filed->pid;
    *out = origin;
}

int origin_take(struct sallyport_bpf *bpf, int accepted_fd, struct origin *out, struct err *err)
{
    return origin_take_from(bpf_map__fd(bpf->maps.origins), accepted_fd, out, err);
}

int origin_take_from(int origins_fd, int accepted_fd, struct origin *out, struct err *err)
{
    struct abi_tuple key = {0};
    struct abi_origin filed;
    struct addr src = {.port = 0};
    char text[ADDR_TEXT_MAX];
    int code = key_of(accepted_fd, &key, &src, err);

    if (code < 0)
        return code;
    code = bpf_map_lookup_and_delete_elem(origins_fd, &key, &filed);
    if (code == -ENOENT)
        return err_set(err, -ENOENT, "%s dialled our listener itself", addr_format(&src, text));
    if (code < 0)
        return err_sys(err, code, "origin of %s", addr_format(&src, text));
    origin_from(&filed, &src, out);
    return 0;
}

static int asker_in(int askers_fd, const struct abi_tuple *key, struct origin *out, struct err *err)
{
    struct abi_origin filed;
    struct addr src = {.port = key->port};
    int code = bpf_map_lookup_elem(askers_fd, key, &filed);

    if (code < 0)
        return err_sys(err, code, "who sent a datagram to our listener");
    memcpy(src.ip, key->ip, sizeof(src.ip));
    origin_from(&filed, &src, out);
    return 0;
}

void origin_forget_asker(struct sallyport_bpf *bpf, const struct abi_tuple *key)
{
    bpf_map_delete_elem(bpf_map__fd(bpf->maps.askers), key);
}

int origin_take_kept(struct keeper *keeper, int accepted_fd, struct origin *out)
{
    const struct pins_older *older;
    int code = origin_take(keeper_bpf(keeper), accepted_fd, out, NULL);

    for (size_t i = 0; code < 0 && (older = keeper_older(keeper, i)); i++)
        code = origin_take_from(older->origins_fd, accepted_fd, out, NULL);
    return code;
}

int origin_of_asker(struct keeper *keeper, const struct abi_tuple *key, struct origin *out,
                    struct err *err)
{
    const struct pins_older *older;
    int code = asker_in(bpf_map__fd(keeper_bpf(keeper)->maps.askers), key, out, err);

    for (size_t i = 0; code < 0 && (older = keeper_older(keeper, i)); i++)
        code = asker_in(older->askers_fd, key, out, err);
    return code;
}
