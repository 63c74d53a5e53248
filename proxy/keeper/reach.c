#include "proxy/keeper/reach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/addr.h"
#include "bpf/abi.h"
#include "sallyport.skel.h"

static struct abi_own own_key(const struct reach *reach, const struct net_address *address)
{
    struct abi_own key = {.netns_cookie = reach->netns_cookie};

    memcpy(key.ip, address->ip, sizeof(key.ip));
    return key;
}

static bool is_among(const struct net_view *view, const uint8_t ip[16])
{
    for (size_t i = 0; i < view->own_len; i++)
        if (memcmp(view->own[i].ip, ip, sizeof(view->own[i].ip)) == 0)
            return true;
    return false;
}

static int tell_own(const struct reach *reach, int map_fd, const struct net_view *view,
                    struct err *err)
{
    const uint8_t present = 1;

    for (size_t i = 0; i < view->own_len; i++) {
        struct abi_own key = own_key(reach, &view->own[i]);
        int code = bpf_map_update_elem(map_fd, &key, &present, BPF_ANY);
        struct addr addr = {0};
        char text[ADDR_TEXT_MAX];

        memcpy(addr.ip, key.ip, sizeof(addr.ip));
        if (code < 0)
            return err_sys(err, code, "telling the kernel that %s is a pod's own address",
                           addr_format_ip(&addr, text));
    }
    return 0;
}

static void forget_own(const struct reach *reach, int map_fd, const struct net_view *but)
{
    for (size_t i = 0; i < reach->view.own_len; i++) {
        struct abi_own key = own_key(reach, &reach->view.own[i]);

        if (!is_among(but, reach->view.own[i].ip))
            bpf_map_delete_elem(map_fd, &key);
    }
}

static int tell_net(const struct reach *reach, int map_fd, const struct net_view *view,
                    struct err *err)
{
    const struct listeners *listeners = reach->listeners;
    struct abi_net net = {.port = listeners->stream.port};
    int code;

    for (size_t i = 0; i < ABI_PEERS; i++)
        net.datagram_ports[i] = listeners->datagram[i].port;
    net_view_source4(view, net.source4);
    net_view_source6(view, net.source6);
    if (view->way4.reaches)
        net.flags |= ABI_NET_ROUTE4;
    if (view->way6.reaches && listeners->stream.v6 >= 0)
        net.flags |= ABI_NET_ROUTE6;
    code = bpf_map_update_elem(map_fd, &reach->netns_cookie, &net, BPF_ANY);
    if (code < 0)
        return err_sys(err, code, "telling the kernel our listener (there is room for %d)",
                       ABI_NETS_MAX);
    return 0;
}

/* New addresses first, gone ones last: at no time is an own address taken for a distant one. */
int reach_tell(struct reach *reach, struct sallyport_bpf *bpf, struct net_view *view,
               struct err *err)
{
    int own_fd = bpf_map__fd(bpf->maps.own);
    int code = tell_own(reach, own_fd, view, err);

    if (code == 0)
        code = tell_net(reach, bpf_map__fd(bpf->maps.nets), view, err);
    if (code < 0)
        return code;
    forget_own(reach, own_fd, view);
    net_view_fini(&reach->view);
    reach->view = *view;
    *view = (struct net_view){0};
    return 0;
}

/* Of a map whose keys begin with the namespace's cookie. */
static void forget_keys(int map_fd, bool (*is_to_go)(const void *arg, const void *key),
                        const void *arg)
{
    union {
        struct abi_tuple tuple;
        struct abi_own own;
        uint64_t netns_cookie;
    } key, next;
    int code = bpf_map_get_next_key(map_fd, NULL, &next);

    while (code == 0) {
        key = next;
        code = bpf_map_get_next_key(map_fd, &key, &next); /* before the key it starts from goes */
        if (is_to_go(arg, &key))
            bpf_map_delete_elem(map_fd, &key);
    }
}

static bool is_of(const void *arg, const void *key)
{
    const struct reach *reach = arg;

    return *(const uint64_t *)key == reach->netns_cookie;
}

void reach_forget(struct reach *reach, struct sallyport_bpf *bpf)
{
    static const struct net_view nothing;

    bpf_map_delete_elem(bpf_map__fd(bpf->maps.nets), &reach->netns_cookie);
    forget_own(reach, bpf_map__fd(bpf->maps.own), &nothing);
    forget_keys(bpf_map__fd(bpf->maps.origins), is_of, reach);
    forget_keys(bpf_map__fd(bpf->maps.askers), is_of, reach);
    net_view_fini(&reach->view);
}

struct survivors {
    const struct reach *(*find)(void *arg, uint64_t netns_cookie);
    void *arg;
};

static bool is_of_none(const void *arg, const void *key)
{
    const struct survivors *survivors = arg;

    return !survivors->find(survivors->arg, *(const uint64_t *)key);
}

static bool is_nobodys_own(const void *arg, const void *key)
{
    const struct survivors *survivors = arg;
    const struct abi_own *own = key;
    const struct reach *reach = survivors->find(survivors->arg, own->netns_cookie);

    return !reach || !is_among(&reach->view, own->ip);
}

void reach_sweep(struct sallyport_bpf *bpf,
                 const struct reach *(*find)(void *arg, uint64_t netns_cookie), void *arg)
{
    const struct survivors survivors = {find, arg};

    forget_keys(bpf_map__fd(bpf->maps.nets), is_of_none, &survivors);
    forget_keys(bpf_map__fd(bpf->maps.own), is_nobodys_own, &survivors);
    forget_keys(bpf_map__fd(bpf->maps.origins), is_of_none, &survivors);
    forget_keys(bpf_map__fd(bpf->maps.askers), is_of_none, &survivors);
}
