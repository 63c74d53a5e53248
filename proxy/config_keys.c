/* The keys, and the types of their values: each reads one text into a field. */
#include <errno.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proxy/config.h"
#include "proxy/doors/gate.h"
#include "proxy/passthrough.h"

/* ---- types ---- */

static int read_text(const struct config_key *key, const char *text, void *field, struct err *err)
{
    char **out = field;

    if (!*text)
        return err_set(err, -EINVAL, "is empty; say %s", key->form);
    *out = strdup(text);
    return *out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static void free_text(void *field)
{
    free(TAKE(*(char **)field));
}

static bool same_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return *x && *y ? strcmp(*x, *y) == 0 : *x == *y;
}

static const struct config_type text_type = {
    .size = sizeof(char *), .read = read_text, .free = free_text, .same = same_text};

static int read_switch(const struct config_key *key, const char *text, void *field, struct err *err)
{
    bool *out = field;

    (void)key;
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0
               ? 0
               : err_set(err, -EINVAL, "'%.100s' is neither true nor false", text);
}

static const struct config_type switch_type = {.size = sizeof(bool), .read = read_switch};

static int find_word(const struct config_key *key, const char *text, struct err *err)
{
    char all[128] = "";

    for (int i = 0; key->words[i]; i++) {
        size_t len = strlen(all);

        if (strcmp(text, key->words[i]) == 0)
            return i;
        snprintf(all + len, sizeof(all) - len, "%s%s", i ? " or " : "", key->words[i]);
    }
    return err_set(err, -EINVAL, "'%.100s' is not known; say %s", text, all);
}

static int read_choice(const struct config_key *key, const char *text, void *field, struct err *err)
{
    int word = find_word(key, text, err);

    if (word >= 0)
        *(int *)field = word;
    return word < 0 ? word : 0;
}

static const struct config_type choice_type = {.size = sizeof(int), .read = read_choice};

/* A choice of two, of which the second is true. */
static int read_either(const struct config_key *key, const char *text, void *field, struct err *err)
{
    int word = find_word(key, text, err);

    if (word >= 0)
        *(bool *)field = word == 1;
    return word < 0 ? word : 0;
}

static const struct config_type either_type = {.size = sizeof(bool), .read = read_either};

static int read_count(const struct config_key *key, const char *text, void *field, struct err *err)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || value < key->least || value > key->most)
        return err_set(err, -EINVAL, "'%.100s' is no number from %u to %u", text, key->least,
                       key->most);
    *(unsigned *)field = (unsigned)value;
    return 0;
}

static const struct config_type count_type = {.size = sizeof(unsigned), .read = read_count};

static int read_duration(const struct config_key *key, const char *text, void *field,
                         struct err *err)
{
    static const struct {
        const char *name;
        unsigned ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}};
    char *unit;
    unsigned long value = strtoul(text, &unit, 10);
    size_t i = 0;

    while (i < ARRAY_SIZE(units) && strcmp(unit, units[i].name) != 0)
        i++;
    if (*text < '0' || *text > '9' || i == ARRAY_SIZE(units))
        return err_set(err, -EINVAL, "'%.100s' is no duration, such as 30s or 5m (ms, s, m, h)",
                       text);
    if (value > key->most / units[i].ms || value * units[i].ms < key->least)
        return err_set(err, -EINVAL, "'%.100s' is not from %us to %us", text, key->least / 1000,
                       key->most / 1000);
    *(unsigned *)field = (unsigned)value * units[i].ms;
    return 0;
}

static const struct config_type duration_type = {.size = sizeof(unsigned), .read = read_duration};

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
        return err_set(err, -EINVAL, "'%.100s' is no port from 1 to 65535, nor 'all'", text);
    if (out->len == CONFIG_PORTS_MAX)
        return err_set(err, -EINVAL, "are more than %d; say 'all'", CONFIG_PORTS_MAX);
    out->list[out->len++] = (uint16_t)port;
    return 0;
}

static const struct config_type ports_type = {
    .size = sizeof(struct config_ports), .list = true, .read = read_port};

static int read_listen(const struct config_key *key, const char *text, void *field, struct err *err)
{
    struct config_listen *out = field;
    int result;

    (void)key;
    if (out->len == CONFIG_LISTEN_MAX)
        return err_set(err, -EINVAL, "has more than %d addresses", CONFIG_LISTEN_MAX);
    result = gate_parse(text, &out->at[out->len], err);
    if (result == 0)
        out->len++;
    return result;
}

static const struct config_type listen_type = {
    .size = sizeof(struct config_listen), .list = true, .read = read_listen};

static int add_item(struct config_names *out, size_t most, const char *text, struct err *err)
{
    char **more;

    if (out->len == most)
        return err_set(err, -EINVAL, "has more than %zu items", most);
    more = realloc(out->list, (out->len + 1) * sizeof(*more));
    if (more)
        out->list = more;
    if (!more || !(more[out->len] = strdup(text)))
        return err_set(err, -ENOMEM, "out of memory");
    out->len++;
    return 0;
}

static int read_name(const struct config_key *key, const char *text, void *field, struct err *err)
{
    struct err why;

    if (!*text)
        return err_set(err, -EINVAL, "has an empty item; say %s", key->form);
    if (passthrough_check(text, &why) < 0)
        return err_set(err, why.code, "cannot hold %s", why.text);
    return add_item(field, CONFIG_NAMES_MAX, text, err);
}

static int read_path(const struct config_key *key, const char *text, void *field, struct err *err)
{
    if (!*text)
        return err_set(err, -EINVAL, "has an empty item; say %s", key->form);
    return add_item(field, CONFIG_POLICIES_MAX, text, err);
}

static void free_names(void *field)
{
    struct config_names *names = field;

    while (names->len)
        free(names->list[--names->len]);
    free(TAKE(names->list));
}

static bool same_names(const void *a, const void *b)
{
    const struct config_names *x = a, *y = b;
    size_t i = 0;

    while (i < x->len && i < y->len && strcmp(x->list[i], y->list[i]) == 0)
        i++;
    return i == x->len && i == y->len;
}

static const struct config_type names_type = {.size = sizeof(struct config_names),
                                              .list = true,
                                              .read = read_name,
                                              .free = free_names,
                                              .same = same_names};

static const struct config_type paths_type = {.size = sizeof(struct config_names),
                                              .list = true,
                                              .read = read_path,
                                              .free = free_names,
                                              .same = same_names};

/* "100Mi", "1G", "4096". */
static int read_size(const struct config_key *key, const char *text, void *field, struct err *err)
{
    static const struct {
        const char *word;
        uint64_t bytes;
    } units[] = {{"", 1},      {"k", 1000},     {"M", 1000000}, {"G", 1000000000},
                 {"Ki", 1024}, {"Mi", 1 << 20}, {"Gi", 1 << 30}};
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    (void)key;
    for (size_t i = 0; *text >= '0' && *text <= '9' && i < ARRAY_SIZE(units); i++)
        if (strcmp(end, units[i].word) == 0 && value <= INT64_MAX / units[i].bytes) {
            *(uint64_t *)field = value * units[i].bytes;
            return 0;
        }
    return err_set(err, -EINVAL, "'%.100s' is no size, such as 100Mi or 500k", text);
}

static const struct config_type size_type = {.size = sizeof(uint64_t), .read = read_size};

/* An address and a port by number; or "", for none. */
static int read_address(const struct config_key *key, const char *text, void *field,
                        struct err *err)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    char **out = field;

    (void)key;
    if (*text && (evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &len) < 0 ||
                  !(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                                 : ((struct sockaddr_in6 *)&address)->sin6_port)))
        return err_set(err, -EINVAL,
                       "'%.100s' is no address and port, such as 127.0.0.1:9470 or [::1]:9470; '' "
                       "is none",
                       text);
    *out = strdup(text);
    return *out ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static const struct config_type address_type = {
    .size = sizeof(char *), .read = read_address, .free = free_text, .same = same_text};

/* ---- the table ---- */

static const char *const outputs[] = {"compact", "json", NULL};
static const char *const when_down[] = {"closed", "open", NULL};
static const char *const routes[] = {"auto", "proxy", "kernel", "passthrough", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

#define FIELD(name) .field = offsetof(struct config, name)

const struct config_key config_keys[] = {
    {"output", "output", 'o', "compact|json", "form of the events", &choice_type, FIELD(output),
     .preset = "compact", .words = outputs},
    {"eventsFile", "events-file", 0, "FILE", "append them there instead of writing to stdout",
     &text_type, FIELD(events_file)},
    {"eventsFileMaxSize", "events-file-max-size", 0, "SIZE",
     "begin a new file before it is larger; 0: never", &size_type, FIELD(events_file_max_size),
     .preset = "100Mi"},
    {"eventsFileBackups", "events-file-backups", 0, "N", "full ones to keep: FILE.1 and so on",
     &count_type, FIELD(events_file_backups), .preset = "5", .most = 1000},
    {"ca", "ca", 0, "DIR",
     "sign with the CA in DIR; without: $STATE_DIRECTORY/ca or /var/lib/sallyport/ca, made if "
     "missing",
     &text_type, FIELD(ca), .live = true},
    {"upstreamCa", "upstream-ca", 0, "FILE", "trust these roots, too, when verifying servers",
     &text_type, FIELD(upstream_ca), .live = true},
    {"listen", "listen", 0, "ADDR:PORT", "no BPF, no pods: take what nftables sends there",
     &listen_type, FIELD(listen)},
    {"ports", "ports", 0, "LIST|all", "TCP ports of new pods to look into (443,8443,853,80,8080)",
     &ports_type, FIELD(ports), .live = true},
    {"loopback", "loopback", 0, NULL, "look into new pods' connections to loopback, too",
     &switch_type, FIELD(loopback), .live = true},
    {"onAgentDown", "on-agent-down", 0, "closed|open",
     "without an agent new pods' connections fail, or go unseen", &choice_type,
     FIELD(open_when_down), .live = true, .preset = "closed", .words = when_down},
    {"route", "route", 0, "auto|proxy|kernel|passthrough",
     "how new pods are read, where no policy says: auto is in the kernel those that encrypt there",
     &choice_type, FIELD(route), .live = true, .preset = "auto", .words = routes},
    {"passthrough", "passthrough", 0, "NAMES", "servers whose TLS is never ended, only passed on",
     &names_type, FIELD(passthrough), .live = true},
    {"policy", "policy", 0, "FILES",
     "policies beside policies.d, which is where the config file is: files, or directories",
     &paths_type, FIELD(policy), .live = true},
    {"clientCertificates", "client-certificates", 0, "DIR",
     "certificates to show to servers that ask for one", &text_type, FIELD(client_certificates),
     .live = true},
    {"workers", "workers", 0, "N", "threads that serve connections (one a CPU)", &count_type,
     FIELD(workers), .least = 1, .most = 1024},
    {"cgroupRoot", "cgroup-root", 0, "DIR",
     "pods are in this cgroup or below (the root of cgroup v2)", &text_type, FIELD(cgroup_root)},
    {"runtimeDir", "runtime-dir", 0, "DIR",
     "where clients meet the agent ($RUNTIME_DIRECTORY, /run/sallyport)", &text_type,
     FIELD(runtime_dir)},
    {"adminAddress", "admin-address", 0, "ADDR:PORT",
     "where /metrics, /livez and /readyz are; '': nowhere", &address_type, FIELD(admin_address),
     .preset = "127.0.0.1:9470"},
    {"drainTimeout", "drain-timeout", 0, "TIME", "how long connections may last when it ends",
     &duration_type, FIELD(drain_timeout_ms), .live = true, .preset = "30s", .most = 24 * 3600000},
    {"logFormat", "log-format", 0, "text|json", "form of the agent's own log, on stderr",
     &either_type, FIELD(log_json), .live = true, .preset = "text", .words = log_formats},
    {"nodeName", "node-name", 0, "NAME", "this machine's name in events (its host name)",
     &text_type, FIELD(node_name)},
};
const size_t config_keys_len = ARRAY_SIZE(config_keys);
_Static_assert(ARRAY_SIZE(config_keys) <= CONFIG_KEYS_MAX, "config.h: CONFIG_KEYS_MAX");
