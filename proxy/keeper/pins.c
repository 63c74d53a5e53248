#include "proxy/keeper/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "bpf/abi.h"

static const char unfinished[] = "new";
static const char broken[] = "broken"; /* behind the number of the abi */

void pins_name(char out[PINS_NAME_MAX], const void *file, size_t size, uint64_t cgroup_id)
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    uint64_t head = 0;

    EVP_Digest(file, size, digest, NULL, EVP_sha256(), NULL);
    memcpy(&head, digest, sizeof(head));
    snprintf(out, PINS_NAME_MAX, "abi%d-%016" PRIx64 "-%" PRIu64, ABI_VERSION, head, cgroup_id);
}

static bool traces_functions(const struct bpf_program *program)
{
    enum bpf_prog_type type = bpf_program__type(program);

    return type == BPF_PROG_TYPE_TRACING ||
           (type == BPF_PROG_TYPE_LSM &&
            bpf_program__expected_attach_type(program) != BPF_LSM_CGROUP);
}

const char *pins_link_name(const struct bpf_program *program)
{
    const char *section = bpf_program__section_name(program);
    const char *slash = strchr(section, '/');

    if (traces_functions(program))
        return bpf_program__name(program);
    return slash ? slash + 1 : section;
}

/* ---- removing ---- */

static void remove_at(int dir_fd, const char *name, unsigned depth)
{
    DIR *dir;
    struct dirent *entry;
    int fd;

    if (unlinkat(dir_fd, name, 0) == 0 || depth == 0)
        return;
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        fd_close(&fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_at(fd, entry->d_name, depth - 1);
    closedir(dir);
    unlinkat(dir_fd, name, AT_REMOVEDIR);
}

void pins_remove(const char *pin_dir, const char *name)
{
    CLEANUP(fd_close) int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0)
        remove_at(fd, name, 8);
}

/* ---- opening ---- */

static int path_of(char out[PATH_MAX], const char *pin_dir, const char *set, const char *name,
                   struct err *err)
{
    if (snprintf(out, PATH_MAX, "%s/%s/%s", pin_dir, set, name) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "%s", pin_dir);
    return 0;
}

/* bpf(2) tells of a link what it was asked about a map, and the other way round. */
static bool is_a(int fd, const char *kind)
{
    char path[32], what[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, what, sizeof(what) - 1);
    what[n > 0 ? n : 0] = 0;
    return strstr(what, kind);
}

static int open_map(const char *path)
{
    CLEANUP(fd_close) int fd = bpf_obj_get(path);

    if (fd < 0)
        return -errno;
    return is_a(fd, "bpf-map") ? fd_take(&fd) : -EINVAL;
}

static bool fits(int fd, const struct bpf_map *map)
{
    struct bpf_map_info info = {0};
    __u32 len = sizeof(info);

    return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == bpf_map__type(map) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map);
}

static int adopt_map(struct bpf_map *map, const char *path, struct err *err)
{
    CLEANUP(fd_close) int fd = open_map(path);
    int code = fd;

    if (fd >= 0 && !fits(fd, map))
        code = -EINVAL;
    if (code >= 0)
        code = bpf_map__reuse_fd(map, fd);
    return code < 0 ? err_sys(err, code, "%s", path) : 0;
}

/* A link outlives the cgroup it was made for, but does nothing any more. */
static bool is_attached(int fd, const struct bpf_program *program, uint64_t cgroup_id)
{
    struct bpf_link_info info = {0};
    __u32 len = sizeof(info);

    if (!is_a(fd, "bpf-link") || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
        return false;
    if (bpf_program__type(program) == BPF_PROG_TYPE_RAW_TRACEPOINT)
        return info.type == BPF_LINK_TYPE_RAW_TRACEPOINT;
    if (traces_functions(program))
        return info.type == BPF_LINK_TYPE_TRACING;
    return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_id;
}

static int adopt_link(struct pins *pins, const struct bpf_program *program, const char *path,
                      uint64_t cgroup_id, struct err *err)
{
    struct bpf_link *link;

    if (pins->links_len == pins->links_max)
        return err_set(err, -E2BIG, "more than %zu BPF programs", pins->links_max);
    link = bpf_link__open(path);
    if (!link)
        return err_sys(err, -errno, "%s", path);
    if (!is_attached(bpf_link__fd(link), program, cgroup_id)) {
        bpf_link__destroy(link);
        return err_set(err, -EINVAL, "%s is no link of ours", path);
    }
    pins->links[pins->links_len++] = link;
    return 0;
}

static int adopt_unlinked(struct pins *pins, const char *path, struct err *err)
{
    CLEANUP(fd_close) int fd = bpf_obj_get(path);

    if (fd < 0)
        return err_sys(err, -errno, "%s", path);
    if (!is_a(fd, "bpf-prog"))
        return err_set(err, -EINVAL, "%s is no program of ours", path);
    pins->unlinked = fd_take(&fd);
    return 0;
}

bool pins_has_link(const struct bpf_program *program)
{
    return bpf_program__type(program) != BPF_PROG_TYPE_SK_MSG &&
           bpf_program__type(program) != BPF_PROG_TYPE_CGROUP_SOCKOPT;
}

static bool is_of_set(const struct pins *pins, const struct bpf_map *map)
{
    return !bpf_map__is_internal(map) &&
           !(pins->base && bpf_object__find_map_by_name(pins->base, bpf_map__name(map)));
}

static int adopt_all(struct pins *pins, const char *pin_dir, const char *name, uint64_t cgroup_id,
                     struct err *err)
{
    struct bpf_map *map;
    struct bpf_program *program;
    char path[PATH_MAX];
    int code = 0;

    bpf_object__for_each_map(map, pins->object)
    {
        if (code < 0 || !is_of_set(pins, map))
            continue;
        code = path_of(path, pin_dir, name, bpf_map__name(map), err);
        if (code == 0)
            code = adopt_map(map, path, err);
    }
    bpf_object__for_each_program(program, pins->object)
    {
        if (code < 0)
            break;
        if (!bpf_program__autoload(program))
            continue;
        code = path_of(path, pin_dir, name, pins_link_name(program), err);
        if (code == 0)
            code = pins_has_link(program) ? adopt_link(pins, program, path, cgroup_id, err)
                                          : adopt_unlinked(pins, path, err);
    }
    return code;
}

static void let_go(struct pins *pins)
{
    fd_close(&pins->unlinked);
    while (pins->links_len)
        bpf_link__destroy(pins->links[--pins->links_len]);
}

int pins_adopt(struct pins *pins, const char *pin_dir, const char *name, uint64_t cgroup_id,
               struct err *err)
{
    struct stat found;
    char path[PATH_MAX];
    int code = path_of(path, pin_dir, name, "", err);

    if (code < 0)
        return code;
    if (stat(path, &found) < 0)
        return err_sys(err, -ENOENT, "%s", path);
    code = adopt_all(pins, pin_dir, name, cgroup_id, err);
    if (code == -ENOENT) /* not the set: something of it */
        code = err->code = -EINVAL;
    if (code < 0)
        let_go(pins);
    return code;
}

void pins_demote(const char *pin_dir, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX], instead[PINS_NAME_MAX];

    snprintf(instead, sizeof(instead), "abi%d-%s", ABI_VERSION, broken);
    pins_remove(pin_dir, instead);
    if (snprintf(from, sizeof(from), "%s/%s", pin_dir, name) >= PATH_MAX ||
        snprintf(to, sizeof(to), "%s/%s", pin_dir, instead) >= PATH_MAX || rename(from, to) < 0)
        pins_remove(pin_dir, name);
}

/* ---- keeping ---- */

static int pin_all(const struct pins *pins, const char *pin_dir, struct err *err)
{
    struct bpf_map *map;
    struct bpf_program *program;
    char path[PATH_MAX];
    size_t len = 0;
    int code = 0;

    bpf_object__for_each_map(map, pins->object)
    {
        if (code < 0 || !is_of_set(pins, map))
            continue;
        code = path_of(path, pin_dir, unfinished, bpf_map__name(map), err);
        if (code == 0 && bpf_obj_pin(bpf_map__fd(map), path) < 0)
            code = err_sys(err, -errno, "pinning a BPF map at %s", path);
    }
    bpf_object__for_each_program(program, pins->object)
    {
        if (code < 0)
            break;
        if (!bpf_program__autoload(program))
            continue;
        code = path_of(path, pin_dir, unfinished, pins_link_name(program), err);
        if (code == 0 &&
            bpf_obj_pin(pins_has_link(program) ? bpf_link__fd(pins->links[len++]) : pins->unlinked,
                        path) < 0)
            code = err_sys(err, -errno, "pinning a BPF link at %s", path);
    }
    return code;
}

int pins_keep(const struct pins *pins, const char *pin_dir, const char *name, struct err *err)
{
    char path[PATH_MAX], final[PATH_MAX];
    int code;

    pins_remove(pin_dir, unfinished);
    if (snprintf(path, sizeof(path), "%s/%s", pin_dir, unfinished) >= PATH_MAX ||
        snprintf(final, sizeof(final), "%s/%s", pin_dir, name) >= PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "%s", pin_dir);
    if (mkdir(path, 0700) < 0)
        return err_sys(err, -errno, "%s (a directory of a bpffs?)", path);
    code = pin_all(pins, pin_dir, err);
    if (code == 0 && rename(path, final) < 0)
        code = err_sys(err, -errno, "%s", final);
    if (code < 0)
        pins_remove(pin_dir, unfinished);
    return code;
}

/* ---- other agents' sets ---- */

static int open_older_map(const char *pin_dir, const char *set, const char *name)
{
    char path[PATH_MAX];
    int fd;

    if (path_of(path, pin_dir, set, name, NULL) < 0)
        return -1;
    fd = open_map(path);
    return fd < 0 ? -1 : fd;
}

static bool has_our_abi(const char *set)
{
    char abi[16];

    snprintf(abi, sizeof(abi), "abi%d-", ABI_VERSION);
    return strncmp(set, abi, strlen(abi)) == 0;
}

int pins_open_map(const char *pin_dir, const char *set, const struct bpf_map *like)
{
    CLEANUP(fd_close)
    int fd = has_our_abi(set) ? open_older_map(pin_dir, set, bpf_map__name(like)) : -1;

    return fd >= 0 && fits(fd, like) ? fd_take(&fd) : -1;
}

static bool open_older(const char *pin_dir, const char *set, struct pins_older *out)
{
    struct pins_older older = {.origins_fd = -1, .askers_fd = -1};

    if (strncmp(set, "abi", 3) != 0 ||
        snprintf(older.name, sizeof(older.name), "%s", set) >= (int)sizeof(older.name))
        return false;
    older.pods_fd = open_older_map(pin_dir, set, "pods");
    older.hold_until_fd = open_older_map(pin_dir, set, "hold_until");
    if (has_our_abi(set)) {
        older.origins_fd = open_older_map(pin_dir, set, "origins");
        older.askers_fd = open_older_map(pin_dir, set, "askers");
    }
    if (older.pods_fd < 0) {
        pins_older_fini(&older);
        return false;
    }
    *out = older;
    return true;
}

size_t pins_find_older(const char *pin_dir, const char *name, struct pins_older out[PINS_OLDER_MAX])
{
    DIR *dir = opendir(pin_dir);
    struct dirent *entry;
    size_t len = 0;

    if (!dir)
        return 0;
    while ((entry = readdir(dir))) {
        if (strchr(entry->d_name, '.') || strcmp(entry->d_name, name) == 0)
            continue; /* names with a dot are the kernel's: maps.debug */
        if (len < PINS_OLDER_MAX && open_older(pin_dir, entry->d_name, &out[len])) {
            len++;
            continue;
        }
        log_warn("removing %s/%s, which is no set of BPF links and maps", pin_dir, entry->d_name);
        pins_remove(pin_dir, entry->d_name);
    }
    closedir(dir);
    return len;
}

void pins_older_fini(struct pins_older *older)
{
    fd_close(&older->pods_fd);
    fd_close(&older->hold_until_fd);
    fd_close(&older->origins_fd);
    fd_close(&older->askers_fd);
}
