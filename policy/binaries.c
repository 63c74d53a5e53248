#include "policy/binaries.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static void list_fini(struct binaries_list *list)
{
    while (list->len)
        free(list->values[--list->len]);
    free(list->values);
    *list = (struct binaries_list){0};
}

void binaries_fini(struct binaries *binaries)
{
    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        list_fini(&binaries->lists[i]);
}

/* Of one that is denied, too: what it denies is what is on the list. */
static enum policy_operator kind_of(const struct policy_binaries *of)
{
    switch (of->operator) {
    case POLICY_PREFIX:
    case POLICY_NOT_PREFIX:
        return POLICY_PREFIX;
    case POLICY_POSTFIX:
    case POLICY_NOT_POSTFIX:
        return POLICY_POSTFIX;
    default:
        return POLICY_IN;
    }
}

static bool is_same(const struct binaries_list *list, const struct policy_binaries *of)
{
    if (!list->users || list->kind != kind_of(of) || list->family != of->follow_children ||
        list->len != of->values_len)
        return false;
    for (size_t i = 0; i < list->len; i++)
        if (strcmp(list->values[i], of->values[i]) != 0)
            return false;
    return true;
}

static int fill(struct binaries_list *list, const struct policy_binaries *of)
{
    struct binaries_list fresh = {.kind = kind_of(of), .family = of->follow_children, .users = 1};

    for (size_t i = 0; i < of->values_len; i++)
        if (strlen(of->values[i]) > BINARIES_VALUE_MAX)
            return -E2BIG;
    fresh.values = calloc(of->values_len + 1, sizeof(char *));
    while (fresh.values && fresh.len < of->values_len &&
           (fresh.values[fresh.len] = strdup(of->values[fresh.len])))
        fresh.len++;
    if (!fresh.values || fresh.len < of->values_len) {
        list_fini(&fresh);
        return -ENOMEM;
    }
    *list = fresh;
    return 0;
}

int binaries_use(struct binaries *binaries, const struct policy_binaries *of)
{
    int place = -ENOSPC, code;

    for (int i = 0; i < BINARIES_LISTS_MAX; i++) {
        if (is_same(&binaries->lists[i], of)) {
            binaries->lists[i].users++;
            return i;
        }
        if (place < 0 && !binaries->lists[i].users)
            place = i;
    }
    if (place < 0)
        return place;
    code = fill(&binaries->lists[place], of);
    if (code < 0)
        return code;
    binaries->fresh |= 1ull << place;
    binaries->changed = true;
    return place;
}

void binaries_release(struct binaries *binaries, uint64_t numbers)
{
    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        if (numbers >> i & 1 && --binaries->lists[i].users == 0) {
            list_fini(&binaries->lists[i]);
            binaries->changed = true;
        }
}

int binaries_restore(struct binaries *binaries, int number, enum policy_operator kind,
                     const char *value)
{
    struct binaries_list *list = &binaries->lists[number];
    char *copy = strdup(value), **more = realloc(list->values, (list->len + 1) * sizeof(char *));

    if (more)
        list->values = more;
    if (!more || !copy) {
        free(copy);
        return -ENOMEM;
    }
    list->values[list->len++] = copy;
    list->kind = kind;
    list->users = 1;
    list->family = true; /* so that it is taken for no other: what it was is not known */
    return 0;
}

static bool has(const struct binaries_list *list, const char *path, size_t path_len)
{
    for (size_t i = 0; i < list->len; i++) {
        size_t len = strlen(list->values[i]);
        size_t from = list->kind == POLICY_POSTFIX ? path_len - len : 0;

        if (len <= path_len && (list->kind != POLICY_IN || len == path_len) &&
            memcmp(path + from, list->values[i], len) == 0)
            return true;
    }
    return false;
}

uint64_t binaries_of(const struct binaries *binaries, const char *path)
{
    size_t len = strlen(path);
    uint64_t numbers = 0;

    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        if (binaries->lists[i].users && has(&binaries->lists[i], path, len))
            numbers |= 1ull << i;
    return numbers;
}

uint64_t binaries_family(const struct binaries *binaries, uint64_t numbers)
{
    uint64_t family = 0;

    for (size_t i = 0; i < BINARIES_LISTS_MAX; i++)
        if (numbers >> i & 1 && binaries->lists[i].family)
            family |= 1ull << i;
    return family;
}
