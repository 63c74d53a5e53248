#include "fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy/compile.h"
#include "sallyport.skel.h"

struct fixture fx;

const struct way ways[WAYS] = {
    {"IPv4", AF_INET, "198.51.100.1", "198.51.100.1", "192.0.2.1"},
    {"IPv6", AF_INET6, "2001:db8:2::1", "2001:db8:2::1", "2001:db8:1::1"},
    {"IPv4-mapped", AF_INET6, "::ffff:198.51.100.1", "198.51.100.1", "192.0.2.1"},
};

socklen_t place(int family, const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *in = (void *)out;
    struct sockaddr_in6 *in6 = (void *)out;

    memset(out, 0, sizeof(*out));
    out->ss_family = (sa_family_t)family;
    in->sin_port = htons(port);
    assert_int_equal(inet_pton(family, text,
                               family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr),
                     1);
    return family == AF_INET ? sizeof(*in) : sizeof(*in6);
}

int connect_to(int fd, int family, const char *to, uint16_t port)
{
    struct sockaddr_storage at;
    socklen_t len = place(family, to, port, &at);

    return connect(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
}

static void report_names(struct report *report)
{
    struct sockaddr_storage name;
    socklen_t len = sizeof(name);

    if (getpeername(report->fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->peer);
    len = sizeof(name);
    if (getsockname(report->fd, (struct sockaddr *)&name, &len) == 0)
        addr_from_sockaddr(&name, &report->self);
    len = sizeof(report->cookie);
    getsockopt(report->fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
}

static int name_in_datagram(int fd, const struct dial *dial)
{
    struct sockaddr_storage at;
    socklen_t len = place(dial->family, dial->to, dial->port, &at);

    return sendto(fd, "hello", 5, 0, (struct sockaddr *)&at, len) == 5 ? 0 : -errno;
}

static void dial_once(const struct dial *dial, struct report *report)
{
    struct linger abort = {.l_onoff = 1};
    struct sockaddr_storage at;
    int fd = socket(dial->family, dial->type | SOCK_CLOEXEC, 0), one = 1;

    report->fd = fd;
    report->code = fd < 0 ? -errno : 0;
    if (report->code == 0 && dial->bind_to) {
        socklen_t len = place(dial->family, dial->bind_to, dial->bind_port, &at);

        if (dial->bind_port)
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        report->code = bind(fd, (struct sockaddr *)&at, len) < 0 ? -errno : 0;
    }
    if (report->code == 0 && dial->first_to) {
        struct sockaddr nothing = {.sa_family = AF_UNSPEC};

        report->code = connect_to(fd, dial->family, dial->first_to, dial->first_port);
        connect(fd, &nothing, sizeof(nothing));
    }
    if (report->code == 0 && dial->then == NAME_AND_CLOSE)
        report->code = name_in_datagram(fd, dial);
    else if (report->code == 0)
        report->code = connect_to(fd, dial->family, dial->to, dial->port);
    report_names(report);
    if (report->code == 0 && dial->then == SEND_AND_CLOSE && send(fd, "hello", 5, 0) != 5)
        report->code = -errno;
    if (report->code == 0 && dial->then == RESET)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    if (report->code < 0 || dial->then != STAY) {
        close(fd);
        report->fd = -1;
    }
}

static void do_dial(const void *arg, struct report *report)
{
    const struct dial *dial = arg;

    for (unsigned i = 0; i <= dial->again; i++) {
        fd_close(&report->fd);
        dial_once(dial, report);
    }
}

struct report dial_from(const char *cgroup, int netns, struct dial dial)
{
    struct report report;

    dial.type = dial.type ? dial.type : SOCK_STREAM;
    bed_run(&fx.bed, cgroup, netns, do_dial, &dial, &report);
    return report;
}

struct report dial_from_pod(struct dial dial)
{
    return dial_from("pod", fx.bed.pod, dial);
}

int serve(int netns, int type, int family, const char *on, uint16_t port)
{
    CLEANUP(fd_close) int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct sockaddr_storage at;
    socklen_t len = place(family, on, port, &at);
    int one = 1, fd;

    assert_int_equal(setns(netns, CLONE_NEWNET), 0);
    fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(setns(home, CLONE_NEWNET), 0);
    return fd;
}

int accept_within(int listener, int ms)
{
    struct pollfd wait = {.fd = listener, .events = POLLIN};

    poll(&wait, 1, ms);
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

int our_listener(const struct dial *dial)
{
    bool v4 = dial->family == AF_INET || strncmp(dial->to, "::ffff:", 7) == 0;

    return v4 ? keeper_net_listeners(fx.net)->stream.v4 : keeper_net_listeners(fx.net)->stream.v6;
}

uint16_t our_port(void)
{
    struct sockaddr_in at;
    socklen_t len = sizeof(at);

    assert_int_equal(
        getsockname(keeper_net_listeners(fx.net)->stream.v4, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.sin_port);
}

size_t records_waiting(void)
{
    uint8_t keys[2][64];
    int fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.origins);
    size_t count = 0;

    for (int code = bpf_map_get_next_key(fd, NULL, keys[0]); code == 0; count++)
        code = bpf_map_get_next_key(fd, keys[count % 2], keys[(count + 1) % 2]);
    return count;
}

void assert_ip(const struct addr *addr, const char *want)
{
    char text[ADDR_TEXT_MAX];

    assert_string_equal(addr_format_ip(addr, text), want);
}

void assert_steered(const struct dial *dial, struct report *report, struct origin *origin)
{
    CLEANUP(fd_close) int accepted = accept_within(our_listener(dial), SOON_MS);

    if (report->code < 0)
        fail_msg("connect: %s", strerror(-report->code));
    assert_true(accepted >= 0);
    assert_ok(origin_take(keeper_bpf(fx.keeper), accepted, origin, &fx.err));
    assert_int_equal(origin->dst.port, dial->port);
    assert_int_equal(report->peer.port, dial->port);
    assert_int_equal(origin->cookie, report->cookie);
    assert_int_equal(origin->pid, report->pid);
    assert_int_equal(origin_take(keeper_bpf(fx.keeper), accepted, origin, NULL), -ENOENT);
    fd_close(&report->fd);
}

void assert_went_direct(struct report *report, int server)
{
    CLEANUP(fd_close) int accepted = accept_within(server, SOON_MS);

    if (report->code < 0)
        fail_msg("connect: %s", strerror(-report->code));
    assert_true(accepted >= 0);
    assert_int_equal(records_waiting(), 0);
    fd_close(&report->fd);
}

static void register_pod(struct pods_settings settings)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");

    CLEANUP(pod_unref) struct pod *pod = pod_new(id, "", "pod", NULL, 0);

    assert_non_null(pod);
    settings.ports = pods_default_ports;
    settings.ports_len = pods_default_ports_len;
    assert_ok(pods_add(fx.pods, pod, &settings, NULL, &fx.err));
}

int unregister(void **state)
{
    (void)state;
    return pods_remove(fx.pods, bed_cgroup_id(&fx.bed, "pod"), NULL);
}

int register_default(void **state)
{
    (void)state;
    register_pod((struct pods_settings){0});
    return 0;
}

int register_loopback(void **state)
{
    (void)state;
    register_pod((struct pods_settings){.all_ports = true, .loopback = true});
    return 0;
}

int register_open(void **state)
{
    (void)state;
    register_pod((struct pods_settings){.open_when_down = true});
    return 0;
}

struct policy_view *view_of(const char *yaml)
{
    CLEANUP(policy_list_fini) struct policy_list list = {0};
    CLEANUP(policy_set_unref) struct policy_set *set = NULL;
    CLEANUP(faults_fini) struct faults faults = {0};
    CLEANUP(pod_unref)
    struct pod *pod = pod_new(bed_cgroup_id(&fx.bed, "pod"), "", "pod", NULL, 0);
    struct policy_view *view;

    if (yaml[0] && policy_compile(&list, span_of_text(yaml), "test.yaml", &faults) < 0)
        fail_msg("%s", faults.len ? faults.list[0].text : "out of memory");
    set = policy_set_new(list.list, list.len, 1);
    assert_non_null(set);
    view = policy_view_new(set, pod);
    assert_non_null(view);
    return view;
}

void use_policy(const char *yaml)
{
    CLEANUP(policy_view_unref) struct policy_view *view = view_of(yaml);

    assert_ok(pods_use_view(fx.pods, bed_cgroup_id(&fx.bed, "pod"), view, &fx.err));
}

static int follow_options(void)
{
    CLEANUP(fd_close)
    int pod = openat(fx.bed.cgroup_fd, "pod", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return bpf_link_create(keeper_options_program(fx.keeper), pod, BPF_CGROUP_SETSOCKOPT, NULL);
}

int set_up(void **state)
{
    (void)state;
    bed_init(&fx.bed);
    assert_ok(keeper_new(&fx.keeper, fx.bed.cgroup_fd, fx.bed.pins, &fx.err));
    fx.options = follow_options();
    assert_true(fx.options >= 0);
    assert_ok(pods_new(&fx.pods, keeper_bpf(fx.keeper), &fx.err));
    assert_ok(keeper_net_add(fx.keeper, &fx.net, fx.bed.pod, 0, &fx.err));
    return 0;
}

int take_down(void **state)
{
    char pin[PATH_MAX + 16];

    (void)state;
    if (!fx.keeper) {
        bed_fini(&fx.bed);
        return 0;
    }
    snprintf(pin, sizeof(pin), "%s/connect4", fx.bed.pins);
    assert_int_equal(access(pin, F_OK), 0);
    pods_free(&fx.pods);
    fd_close(&fx.options);
    keeper_net_remove(fx.keeper, &fx.net);
    keeper_free(&fx.keeper);
    assert_int_equal(access(pin, F_OK), -1);
    bed_fini(&fx.bed);
    return 0;
}
