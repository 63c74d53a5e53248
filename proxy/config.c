#include "proxy/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/gate.h"

/* ---- types: a text into a field ---- */

static int read_text(const struct config_key *key, const char *text, void *field, struct err *err)
{
    char **out = field;
    char *copy;

    if (!*text)
        return err_set(err, -EINVAL, "is empty; say %s", key->form);
    copy = strdup(text);
    if (!copy)
        return err_set(err, -ENOMEM, "out of memory");
    free(*out);
    *out = copy;
    return 0;
}

static int read_bool(const struct config_key *key, const char *text, void *field, struct err *err)
{
    bool *out = field;

    (void)key;
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0
               ? 0
               : err_set(err, -EINVAL, "'%s' is neither true nor false", text);
}

static int read_choice(const struct config_key *key, const char *text, void *field, struct err *err)
{
    char all[128] = "";
    int *out = field;

    for (int i = 0; key->words[i]; i++) {
        size_t len = strlen(all);

        if (strcmp(text, key->words[i]) == 0) {
            *out = i;
            return 0;
        }
        snprintf(all + len, sizeof(all) - len, "%s%s", i ? " or " : "", key->words[i]);
    }
    return err_set(err, -EINVAL, "'%s' is not known; say %s", text, all);
}

static int read_count(const struct config_key *key, const char *text, void *field, struct err *err)
{
    unsigned *out = field;
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || value < key->least || value > key->most)
        return err_set(err, -EINVAL, "'%s' is no number from %u to %u", text, key->least,
                       key->most);
    *out = (unsigned)value;
    return 0;
}

static int read_port(const struct config_key *key, const char *text, void *field, struct err *err)
{
    struct config_ports *out = field;
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    (void)key;
    if (strcmp(text, "all") == 0) {
        out->all = true;
        return 0;
    }
    if (*text < '0' || *text > '9' || *end || port == 0 || port > 65535)
        return err_set(err, -EINVAL, "'%s' is no port from 1 to 65535, nor 'all'", text);
    if (out->len == CONFIG_PORTS_MAX)
        return err_set(err, -EINVAL, "has more than %d ports; say 'all'", CONFIG_PORTS_MAX);
    out->list[out->len++] = (uint16_t)port;
    return 0;
}

static int read_listen(const struct config_key *key, const char *text, void *field, struct err *err)
{
    struct config_listen *out = field;

    (void)key;
    if (out->len == CONFIG_LISTEN_MAX)
        return err_set(err, -EINVAL, "has more than %d addresses", CONFIG_LISTEN_MAX);
    if (gate_parse(text, &out->at[out->len], err) < 0)
        return -EINVAL;
    out->len++;
    return 0;
}

/* ---- the table ---- */

static const char *const outputs[] = {"compact", "json", NULL};
static const char *const when_down[] = {"closed", "open", NULL};

#define FIELD(name) .field = offsetof(struct config, name)

const struct config_key config_keys[] = {
    {"output", "output", 'o', "compact|json", "form of the events (compact)", read_choice,
     FIELD(output), .words = outputs},
    {"eventsFile", "events-file", 0, "FILE", "append them there instead of writing to stdout",
     read_text, FIELD(events_file)},
    {"ca", "ca", 0, "DIR", "sign with this CA: tls.crt, tls.key, ca.crt in DIR; else one is made",
     read_text, FIELD(ca)},
    {"upstreamCa", "upstream-ca", 0, "FILE", "trust these roots, too, when verifying servers",
     read_text, FIELD(upstream_ca)},
    {"listen", "listen", 0, "ADDR:PORT",
     "no BPF, no pods: take what nftables or iptables send there", read_listen, FIELD(listen)},
    {"ports", "ports", 0, "LIST|all", "TCP ports to look into (443,8443,853,80,8080)", read_port,
     FIELD(ports)},
    {"loopback", "loopback", 0, NULL, "look into connections to loopback addresses, too", read_bool,
     FIELD(loopback)},
    {"onAgentDown", "on-agent-down", 0, "closed|open",
     "without an agent connections fail, or go unseen (closed)", read_choice, FIELD(open_when_down),
     .words = when_down},
    {"workers", "workers", 0, "N", "threads that serve connections (one a CPU)", read_count,
     FIELD(workers), .least = 1, .most = 1024},
    {"cgroupRoot", "cgroup-root", 0, "DIR",
     "pods are in this cgroup or below (the root of cgroup v2)", read_text, FIELD(cgroup_root)},
    {"runtimeDir", "runtime-dir", 0, "DIR",
     "where clients meet the agent ($RUNTIME_DIRECTORY, /run/sallyport)", read_text,
     FIELD(runtime_dir)},
    {"nodeName", "node-name", 0, "NAME", "this machine's name in events (its host name)", read_text,
     FIELD(node_name)},
};
const size_t config_keys_len = ARRAY_SIZE(config_keys);

/* ---- the command line ---- */

/* Lists take commas between their items, here. */
static int read_arg(const struct config_key *key, const char *text, void *field, struct err *err)
{
    CLEANUP(text_free) char *copy = NULL;
    char *rest, *item;

    if (key->read != read_port && key->read != read_listen)
        return key->read(key, text, field, err);
    copy = rest = strdup(text);
    if (!copy)
        return err_set(err, -ENOMEM, "out of memory");
    while ((item = strsep(&rest, ","))) {
        int result = key->read(key, item, field, err);

        if (result < 0)
            return result;
    }
    return 0;
}

static int apply(struct config *config, const struct config_args *args, struct err *err)
{
    for (size_t i = 0; i < args->len; i++) {
        const struct config_key *key = &config_keys[args->all[i].key];
        int result = read_arg(key, args->all[i].value, (char *)config + key->field, err);

        if (result < 0)
            return err_wrap(err, "--%s", key->option);
    }
    return 0;
}

int config_load(struct config **out, const struct config_args *args, struct err *err)
{
    CLEANUP(config_free) struct config *config = calloc(1, sizeof(*config));
    int result;

    if (!config)
        return err_set(err, -ENOMEM, "the configuration");
    result = apply(config, args, err);
    if (result < 0)
        return result;
    *out = TAKE(config);
    return 0;
}

void config_free(struct config **config)
{
    struct config *gone = TAKE(*config);

    if (!gone)
        return;
    for (size_t i = 0; i < config_keys_len; i++)
        if (config_keys[i].read == read_text)
            free(*(char **)((char *)gone + config_keys[i].field));
    free(gone);
}
