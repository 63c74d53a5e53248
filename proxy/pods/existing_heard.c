/* What the kernel programs know of a connection that is older than its pod, and shall: how its end
 * is told; and, where the kernel route can and it is in plain text, that its words are heard. */
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "policy/route.h"
#include "proxy/dns/names.h"
#include "proxy/pods/existing_own.h"
#include "proxy/pods/pods.h"

struct abi_socket existing_note(const struct scan *scan, const struct diag_socket *socket,
                                const struct process *process)
{
    struct abi_socket note = {
        .kind = ABI_SOCKET_CONNECT,
        .pid = process ? process->pid : 0,
        .start_ns = process ? process->start_ns : 0,
        .pod = scan->pod->cgroup_id,
        .cgroup = socket->cgroup,
        .netns_cookie = scan->nets[scan->net_at],
        .cookie = socket->cookie,
        .time_ns = clock_read_ns(CLOCK_BOOTTIME),
        .src_port = socket->src.port,
        .dst_port = socket->dst.port,
        .protocol = IPPROTO_TCP,
        .tx = socket->tx,
        .rx = socket->rx,
    };

    memcpy(note.src, socket->src.ip, sizeof(note.src));
    memcpy(note.dst, socket->dst.ip, sizeof(note.dst));
    return note;
}

bool existing_put(const struct existing *existing, int fd, const struct abi_socket *note)
{
    return bpf_map_update_elem(existing->maps.older, &fd, note, BPF_ANY) == 0;
}

bool existing_get(const struct existing *existing, int fd, struct abi_socket *note)
{
    return bpf_map_lookup_elem(existing->maps.older, &fd, note) == 0;
}

bool existing_was_seen(const struct existing *existing, int fd)
{
    return bpf_map_lookup_elem(existing->maps.connections, &fd, existing->maps.connection) == 0;
}

uint64_t existing_began_ns(const struct existing *existing, int fd)
{
    const struct abi_origin *origin = existing->maps.connection;
    struct abi_socket note;

    if (existing_was_seen(existing, fd))
        return origin->time_ns + clock_read_ns(CLOCK_BOOTTIME) - clock_ns();
    return existing_get(existing, fd, &note) ? note.time_ns : clock_read_ns(CLOCK_BOOTTIME);
}

bool existing_is_heard(const struct existing *existing, int fd)
{
    struct abi_socket note;

    return bpf_map_lookup_elem(existing->maps.speeches, &fd, existing->maps.speech) == 0 ||
           (existing_get(existing, fd, &note) && note.flags & ABI_SOCKET_KERNEL);
}

static bool enrol(const struct existing *existing, uint64_t cookie, int fd)
{
    const uint64_t value = (uint64_t)fd;

    return bpf_map_update_elem(existing->maps.enrolled, &cookie, &value, BPF_ANY) == 0;
}

/* The kernel takes no socket into a sockhash that has another protocol above TCP, which is TLS. */
static bool could_come_back(int fd)
{
    char name[16];
    socklen_t len = sizeof(name);

    return getsockopt(fd, IPPROTO_TCP, TCP_ULP, name, &len) == 0 && len == 0;
}

/* A socket keeps the program that its sockhash had when it came; one that could not come back, for
 * the kernel encrypts it, or the other end has closed its side, stays, and is heard by the program
 * it has. Where it does not come back all the same, what was heard before is read as it leaves
 * (bpf/packets.bpf.c), and what was to be heard from now on is not. */
bool existing_hear_again(const struct existing *existing, const struct diag_socket *socket, int fd)
{
    struct abi_socket note;

    if (socket->state != DIAG_ESTABLISHED || !could_come_back(fd) ||
        bpf_map_delete_elem(existing->maps.enrolled, &socket->cookie) < 0 ||
        enrol(existing, socket->cookie, fd))
        return true;
    if (existing_get(existing, fd, &note) && note.flags & ABI_SOCKET_KERNEL) {
        note.flags &= (uint8_t)~ABI_SOCKET_KERNEL;
        existing_put(existing, fd, &note);
    }
    return false;
}

/* ---- plain text ---- */

/* Nobody has seen how it began; so by where it goes. One that the kernel encrypts cannot be put
 * into a sockhash, and one that begins to let it do so later could not where it is in one: what
 * would be lost is not worth it. */
static bool is_plain(const struct diag_socket *socket)
{
    static const uint16_t tls[] = {443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 6443, 8443};

    for (size_t i = 0; i < ARRAY_SIZE(tls); i++)
        if (socket->dst.port == tls[i])
            return false;
    return socket->state == DIAG_ESTABLISHED && !socket->tls_version;
}

static bool can_hear(const struct existing *existing)
{
    const uint32_t zero = 0;
    uint32_t can = 0;

    return *existing->parts.ring && bpf_map_lookup_elem(existing->maps.route, &zero, &can) == 0 &&
           can & ABI_ROUTE_PLAIN;
}

/* There is no way to the proxy any more: so it is heard as long as nobody forbids that. What must
 * be refused for sure is not begun with in its midst. */
static bool may_hear(const struct scan *scan, const struct diag_socket *socket,
                     const struct policy_scope *scope)
{
    const struct existing_parts *parts = &scan->existing->parts;
    enum policy_route wanted = pods_route(parts->pods, scan->pod->cgroup_id);
    CLEANUP(names_trusted_fini) struct names_trusted names = {0};
    struct policy_facts facts = {.protocol = PROTOCOL_TCP, .dst = &socket->dst};
    enum policy_way way;

    names_find_trusted(parts->names, scan->pod->cgroup_id, &socket->dst, clock_ns(), &names);
    facts.resolved = names.names;
    way = policy_decide_route(scope, &facts);
    return way == POLICY_WAY_KERNEL ||
           (way == POLICY_WAY_ANY &&
            (wanted == POLICY_ROUTE_AUTO || wanted == POLICY_ROUTE_KERNEL)) ||
           (way == POLICY_WAY_SURE && wanted == POLICY_ROUTE_KERNEL);
}

bool existing_hear(const struct scan *scan, const struct diag_socket *socket,
                   const struct policy_scope *scope, struct abi_socket *note, int fd)
{
    const struct existing *existing = scan->existing;

    if (!is_plain(socket) || !can_hear(existing) || !may_hear(scan, socket, scope))
        return false;
    note->flags |= ABI_SOCKET_KERNEL;
    if (existing_put(existing, fd, note) && enrol(existing, socket->cookie, fd))
        return true;
    note->flags &= (uint8_t)~ABI_SOCKET_KERNEL;
    return false;
}
