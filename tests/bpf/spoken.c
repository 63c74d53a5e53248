#include "spoken.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "heard.h"
#include "sallyport.skel.h"

struct spoken spoken[2];
struct backend *backend;
static struct ring_buffer *ring;
static uint64_t wanted;

static int on_said(void *arg, void *data, size_t size)
{
    const struct abi_said *said = data;
    struct spoken *to = &spoken[said->direction];

    (void)arg;
    assert_true(size >= offsetof(struct abi_said, bytes) + said->len);
    if (wanted && said->cookie != wanted)
        return 0;
    assert_true(to->len + said->len <= SPOKEN_MAX);
    memcpy(to->bytes + to->len, said->bytes, said->len);
    to->len += said->len;
    to->skipped += said->skipped;
    to->lost += said->lost;
    to->begins += said->flags & ABI_SAID_BEGINS ? 1 : 0;
    to->denied = said->kind == ABI_SAID_DENIED;
    to->flags |= said->flags;
    to->pid = said->pid;
    to->cookie = said->cookie;
    return 0;
}

void spoken_read(uint64_t cookie)
{
    wanted = cookie;
    memset(spoken, 0, sizeof(spoken));
    assert_true(ring_buffer__consume(ring) >= 0);
}

int spoken_server(void)
{
    return serve(fx.bed.pod, SOCK_STREAM, AF_INET, "127.0.0.1", SPOKEN_PORT);
}

struct speaking {
    void (*work)(int fd, const void *arg);
    const void *arg;
};

static void do_speak(const void *arg, struct report *report)
{
    const struct speaking *speaking = arg;
    socklen_t len = sizeof(report->cookie);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    report->code = connect_to(fd, AF_INET, "127.0.0.1", SPOKEN_PORT);
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &report->cookie, &len);
    if (report->code == 0)
        speaking->work(fd, speaking->arg);
    report->fd = fd;
}

struct report speak(void (*work)(int fd, const void *arg), const void *arg, int server)
{
    const struct speaking speaking = {.work = work, .arg = arg};
    struct report report;

    (void)server;
    bed_run(&fx.bed, "pod", fx.bed.pod, do_speak, &speaking, &report);
    return report;
}

int set_up_spoken(void **state)
{
    int code = set_up(state);

    assert_ok(backend_new(&backend, keeper_bpf(fx.keeper), &fx.err));
    if (backend_said(backend) < 0)
        fail_msg("%s", backend_why(backend));
    heard_init();
    ring = ring_buffer__new(backend_said(backend), on_said, NULL, NULL);
    assert_non_null(ring);
    return code;
}

int take_down_spoken(void **state)
{
    heard_fini();
    ring_buffer__free(ring);
    backend_free(&backend);
    return take_down(state);
}

int register_spoken(void **state)
{
    uint64_t id = bed_cgroup_id(&fx.bed, "pod");
    int code = register_loopback(state), fd = bpf_map__fd(keeper_bpf(fx.keeper)->maps.pods);
    struct abi_pod pod;

    assert_int_equal(bpf_map_lookup_elem(fd, &id, &pod), 0);
    pod.flags |= ABI_POD_KERNEL;
    assert_int_equal(bpf_map_update_elem(fd, &id, &pod, BPF_ANY), 0);
    spoken_read(0);
    heard_forget();
    return code;
}
