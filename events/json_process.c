#include "events/json_process.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "events/json_writer.h"
#include "events/redact.h"

static const char *const cap_names[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

static void append_caps(struct buffer *out, const char *key, uint64_t caps)
{
    size_t mark = json_begin(out, key, '[');

    for (unsigned int i = 0; i < 64; i++) {
        char unnamed[16];

        if (!(caps >> i & 1))
            continue;
        snprintf(unnamed, sizeof(unnamed), "CAP_%u", i); /* of a kernel newer than the table */
        json_item(out, i < ARRAY_SIZE(cap_names) ? cap_names[i] : unnamed);
    }
    json_end(out, mark, ']');
}

static void append_namespace(struct buffer *out, const char *key, uint32_t inum)
{
    size_t mark;

    if (!inum)
        return;
    mark = json_begin(out, key, '{');
    json_number(out, "inum", inum);
    json_end(out, mark, '}');
}

static void append_namespaces(struct buffer *out, const struct process_namespaces *ns)
{
    size_t mark = json_begin(out, "ns", '{');

    append_namespace(out, "uts", ns->uts);
    append_namespace(out, "ipc", ns->ipc);
    append_namespace(out, "mnt", ns->mnt);
    append_namespace(out, "pid", ns->pid);
    append_namespace(out, "net", ns->net);
    append_namespace(out, "time", ns->time);
    append_namespace(out, "cgroup", ns->cgroup);
    append_namespace(out, "user", ns->user);
    json_end(out, mark, '}');
}

void json_pod(struct buffer *out, const struct pod *pod)
{
    size_t mark, labels;

    if (!pod || !*pod->name)
        return;
    mark = json_begin(out, "pod", '{');
    json_text(out, "namespace", pod->space);
    json_text(out, "name", pod->name);
    labels = json_begin(out, "pod_labels", '{');
    for (size_t i = 0; i < pod->labels_len; i++)
        json_entry(out, pod->labels[i].key, pod->labels[i].value);
    json_end(out, labels, '}');
    json_end(out, mark, '}');
}

/* The kernel tells us of pods' processes only; any other was read from /proc as a parent. */
static const char *flags_of(const struct process *process)
{
    if (!process->pod)
        return process->arguments_cut ? "procFS truncArgs" : "procFS";
    return process->arguments_cut ? "execve truncArgs" : "execve";
}

static void append_members(struct buffer *out, const struct process *process)
{
    CLEANUP(buffer_fini) struct buffer storage = {0};
    size_t mark;

    json_text(out, "exec_id", process->exec_id);
    json_number(out, "pid", process->pid);
    json_number(out, "uid", process->uid);
    json_text(out, "cwd", process->cwd);
    json_text(out, "binary", process->binary);
    json_text(out, "arguments", redact_arguments(process->arguments, &storage));
    out->failed |= storage.failed;
    json_text(out, "flags", flags_of(process));
    if (process->start_time_ns)
        json_time(out, "start_time", process->start_time_ns);
    json_number(out, "auid", process->auid);
    json_pod(out, process->pod);
    json_text(out, "parent_exec_id", process->parent_exec_id);
    mark = json_begin(out, "cap", '{');
    append_caps(out, "permitted", process->cap_permitted);
    append_caps(out, "effective", process->cap_effective);
    append_caps(out, "inheritable", process->cap_inheritable);
    json_end(out, mark, '}');
    append_namespaces(out, &process->ns);
    json_number(out, "tid", process->pid);
    mark = json_begin(out, "process_credentials", '{');
    json_number(out, "uid", process->uid);
    json_number(out, "gid", process->gid);
    json_number(out, "euid", process->euid);
    json_end(out, mark, '}');
}

void json_process(struct buffer *out, const char *key, struct process *process)
{
    if (!process)
        return;
    if (!process->json) {
        CLEANUP(buffer_fini) struct buffer json = {0};
        size_t mark = json_begin(&json, NULL, '{');

        append_members(&json, process);
        json_end(&json, mark, '}');
        buffer_append(&json, "", 1); /* ends in a NUL */
        if (json.failed) {
            out->failed = true;
            return;
        }
        process->json = TAKE(json.data);
    }
    json_key(out, key);
    buffer_text(out, process->json); /* with the comma behind it */
}
