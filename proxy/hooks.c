#include "proxy/hooks.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sallyport.skel.h"

enum { LINKS_MAX = 32 };

struct hooks {
    struct sallyport_bpf *bpf;
    struct {
        struct bpf_link *link;
        bool pinned;
    } links[LINKS_MAX];
    size_t links_len;
};

/* What libbpf said while loading: the errno alone never tells which program or why. The first
 * warning names the program; the verifier's last word stands before its statistics. */
static struct {
    char first[160];
    char verifier[160];
} said;

static void keep_line(char *to, size_t size, const char *line, size_t len)
{
    snprintf(to, size, "%.*s", (int)len, line);
}

static void keep_verifier_word(const char *log)
{
    const char *end = strstr(log, "\nprocessed ");
    const char *line;

    if (!end)
        return;
    for (line = end; line > log && line[-1] != '\n';)
        line--;
    keep_line(said.verifier, sizeof(said.verifier), line, (size_t)(end - line));
}

__attribute__((format(printf, 2, 0))) static int listen_to_libbpf(enum libbpf_print_level level,
                                                                  const char *format, va_list args)
{
    char *text;
    const char *start;

    if (level != LIBBPF_WARN || vasprintf(&text, format, args) < 0)
        return 0;
    start = strncmp(text, "libbpf: ", 8) == 0 ? text + 8 : text;
    if (!said.first[0])
        keep_line(said.first, sizeof(said.first), start, strcspn(start, "\n"));
    if (!said.verifier[0])
        keep_verifier_word(text);
    free(text);
    return 0;
}

static int refused(int code, struct err *err)
{
    const char *hint = code == -EPERM ? "; run as root, outside an unprivileged container" : "";

    return err_set(err, code, "the kernel refused our BPF programs: %s%s%s%s",
                   said.first[0] ? said.first : strerror(-code), said.verifier[0] ? ": " : "",
                   said.verifier, hint);
}

static int load(struct hooks *hooks, struct err *err)
{
    libbpf_print_fn_t before;
    int code;

    memset(&said, 0, sizeof(said));
    before = libbpf_set_print(listen_to_libbpf);
    hooks->bpf = sallyport_bpf__open();
    code = hooks->bpf ? sallyport_bpf__load(hooks->bpf) : -errno;
    libbpf_set_print(before);
    return code < 0 ? refused(code, err) : 0;
}

static int pin(struct bpf_link *link, const char *dir, const char *name, struct err *err)
{
    CLEANUP(text_free) char *path = NULL;
    int code;

    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return err_set(err, -ENOMEM, "pinning %s", name);
    }
    code = bpf_link__pin(link, path);
    if (code < 0)
        return err_sys(err, code, "pinning a BPF link at %s (a directory of a bpffs?)", path);
    return 0;
}

static int attach(struct hooks *hooks, struct bpf_program *program, int cgroup_fd,
                  const char *pin_dir, struct err *err)
{
    const char *section = bpf_program__section_name(program);
    const char *slash = strchr(section, '/');
    bool traces = strncmp(section, "raw_tp/", 7) == 0;
    struct bpf_link *link;
    int code;

    if (hooks->links_len == LINKS_MAX)
        return err_set(err, -E2BIG, "more than %d BPF programs", LINKS_MAX);
    link = traces ? bpf_program__attach(program) : bpf_program__attach_cgroup(program, cgroup_fd);
    if (!link)
        return err_sys(err, -errno, "attaching BPF program %s (%s)", bpf_program__name(program),
                       section);
    hooks->links[hooks->links_len++].link = link;
    if (traces)
        return 0;
    code = pin(link, pin_dir, slash ? slash + 1 : section, err);
    hooks->links[hooks->links_len - 1].pinned = code == 0;
    return code;
}

int hooks_new(struct hooks **out, int cgroup_fd, const char *pin_dir, struct err *err)
{
    CLEANUP(hooks_free) struct hooks *hooks = calloc(1, sizeof(*hooks));
    struct bpf_program *program;
    int code;

    if (!hooks)
        return err_set(err, -ENOMEM, "BPF programs");
    code = load(hooks, err);
    if (code < 0)
        return code;
    bpf_object__for_each_program(program, hooks->bpf->obj)
    {
        code = attach(hooks, program, cgroup_fd, pin_dir, err);
        if (code < 0)
            return code;
    }
    *out = TAKE(hooks);
    return 0;
}

void hooks_free(struct hooks **hooks)
{
    if (!*hooks)
        return;
    for (size_t i = 0; i < (*hooks)->links_len; i++) {
        if ((*hooks)->links[i].pinned)
            bpf_link__unpin((*hooks)->links[i].link);
        bpf_link__destroy((*hooks)->links[i].link);
    }
    sallyport_bpf__destroy((*hooks)->bpf);
    free(TAKE(*hooks));
}

struct sallyport_bpf *hooks_bpf(struct hooks *hooks)
{
    return hooks->bpf;
}
