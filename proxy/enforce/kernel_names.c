#include "proxy/enforce/kernel_names.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "policy/bits.h"
#include "proxy/dns/names.h"
#include "proxy/enforce/kernel_spoken.h"
#include "proxy/enforce/kernel_tables.h"
#include "sallyport.skel.h"

enum {
    NAMES_MAX = 32, /* of an address */
    OVER_MAX = 2,   /* classes by names whose time is over, of ABI_CLASSES */
};

struct name {
    uint64_t until_ns;
    char *text; /* owned */
};
struct place {
    uint8_t ip[16]; /* first: what the tree sorts by */
    struct place *older, *newer;
    struct name names[NAMES_MAX];
    size_t len;
};
struct kernel_names {
    struct sallyport_bpf *bpf;
    struct policy_table *table;
    uint64_t pod;
    uint32_t number;
    uint64_t key;                  /* of hashes */
    void *tree;                    /* tsearch(3) of struct place */
    struct place *oldest, *newest; /* by when a name was added; but for those that never end */
    size_t len;                    /* names of those */
    uint64_t *rules;               /* sets of rules; one for each name and one for the address */
    bool complained;
};

static int by_ip(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(((struct place *)0)->ip));
}

int kernel_names_new(struct kernel_names **out, struct sallyport_bpf *bpf, uint64_t pod,
                     uint32_t number, struct policy_table *table, uint64_t key, struct err *err)
{
    struct kernel_names *names = calloc(1, sizeof(*names));

    if (names)
        names->rules = calloc((NAMES_MAX + 1) * table->words, sizeof(*names->rules));
    if (!names || !names->rules) {
        free(names);
        return err_set(err, -ENOMEM, "names of a pod");
    }
    names->bpf = bpf;
    names->pod = pod;
    names->number = number;
    names->table = table;
    names->key = key;
    *out = names;
    return 0;
}

static struct abi_resolved key_of(const struct kernel_names *names, const struct place *place)
{
    struct abi_resolved key = {.pod = names->pod, .rules = names->number};

    memcpy(key.ip, place->ip, sizeof(key.ip));
    return key;
}

static void drop_name(struct kernel_names *names, struct place *place, size_t i, bool leave)
{
    if (!leave)
        kernel_spoken_drop(names->bpf, names->key, names->pod, place->ip, place->names[i].text);
    free(place->names[i].text);
    place->names[i] = place->names[--place->len];
}

static bool is_linked(const struct kernel_names *names, const struct place *place)
{
    return place->older || names->oldest == place;
}

static void unlink_place(struct kernel_names *names, struct place *place)
{
    if (!is_linked(names, place))
        return;
    *(place->older ? &place->older->newer : &names->oldest) = place->newer;
    *(place->newer ? &place->newer->older : &names->newest) = place->older;
    place->older = place->newer = NULL;
    names->len -= place->len;
}

/* As the newest; unless one of its names never ends. */
static void link_place(struct kernel_names *names, struct place *place)
{
    for (size_t i = 0; i < place->len; i++)
        if (place->names[i].until_ns == UINT64_MAX)
            return;
    place->older = names->newest;
    *(names->newest ? &names->newest->newer : &names->oldest) = place;
    names->newest = place;
    names->len += place->len;
}

static void drop_place(struct kernel_names *names, struct place *place, bool leave)
{
    struct abi_resolved key = key_of(names, place);

    if (!leave)
        bpf_map_delete_elem(bpf_map__fd(names->bpf->maps.policy_names), &key);
    unlink_place(names, place);
    tdelete(place, &names->tree, by_ip);
    while (place->len)
        drop_name(names, place, 0, leave);
    free(place);
}

void kernel_names_free(struct kernel_names **names, bool leave)
{
    struct kernel_names *gone = TAKE(*names);

    while (gone && gone->tree)
        drop_place(gone, *(struct place **)gone->tree, leave);
    if (gone)
        free(gone->rules);
    free(gone);
}

/* ---- places ---- */

/* NULL: out of memory. It is in no list: it has as many names as before, or one more, and is then
 * the newest. As many are kept as of the names that the agent itself goes by (dns/names.h). */
static struct place *take_place(struct kernel_names *names, const struct addr *address)
{
    struct place **found = tfind(address->ip, &names->tree, by_ip), *place;

    if (found) {
        unlink_place(names, *found);
        return *found;
    }
    place = calloc(1, sizeof(*place));
    if (!place)
        return NULL;
    memcpy(place->ip, address->ip, sizeof(place->ip));
    if (!tsearch(place, &names->tree, by_ip)) {
        free(place);
        return NULL;
    }
    return place;
}

static void give_place(struct kernel_names *names, struct place *place)
{
    if (!place->len) {
        drop_place(names, place, false);
        return;
    }
    link_place(names, place);
    while (names->len > NAMES_OF_POD_MAX)
        drop_place(names, names->oldest, false);
}

static uint64_t *set_of(const struct kernel_names *names, size_t i)
{
    return names->rules + i * names->table->words;
}

/* The rules that a name leads to; NULL: none. */
static const uint64_t *rules_of(const struct kernel_names *names, const char *name)
{
    uint64_t *set = set_of(names, 0);

    memset(set, 0, names->table->words * sizeof(*set));
    policy_table_add_name(names->table, name, set);
    return bits_next(set, names->table->words, 0) != SIZE_MAX ? set : NULL;
}

/* Where the next agent finds it, and the kernel that reads requests. */
static void write_down(const struct kernel_names *names, const struct place *place,
                       const struct name *name)
{
    const uint64_t *rules = rules_of(names, name->text);
    const struct kernel_spoken spoken = {
        .name = name->text,
        .until_ns = name->until_ns,
        .rules = names->number,
        .fits = rules ? policy_table_named(names->table, rules) : 0,
    };

    kernel_spoken_put(names->bpf, names->key, names->pod, place->ip, &spoken);
}

/* A name that is there holds for longer; else it takes the place of the one that ends first, where
 * there is no room: one whose time is over goes on to hold for who connected before. */
static bool keep_name(struct kernel_names *names, struct place *place, const char *text,
                      uint64_t until_ns)
{
    struct name fresh = {.until_ns = until_ns};
    size_t first = 0;

    for (size_t i = 0; i < place->len; i++) {
        if (strcmp(place->names[i].text, text) != 0)
            continue;
        if (until_ns <= place->names[i].until_ns)
            return true;
        place->names[i].until_ns = until_ns;
        write_down(names, place, &place->names[i]);
        return true;
    }
    for (size_t i = 1; i < place->len; i++)
        if (place->names[i].until_ns < place->names[first].until_ns)
            first = i;
    fresh.text = strdup(text);
    if (!fresh.text)
        return false;
    if (place->len == NAMES_MAX)
        drop_name(names, place, first, false);
    place->names[place->len++] = fresh;
    write_down(names, place, &fresh);
    return true;
}

/* ---- telling ---- */

static int by_until(const void *a, const void *b)
{
    const struct name *x = a, *y = b;

    return (x->until_ns > y->until_ns) - (x->until_ns < y->until_ns);
}

/* Set i: the rules that lead there by the names from i on; the last one: by the address. */
static void find_rules(struct kernel_names *names, const struct place *place,
                       const struct addr *address)
{
    size_t words = names->table->words;

    memset(names->rules, 0, (NAMES_MAX + 1) * words * sizeof(*names->rules));
    for (size_t i = place->len; i-- > 0;) {
        if (i + 1 < place->len)
            memcpy(set_of(names, i), set_of(names, i + 1), words * sizeof(*names->rules));
        policy_table_add_name(names->table, place->names[i].text, set_of(names, i));
    }
    policy_table_add_address(names->table, address, set_of(names, NAMES_MAX));
}

/* The class by the names from this one on. */
static int class_of(struct kernel_names *names, const struct place *place, size_t from,
                    uint32_t *class, struct err *err)
{
    const char *list[NAMES_MAX];
    struct addr address = {0};
    const struct policy_table_led led = {
        .address = &address,
        .names = {list, place->len - from},
        .by_address = set_of(names, NAMES_MAX),
        .by_name = set_of(names, from),
    };
    size_t lines = names->table->lines_len;
    int code;

    memcpy(address.ip, place->ip, sizeof(address.ip));
    for (size_t i = from; i < place->len; i++)
        list[i - from] = place->names[i].text;
    code = policy_table_class(names->table, &led, class, err);
    if (code == 0)
        code = kernel_tables_add_lines(names->bpf, names->number, names->table, lines, err);
    return code;
}

static bool is_same(const struct kernel_names *names, size_t i, size_t j)
{
    return memcmp(set_of(names, i), set_of(names, j),
                  names->table->words * sizeof(*names->rules)) == 0;
}

/* Which class it is from the name at *from on, and how long: until that is over by which it would
 * be another. *from moves to the first that is left then. */
static int next_class(struct kernel_names *names, const struct place *place, size_t *from,
                      uint32_t *class, uint64_t *until_ns, struct err *err)
{
    uint32_t other = 0;
    int code = class_of(names, place, *from, class, err);

    other = *class;
    while (code == 0 && other == *class) {
        *until_ns = place->names[*from].until_ns;
        if (++*from == place->len)
            break;
        if (!is_same(names, *from - 1, *from))
            code = class_of(names, place, *from, &other, err);
    }
    return code;
}

/* The name that the first class is by. */
static size_t first_name(const struct kernel_names *names, const struct place *place,
                         uint64_t now_ns)
{
    size_t from = 0, over = 0;

    while (from < place->len && place->names[from].until_ns <= now_ns)
        from++;
    for (; from > 0; from--)
        if ((from == place->len || !is_same(names, from - 1, from)) && ++over > OVER_MAX)
            break;
    return from;
}

static int tell(struct kernel_names *names, struct place *place, uint64_t now_ns, struct err *err)
{
    struct abi_resolved key = key_of(names, place);
    struct abi_class value = {0};
    struct addr address = {0};
    size_t from;
    int code = 0;

    memcpy(address.ip, place->ip, sizeof(address.ip));
    qsort(place->names, place->len, sizeof(*place->names), by_until);
    find_rules(names, place, &address);
    from = first_name(names, place, now_ns);
    for (size_t i = 0; code == 0 && i < ABI_CLASSES && from < place->len; i++)
        code = next_class(names, place, &from, &value.by[i].class,
                          (uint64_t *)&value.by[i].until_ns, err);
    if (code < 0)
        return code;
    code = bpf_map_update_elem(bpf_map__fd(names->bpf->maps.policy_names), &key, &value, BPF_ANY);
    return code < 0 ? err_sys(err, code, "telling the kernel an address") : 0;
}

void kernel_names_add(struct kernel_names *names, const char *name, const struct addr *address,
                      uint64_t until_ns, uint64_t now_ns)
{
    struct place *place;
    struct err err = {0};
    int code = -ENOMEM;

    if (!rules_of(names, name))
        return;
    place = take_place(names, address);
    if (place && keep_name(names, place, name, until_ns))
        code = tell(names, place, now_ns, &err);
    else
        err_set(&err, code, "no memory for another address");
    if (place)
        give_place(names, place);
    if (code < 0 && !names->complained)
        log_warn("connects to what was resolved are denied: %s", err.text);
    names->complained |= code < 0;
}

static void remember(const void *node, VISIT when, void *arg)
{
    const struct place *place = *(struct place *const *)node;
    const struct kernel_names *names = arg;

    if (when != postorder && when != leaf)
        return;
    for (size_t i = 0; i < place->len; i++)
        write_down(names, place, &place->names[i]);
}

void kernel_names_remember(const struct kernel_names *names)
{
    twalk_r(names->tree, remember, (void *)names);
}
