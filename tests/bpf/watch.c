#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sallyport.skel.h"

static const char *const cgroups[] = {"", "/pod", "/pod/deep", "/other"};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void skip(const char *reason)
{
    printf("SKIP: %s\n", reason);
    exit(77);
}

/* Where cgroup version 2 is mounted: not always at /sys/fs/cgroup. */
static bool find_cgroup2(char out[128])
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[4096], type[32];
    bool found = false;

    must(mounts, "/proc/self/mounts");
    while (!found && fgets(line, sizeof(line), mounts))
        found = sscanf(line, "%*s %127s %31s", out, type) == 2 && strcmp(type, "cgroup2") == 0;
    fclose(mounts);
    return found;
}

static void path_of(const struct watch *watch, const char *cgroup, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s%s", watch->cgroup, cgroup);
}

static void load(struct watch *watch)
{
    struct bpf_program *program;
    struct abi_pod pod = {0};
    uint64_t id = watch_cgroup_id(watch, "/pod");

    watch->bpf = sallyport_bpf__open();
    must(watch->bpf, "open the programs");
    bpf_object__for_each_program(program, watch->bpf->obj)
        bpf_program__set_autoload(program, strncmp(bpf_program__name(program), "process_", 8) == 0);
    /* small, so that filling it up does not take a slow guest minutes */
    must(bpf_map__set_max_entries(watch->bpf->maps.records, WATCH_RING) == 0, "size the ring");
    must(sallyport_bpf__load(watch->bpf) == 0, "load the programs");
    watch->bpf->links.process_exec = bpf_program__attach(watch->bpf->progs.process_exec);
    watch->bpf->links.process_fork = bpf_program__attach(watch->bpf->progs.process_fork);
    watch->bpf->links.process_exit = bpf_program__attach(watch->bpf->progs.process_exit);
    must(watch->bpf->links.process_exec && watch->bpf->links.process_fork &&
             watch->bpf->links.process_exit,
         "attach the programs");
    must(bpf_map__update_elem(watch->bpf->maps.pods, &id, sizeof(id), &pod, sizeof(pod), 0) == 0,
         "register the cgroup");
}

void watch_init(struct watch *watch)
{
    char root[128], path[PATH_MAX];

    if (geteuid() != 0)
        skip("needs root");
    if (!find_cgroup2(root))
        skip("cgroup version 2 is not mounted");
    memset(watch, 0, sizeof(*watch));
    snprintf(watch->cgroup, sizeof(watch->cgroup), "%s/sallyport-test-%d", root, (int)getpid());
    for (size_t i = 0; i < ARRAY_SIZE(cgroups); i++) {
        path_of(watch, cgroups[i], path);
        must(mkdir(path, 0755) == 0, path);
    }
    strcpy(watch->directory, "/tmp/sallyport-test.XXXXXX");
    must(mkdtemp(watch->directory), watch->directory);
    load(watch);
}

/* One level only: what the tests put below other directories was on mounts that are gone. And a
 * mount that is not gone, of the root at that, is no business of ours to empty. */
static void remove_directory(const struct watch *watch)
{
    DIR *directory = opendir(watch->directory);
    const struct dirent *entry;

    must(directory, watch->directory);
    while ((entry = readdir(directory))) {
        char path[PATH_MAX];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", watch->directory, entry->d_name);
        must(remove(path) == 0, path);
    }
    closedir(directory);
    must(rmdir(watch->directory) == 0, watch->directory);
}

/* A failed test leaves processes behind: they go with their cgroup. */
static void remove_cgroups(const struct watch *watch)
{
    char path[PATH_MAX];
    int fd;

    path_of(watch, "/cgroup.kill", path);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, "1", 1) == 1, path);
    close(fd);
    for (size_t i = ARRAY_SIZE(cgroups); i-- > 0;) {
        int tries = 0, result;

        path_of(watch, cgroups[i], path);
        while ((result = rmdir(path)) < 0 && errno == EBUSY && ++tries < 200)
            usleep(10 * 1000);
        must(result == 0, path);
    }
}

void watch_fini(struct watch *watch)
{
    ring_buffer__free(watch->ring);
    sallyport_bpf__destroy(watch->bpf);
    remove_cgroups(watch);
    remove_directory(watch);
}

uint64_t watch_cgroup_id(const struct watch *watch, const char *name)
{
    char path[PATH_MAX];
    struct stat st;

    path_of(watch, name, path);
    must(stat(path, &st) == 0, path);
    return st.st_ino;
}

static void enter(const struct watch *watch, const char *cgroup)
{
    char path[PATH_MAX + 16], directory[PATH_MAX];
    int fd;

    path_of(watch, cgroup, directory);
    snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, "0", 1) == 1, path);
    close(fd);
}

pid_t watch_start(const struct watch *watch, const char *cgroup, void (*work)(void))
{
    pid_t pid = fork();

    must(pid >= 0, "fork");
    if (pid == 0) {
        alarm(60);
        enter(watch, cgroup);
        work();
        _exit(121); /* the work was to end its process */
    }
    return pid;
}

pid_t watch_run(const struct watch *watch, const char *cgroup, void (*work)(void), int *status)
{
    pid_t pid = watch_start(watch, cgroup, work);

    must(waitpid(pid, status, 0) == pid, "waitpid");
    return pid;
}

static int on_record(void *arg, void *data, size_t len)
{
    struct watch *watch = arg;

    must(len >= offsetof(struct abi_process, text) && len <= sizeof(watch->records[0]) &&
             watch->records_len < WATCH_RECORDS_MAX,
         "a record");
    memset(&watch->records[watch->records_len], 0, sizeof(watch->records[0]));
    memcpy(&watch->records[watch->records_len++], data, len);
    return 0;
}

void watch_listen(struct watch *watch)
{
    watch->ring = ring_buffer__new(bpf_map__fd(watch->bpf->maps.records), on_record, watch, NULL);
    must(watch->ring, "ring buffer");
}

void watch_look(struct watch *watch)
{
    watch->records_len = 0;
    must(ring_buffer__consume(watch->ring) >= 0, "ring buffer");
}

const struct abi_process *watch_find(const struct watch *watch, enum abi_record_kind kind,
                                     pid_t pid)
{
    const struct abi_process *found = NULL;

    for (size_t i = 0; i < watch->records_len; i++) {
        const struct abi_process *record = &watch->records[i];

        if (record->kind != kind || record->nspid != (uint32_t)pid)
            continue;
        must(!found, "one record of a kind and process");
        found = record;
    }
    return found;
}

void watch_read_texts(const struct abi_process *record, struct watch_texts *texts)
{
    const struct {
        struct watch_text *to;
        size_t len;
    } parts[] = {{&texts->path, record->path_len},
                 {&texts->cwd, record->cwd_len},
                 {&texts->file, record->file_len},
                 {&texts->args, record->args_len}};
    const __u8 *at = record->text;

    memset(texts, 0, sizeof(*texts));
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        must(parts[i].len <= ABI_PATH_MAX, "a text's length");
        memcpy(parts[i].to->data, at, parts[i].len);
        parts[i].to->len = parts[i].len;
        at += parts[i].len;
    }
}
