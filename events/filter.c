#include "events/filter.h"

#include <errno.h>
#include <regex.h>
#include <string.h>
#include <strings.h>

#include "base/span.h"

/* The words of compact lines, and "exec" for those who think of process_exec. */
static const struct {
    const char *word;
    enum flow_event_kind kind;
} words[] = {
    {"exec", FLOW_EVENT_EXEC},         {"process", FLOW_EVENT_EXEC},
    {"exit", FLOW_EVENT_EXIT},         {"connect", FLOW_EVENT_CONNECT},
    {"dns", FLOW_EVENT_DNS},           {"tls", FLOW_EVENT_TLS},
    {"http", FLOW_EVENT_HTTP},         {"grpc", FLOW_EVENT_GRPC},
    {"ws", FLOW_EVENT_WEBSOCKET},      {"websocket", FLOW_EVENT_WEBSOCKET},
    {"socket", FLOW_EVENT_SOCK_STATS}, {"sock_stats", FLOW_EVENT_SOCK_STATS},
    {"close", FLOW_EVENT_CLOSE},       {"capture", FLOW_EVENT_CAPTURE},
    {"policy", FLOW_EVENT_POLICY},     {"lost", FLOW_EVENT_LOST},
};

struct patterns {
    size_t len;
    regex_t list[FILTER_MAX];
};

struct filter {
    uint32_t types; /* bits of enum flow_event_kind; 0: any */
    size_t namespaces_len;
    char *namespaces[FILTER_MAX];
    struct patterns pods, processes;
};
_Static_assert(FLOW_EVENT_MAX <= 32, "struct filter: a bit for each kind");

int filter_new(struct filter **out, struct err *err)
{
    struct filter *filter = calloc(1, sizeof(*filter));

    if (!filter)
        return err_set(err, -ENOMEM, "no memory for a filter");
    *out = filter;
    return 0;
}

static void forget_patterns(struct patterns *patterns)
{
    while (patterns->len)
        regfree(&patterns->list[--patterns->len]);
}

void filter_free(struct filter **filter)
{
    struct filter *gone = TAKE(*filter);

    if (!gone)
        return;
    while (gone->namespaces_len)
        free(gone->namespaces[--gone->namespaces_len]);
    forget_patterns(&gone->pods);
    forget_patterns(&gone->processes);
    free(gone);
}

static int add_type(struct filter *filter, const char *text, struct err *err)
{
    for (unsigned kind = 0; kind < FLOW_EVENT_MAX; kind++)
        if (strcasecmp(text, flow_event_name(kind)) == 0) {
            filter->types |= 1u << kind;
            return 0;
        }
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcasecmp(text, words[i].word) == 0) {
            filter->types |= 1u << words[i].kind;
            return 0;
        }
    return err_set(err, -EINVAL,
                   "there are no events of type '%s'; say exec, exit, connect, dns, tls, http, "
                   "grpc, ws, socket, close, policy, capture or lost",
                   text);
}

static int add_namespace(struct filter *filter, const char *text, struct err *err)
{
    char *copy;

    if (filter->namespaces_len == FILTER_MAX)
        return err_set(err, -E2BIG, "more than %d namespaces", FILTER_MAX);
    copy = strdup(text);
    if (!copy)
        return err_set(err, -ENOMEM, "no memory for a filter");
    filter->namespaces[filter->namespaces_len++] = copy;
    return 0;
}

static int add_pattern(struct patterns *patterns, const char *text, struct err *err)
{
    char why[128];
    int code;

    if (patterns->len == FILTER_MAX)
        return err_set(err, -E2BIG, "more than %d regular expressions of one kind", FILTER_MAX);
    /* It runs on the thread that tells all events: what backtracks, or unfolds to megabytes, has
     * no place there. */
    for (const char *at = text; *at; at++)
        if (*at == '{' || (*at == '\\' && at[1] >= '1' && at[1] <= '9'))
            return err_set(err, -EINVAL,
                           "regular expression '%s': no back-references and no counts ('{', also "
                           "as a character) here",
                           text);
    code = regcomp(&patterns->list[patterns->len], text, REG_EXTENDED | REG_NOSUB);
    if (code) {
        regerror(code, &patterns->list[patterns->len], why, sizeof(why));
        return err_set(err, -EINVAL, "regular expression '%s': %s", text, why);
    }
    patterns->len++;
    return 0;
}

static int add_one(struct filter *filter, enum filter_key key, const char *text, struct err *err)
{
    switch (key) {
    case FILTER_TYPES:
        return add_type(filter, text, err);
    case FILTER_NAMESPACES:
        return add_namespace(filter, text, err);
    case FILTER_POD:
        return add_pattern(&filter->pods, text, err);
    case FILTER_PROCESS:
        return add_pattern(&filter->processes, text, err);
    }
    return -EINVAL;
}

int filter_add(struct filter *filter, enum filter_key key, const char *text, struct err *err)
{
    bool list = key == FILTER_TYPES || key == FILTER_NAMESPACES;
    const char *at = text;

    for (;;) {
        char one[FILTER_TEXT_MAX + 1];
        size_t len = list ? strcspn(at, ",") : strlen(at);
        int result;

        if (!len)
            return err_set(err, -EINVAL, "an empty condition%s",
                           list ? ": say words with commas between" : "");
        if (!span_to_text(span_of(at, len), one, sizeof(one)))
            return err_set(err, -E2BIG, "a condition longer than %d bytes", FILTER_TEXT_MAX);
        result = add_one(filter, key, one, err);
        if (result < 0 || !at[len])
            return result;
        at += len + 1;
    }
}

static bool matches(const struct patterns *patterns, const char *text)
{
    for (size_t i = 0; i < patterns->len; i++)
        if (regexec(&patterns->list[i], text, 0, NULL, 0) == 0)
            return true;
    return patterns->len == 0;
}

static bool in_namespace(const struct filter *filter, const char *space)
{
    for (size_t i = 0; i < filter->namespaces_len; i++)
        if (strcmp(filter->namespaces[i], space) == 0)
            return true;
    return filter->namespaces_len == 0;
}

bool filter_match(const struct filter *filter, const struct flow_event *event)
{
    const struct process *process = event->process;
    const struct pod *pod = event->pod ? event->pod : process ? process->pod : NULL;

    if (event->kind == FLOW_EVENT_LOST)
        return true;
    if (filter->types && !(filter->types >> event->kind & 1))
        return false;
    return in_namespace(filter, pod ? pod->space : "") &&
           matches(&filter->pods, pod ? pod->name : "") &&
           matches(&filter->processes, process ? process->binary : "");
}
