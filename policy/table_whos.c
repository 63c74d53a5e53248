/* table_whos: which kinds of processes a view tells apart.
 *
 * A path is told by the values it equals, begins with and ends with, so one path for each value,
 * and one for each beginning with each end, stand for all there are. What is known of a process's
 * ancestors is any union of what is known of such paths. Each kind has an example, a process that
 * policy_scope_new() is asked about. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/table_parts.h"

enum { PATHS_MAX = 1024, FAMILIES_MAX = 64 };

struct path {
    char *text; /* owned */
    uint64_t numbers;
};
struct search {
    struct policy_table *table;
    struct path paths[PATHS_MAX]; /* that differ in their numbers */
    size_t paths_len;
    struct process ancestors[FAMILIES_MAX]; /* the last one of a line of them; the first is none */
    uint64_t families[FAMILIES_MAX];        /* what is known of that line */
    size_t families_len;
};

static void search_free(struct search **search)
{
    if (!*search)
        return;
    while ((*search)->paths_len)
        free((*search)->paths[--(*search)->paths_len].text);
    free(TAKE(*search));
}

/* ---- lists ---- */

static int use_lists(struct policy_table *table, struct err *err)
{
    const struct table_parts *parts = table->parts;

    for (size_t i = 0; i < policy_view_len(parts->view); i++) {
        const struct policy *policy = policy_view_at(parts->view, i);

        for (size_t j = 0; j < policy->binaries_len; j++) {
            int number = binaries_use(parts->binaries, &policy->binaries[j]);

            if (number == -ENOMEM)
                return table_no_memory(err);
            if (number == -E2BIG)
                return table_too_large("a matchBinaries value of more than 255 bytes", err);
            if (number < 0)
                return table_too_large("more lists of matchBinaries than 64 with all others", err);
            if (table->numbers >> number & 1) /* one use for each table is enough */
                binaries_release(parts->binaries, 1ull << number);
            table->numbers |= 1ull << number;
        }
    }
    table->family = binaries_family(parts->binaries, table->numbers);
    return 0;
}

/* ---- paths ---- */

/* Takes text. */
static int add_path(struct search *search, char *text)
{
    const struct policy_table *table = search->table;
    uint64_t numbers = text ? binaries_of(table->parts->binaries, text) & table->numbers : 0;
    bool known = false;

    for (size_t i = 0; i < search->paths_len; i++)
        known = known || search->paths[i].numbers == numbers;
    if (known || !text || search->paths_len == PATHS_MAX) {
        free(text);
        return known ? 0 : text ? -E2BIG : -ENOMEM;
    }
    search->paths[search->paths_len++] = (struct path){text, numbers};
    return 0;
}

/* The values of one kind of list that the table uses, one after the other; NULL: no more. */
static const char *next_value(const struct policy_table *table, enum policy_operator kind,
                              size_t *list, size_t *value)
{
    for (; *list < BINARIES_LISTS_MAX; (*list)++, *value = 0) {
        const struct binaries_list *at = &table->parts->binaries->lists[*list];

        if (table->numbers >> *list & 1 && at->kind == kind && *value < at->len)
            return at->values[(*value)++];
    }
    return NULL;
}

/* With what is no end of any beginning, and no beginning of any end, between. */
static int add_ends(struct search *search, const char *beginning)
{
    const char *end = "";
    size_t list = 0, value = 0;
    int code = 0;

    do {
        char *text;

        if (asprintf(&text, "%s\x01/\x01%s", beginning, end) < 0)
            text = NULL;
        code = add_path(search, text);
    } while (code == 0 && (end = next_value(search->table, POLICY_POSTFIX, &list, &value)));
    return code;
}

static int find_paths(struct search *search)
{
    const struct policy_table *table = search->table;
    size_t list = 0, value = 0;
    const char *text;
    int code = add_ends(search, "");

    while (code == 0 && (text = next_value(table, POLICY_IN, &list, &value)))
        code = add_path(search, strdup(text));
    list = value = 0;
    while (code == 0 && (text = next_value(table, POLICY_PREFIX, &list, &value)))
        code = add_ends(search, text);
    return code;
}

/* ---- families ---- */

static int find_families(struct search *search)
{
    uint64_t family = search->table->family;

    search->families_len = 1;
    for (size_t i = 0; i < search->families_len; i++)
        for (size_t j = 0; j < search->paths_len; j++) {
            uint64_t numbers = search->families[i] | (search->paths[j].numbers & family);
            size_t k = 0;

            while (k < search->families_len && search->families[k] != numbers)
                k++;
            if (k < search->families_len)
                continue;
            if (k == FAMILIES_MAX)
                return -E2BIG;
            search->families[k] = numbers;
            search->ancestors[k] = (struct process){.binary = search->paths[j].text,
                                                    .parent = i ? &search->ancestors[i] : NULL};
            search->families_len++;
        }
    return 0;
}

/* ---- kinds ---- */

static bool is_same(const struct policy_scope *a, const struct policy_scope *b)
{
    if (policy_scope_len(a) != policy_scope_len(b))
        return false;
    for (size_t i = 0; i < policy_scope_len(a); i++)
        if (policy_scope_at(a, i) != policy_scope_at(b, i))
            return false;
    return true;
}

bool policy_table_denies_any(const struct policy *policy)
{
    bool denies = policy->has_egress || policy->egress_deny_len ||
                  policy->consistency == POLICY_INSPECT_DENY ||
                  policy->tokens == POLICY_INSPECT_DENY;

    for (size_t i = 0; i < policy->bodies_len; i++)
        denies = denies || policy->bodies[i].action == VERDICT_DENY;
    return denies;
}

/* Of sockets that nobody can judge by address and port. */
static uint32_t verdict_on_kinds(const struct policy_scope *scope)
{
    uint32_t verdict = 0;

    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (!policy_table_denies_any(policy))
            continue;
        if (policy->mode == POLICY_ENFORCE)
            return POLICY_TABLE_DENY;
        verdict = POLICY_TABLE_TELL;
    }
    return verdict;
}

static bool reads(const struct policy_egress *list, size_t len)
{
    for (size_t i = 0; i < len; i++)
        for (size_t j = 0; j < list[i].to_ports_len; j++) {
            const struct policy_to_ports *to_ports = &list[i].to_ports[j];

            if (to_ports->http_len || to_ports->dns_len || to_ports->server_names_len ||
                to_ports->tls)
                return true;
        }
    return false;
}

/* Whether policy_decide_unseen() can deny anything. */
static bool reads_any(const struct policy_scope *scope)
{
    for (size_t i = 0; i < policy_scope_len(scope); i++) {
        const struct policy *policy = policy_scope_at(scope, i);

        if (policy->on_no_visibility > POLICY_UNSEEN_ALERT || policy->bodies_len ||
            policy->consistency != POLICY_INSPECT_OFF || policy->tokens != POLICY_INSPECT_OFF ||
            reads(policy->egress, policy->egress_len) ||
            reads(policy->egress_deny, policy->egress_deny_len))
            return true;
    }
    return false;
}

static int find_kind(struct policy_table *table, const struct process *process, uint16_t *who)
{
    struct table_parts *parts = table->parts;
    struct policy_scope *scope = policy_scope_new(parts->view, process);

    if (!scope)
        return -ENOMEM;
    for (*who = 0; *who < table->kinds_len; (*who)++)
        if (is_same(scope, parts->scopes[*who])) {
            policy_scope_free(&scope);
            return 0;
        }
    table->kinds[table->kinds_len] = verdict_on_kinds(scope);
    parts->reads[table->kinds_len] = reads_any(scope);
    parts->scopes[table->kinds_len++] = scope;
    return 0;
}

static int add_who(struct search *search, uint64_t numbers, const struct process *example)
{
    struct policy_table *table = search->table;
    struct policy_table_who *who = &table->whos[table->whos_len];

    for (size_t i = 0; i < table->whos_len; i++)
        if (table->whos[i].binaries == numbers)
            return 0;
    if (table->whos_len == TABLE_WHOS_MAX)
        return -E2BIG;
    who->binaries = numbers;
    table->whos_len++;
    return find_kind(table, example, &who->who);
}

static int add_whos(struct search *search)
{
    uint64_t family = search->table->family;
    int code = 0;

    for (size_t i = 0; code == 0 && i < search->families_len; i++)
        for (size_t j = 0; code == 0 && j < search->paths_len; j++) {
            const struct path *path = &search->paths[j];
            struct process example = {.binary = path->text,
                                      .parent = i ? &search->ancestors[i] : NULL};

            code = add_who(search, path->numbers | (search->families[i] & family), &example);
        }
    return code;
}

int table_find_whos(struct policy_table *table, struct err *err)
{
    CLEANUP(search_free) struct search *search = calloc(1, sizeof(*search));
    int code = use_lists(table, err);

    if (code < 0)
        return code;
    table->whos = calloc(TABLE_WHOS_MAX, sizeof(*table->whos));
    table->kinds = calloc(TABLE_WHOS_MAX, sizeof(*table->kinds));
    table->parts->scopes = calloc(TABLE_WHOS_MAX, sizeof(struct policy_scope *));
    table->parts->reads = calloc(TABLE_WHOS_MAX, sizeof(bool));
    if (!search || !table->whos || !table->kinds || !table->parts->scopes || !table->parts->reads)
        return table_no_memory(err);
    search->table = table;
    code = find_paths(search);
    if (code == 0)
        code = find_families(search);
    if (code == 0)
        code = add_whos(search);
    if (code == -E2BIG)
        return table_too_large("too many kinds of binaries that matchBinaries tells apart", err);
    return code < 0 ? table_no_memory(err) : 0;
}
