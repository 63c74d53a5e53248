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

static bool is_about_loopback(const struct policy_egress *egress)
{
    static const struct match_cidr v4 = {{.ip = {[10] = 0xff, 0xff, 127}}, 96 + 8};
    static const struct match_cidr v6 = {{.ip = {[15] = 1}}, 128};

    for (size_t i = 0; i < egress->cidrs_len; i++) {
        const struct match_cidr *cidr = &egress->cidrs[i].cidr;

        if ((cidr->bits >= v4.bits && match_cidr(&v4, &cidr->network)) ||
            (cidr->bits == v6.bits && match_cidr(&v6, &cidr->network)))
            return true;
    }
    return false;
}

static void add_rules(struct policy_table *table, const struct policy_egress *list, size_t len,
                      bool deny)
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
        parts->rules[parts->rules_len++] =
            (struct table_rule){egress, everywhere, deny && is_about_loopback(egress)};
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

        add_rules(table, policy->egress, policy->egress_len, false);
        add_rules(table, policy->egress_deny, policy->egress_deny_len, true);
    }
    return 0;
}

static int index_rules(struct policy_table *table, struct err *err)
{
    struct table_parts *parts = table->parts;

    table->words = bits_words(parts->rules_len);
    parts->where = calloc(parts->rules_len / BITS_MAX + 1, sizeof(*parts->where));
    if (!parts->where)
        return table_no_memory(err);
    for (size_t first = 0; first < parts->rules_len; first += BITS_MAX) {
        CLEANUP(index_terms_fini) struct index_terms terms = {0};
        size_t len = parts->rules_len - first < BITS_MAX ? parts->rules_len - first : BITS_MAX;

        for (size_t i = 0; i < len; i++) {
            const struct policy_egress *egress = parts->rules[first + i].egress;

            for (size_t j = 0; j < egress->names_len; j++)
                index_add_name(&terms, &egress->names[j], i, 1);
            for (size_t j = 0; j < egress->cidrs_len; j++)
                index_add_cidr(&terms, &egress->cidrs[j], i, 1);
        }
        if (index_make(&parts->where[parts->where_len], &terms, len) < 0)
            return table_no_memory(err);
        parts->where_len++;
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
    table->spelling = policy_spelling_new(view);
    code = table->spelling ? find_rules(table, err) : table_no_memory(err);
    if (code == 0)
        code = index_rules(table, err);
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
    for (size_t i = 0; i < parts->where_len; i++)
        index_fini(&parts->where[i]);
    free(parts->where);
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
    policy_spelling_free(&gone->spelling);
    parts_free(gone);
    free(gone->nets);
    free(gone->whos);
    free(gone->kinds);
    free(gone->lines);
    free(gone);
}

/* ---- where rules lead ---- */

void policy_table_add_address(const struct policy_table *table, const struct addr *address,
                              uint64_t *rules)
{
    for (size_t i = 0; i < table->parts->where_len; i++)
        index_find_address(&table->parts->where[i], address, rules + i * BITS_WORDS);
}

void policy_table_add_name(const struct policy_table *table, const char *name, uint64_t *rules)
{
    for (size_t i = 0; i < table->parts->where_len; i++)
        index_find(&table->parts->where[i], span_of_text(name), NULL, rules + i * BITS_WORDS);
}

uint64_t policy_table_named(const struct policy_table *table, const uint64_t *rules)
{
    uint64_t named = 0;

    for (size_t i = bits_next(rules, table->words, 0); i != SIZE_MAX;
         i = bits_next(rules, table->words, i + 1))
        named |= policy_spelling_named(table->spelling, table->parts->rules[i].egress);
    return named;
}

int policy_table_class(struct policy_table *table, const struct policy_table_led *led,
                       uint32_t *class, struct err *err)
{
    uint32_t *rules = calloc(table->parts->rules_len + 1, sizeof(*rules));
    size_t len = 0;
    int code;

    if (!rules)
        return table_no_memory(err);
    for (uint32_t i = 0; i < table->parts->rules_len; i++)
        if (bits_has(led->by_address, i))
            rules[len++] = table_by_address(i);
        else if (bits_has(led->by_name, i))
            rules[len++] = table_by_name(i);
    code = table_class_of(table, rules, len, led->address, &led->names, class, err);
    free(rules);
    return code;
}
