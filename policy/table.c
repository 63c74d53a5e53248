#include "policy/table.h"

#include <errno.h>
#include <search.h>

#include "base/cleanup.h"
#include "policy/table_parts.h"

int table_no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "a table of policies");
}

int table_too_large(const char *what, struct err *err)
{
    return err_set(err, -E2BIG, "the policies of one pod have %s", what);
}

/* ---- rules ---- */

static void add_rules(struct policy_table *table, const struct policy_egress *list, size_t len)
{
    struct table_parts *parts = table->parts;

    for (size_t i = 0; i < len; i++) {
        const struct policy_egress *egress = &list[i];
        bool everywhere = !egress->names_len && !egress->cidrs_len;

        if (egress->nowhere)
            continue;
        table->names |= egress->names_len > 0;
        if (everywhere)
            parts->everywhere[parts->everywhere_len++] = (uint32_t)parts->rules_len;
        parts->rules[parts->rules_len++] = (struct table_rule){egress, everywhere};
    }
}

static int find_rules(struct policy_table *table, struct err *err)
{
    const struct policy_view *view = table->parts->view;
    size_t len = 0;

    for (size_t i = 0; i < policy_view_len(view); i++)
        len += policy_view_at(view, i)->egress_len + policy_view_at(view, i)->egress_deny_len;
    table->parts->rules = calloc(len + 1, sizeof(*table->parts->rules));
    table->parts->everywhere = calloc(len + 1, sizeof(*table->parts->everywhere));
    if (!table->parts->rules || !table->parts->everywhere)
        return table_no_memory(err);
    for (size_t i = 0; i < policy_view_len(view); i++) {
        const struct policy *policy = policy_view_at(view, i);

        add_rules(table, policy->egress, policy->egress_len);
        add_rules(table, policy->egress_deny, policy->egress_deny_len);
    }
    return 0;
}

/* ---- the whole ---- */

int policy_table_new(struct policy_table **out, struct policy_view *view, struct binaries *binaries,
                     struct err *err)
{
    CLEANUP(policy_table_free) struct policy_table *table = calloc(1, sizeof(*table));
    int code;

    if (!table || !(table->parts = calloc(1, sizeof(*table->parts))))
        return table_no_memory(err);
    table->parts->view = policy_view_ref(view);
    table->parts->binaries = binaries;
    code = find_rules(table, err);
    if (code == 0)
        code = table_find_whos(table, err);
    if (code == 0)
        code = table_find_nets(table, err);
    if (code < 0)
        return code;
    *out = TAKE(table);
    return 0;
}

static void parts_free(struct policy_table *table)
{
    struct table_parts *parts = TAKE(table->parts);

    if (!parts)
        return;
    tdestroy(parts->known_sets, free);
    tdestroy(parts->known_lines, free);
    for (size_t i = 0; i < table->kinds_len; i++)
        policy_scope_free(&parts->scopes[i]);
    free(parts->scopes);
    free(parts->reads);
    free(parts->rules);
    free(parts->everywhere);
    binaries_release(parts->binaries, table->numbers);
    policy_view_unref(&parts->view);
    free(parts);
}

void policy_table_free(struct policy_table **table)
{
    struct policy_table *gone = TAKE(*table);

    if (!gone)
        return;
    parts_free(gone);
    free(gone->nets);
    free(gone->whos);
    free(gone->kinds);
    free(gone->lines);
    free(gone);
}

/* ---- names ---- */

static bool has_name(const struct policy_egress *egress, const char *name)
{
    for (size_t i = 0; i < egress->names_len; i++)
        if (match_pattern(egress->names[i].text, name))
            return true;
    return false;
}

bool policy_table_has_name(const struct policy_table *table, const char *name)
{
    for (size_t i = 0; i < table->parts->rules_len; i++)
        if (has_name(table->parts->rules[i].egress, name))
            return true;
    return false;
}

static bool has_address(const struct policy_egress *egress, const struct addr *address)
{
    for (size_t i = 0; i < egress->cidrs_len; i++) {
        const struct policy_cidr *cidr = &egress->cidrs[i];
        bool fits = match_cidr(&cidr->cidr, address);

        for (size_t j = 0; fits && j < cidr->except_len; j++)
            fits = !match_cidr(&cidr->except[j], address);
        if (fits)
            return true;
    }
    return false;
}

static bool has_any_name(const struct policy_egress *egress, const struct policy_names *names)
{
    for (size_t i = 0; i < names->len; i++)
        if (has_name(egress, names->list[i]))
            return true;
    return false;
}

int policy_table_class(struct policy_table *table, const struct addr *address,
                       const struct policy_names *names, uint32_t *class, struct err *err)
{
    const struct table_parts *parts = table->parts;
    uint32_t *rules = calloc(parts->rules_len + 1, sizeof(*rules));
    size_t len = 0;
    int code;

    if (!rules)
        return table_no_memory(err);
    for (uint32_t i = 0; i < parts->rules_len; i++) {
        const struct policy_egress *egress = parts->rules[i].egress;

        if (parts->rules[i].everywhere)
            continue;
        if (has_address(egress, address))
            rules[len++] = table_by_address(i);
        else if (has_any_name(egress, names))
            rules[len++] = table_by_name(i);
    }
    code = table_class_of(table, rules, len, address, names, class, err);
    free(rules);
    return code;
}
