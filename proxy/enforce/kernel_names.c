#include "proxy/enforce/kernel_names.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "bpf/abi.h"
#include "proxy/enforce/kernel_spoken.h"
#include "proxy/enforce/kernel_tables.h"
#include "sallyport.skel.h"

enum { ADDRESSES_MAX = 8192, NAMES_MAX = 32 };

struct name {
    uint64_t until_ns;
    char *text; /* owned */
};
struct place {
    uint8_t ip[16]; /* first: what the tree sorts by */
    struct name names[NAMES_MAX];
    size_t len;
};
struct kernel_names {
    struct sallyport_bpf *bpf;
    struct policy_table *table;
    uint64_t pod;
    uint32_t number;
    void *tree; /* tsearch(3) of struct place */
    size_t len;
    bool complained;
};

static int by_ip(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(((struct place *)0)->ip));
}

int kernel_names_new(struct kernel_names **out, struct sallyport_bpf *bpf, uint64_t pod,
                     uint32_t number, struct policy_table *table, struct err *err)
{
    struct kernel_names *names = calloc(1, sizeof(*names));

    if (!names)
        return err_set(err, -ENOMEM, "names of a pod");
    names->bpf = bpf;
    names->pod = pod;
    names->number = number;
    names->table = table;
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
        kernel_spoken_drop(names->bpf, names->pod, place->ip, place->names[i].text);
    free(place->names[i].text);
    place->names[i] = place->names[--place->len];
}

static void drop_place(struct kernel_names *names, struct place *place, bool leave)
{
    struct abi_resolved key = key_of(names, place);

    if (!leave)
        bpf_map_delete_elem(bpf_map__fd(names->bpf->maps.policy_names), &key);
    tdelete(place, &names->tree, by_ip);
    names->len--;
    while (place->len)
        drop_name(names, place, 0, leave);
    free(place);
}

void kernel_names_free(struct kernel_names **names, bool leave)
{
    struct kernel_names *gone = TAKE(*names);

    while (gone && gone->tree)
        drop_place(gone, *(struct place **)gone->tree, leave);
    free(gone);
}

/* ---- places ---- */

struct over {
    struct place *place; /* one whose names are over; NULL: there is none */
    uint64_t now_ns;
};

static void find_over(const void *node, VISIT when, void *arg)
{
    struct place *place = *(struct place *const *)node;
    struct over *over = arg;
    bool holds = false;

    if (when != postorder && when != leaf)
        return;
    for (size_t i = 0; i < place->len; i++)
        holds = holds || place->names[i].until_ns > over->now_ns;
    if (!holds)
        over->place = place;
}

static bool make_room(struct kernel_names *names, uint64_t now_ns)
{
    struct over over = {.now_ns = now_ns};

    if (names->len < ADDRESSES_MAX)
        return true;
    twalk_r(names->tree, find_over, &over);
    if (over.place)
        drop_place(names, over.place, false);
    return over.place;
}

/* NULL: no room. */
static struct place *place_of(struct kernel_names *names, const struct addr *address,
                              uint64_t now_ns)
{
    struct place **found = tfind(address->ip, &names->tree, by_ip), *place;

    if (found)
        return *found;
    place = make_room(names, now_ns) ? calloc(1, sizeof(*place)) : NULL;
    if (!place)
        return NULL;
    memcpy(place->ip, address->ip, sizeof(place->ip));
    if (!tsearch(place, &names->tree, by_ip)) {
        free(place);
        return NULL;
    }
    names->len++;
    return place;
}

/* A name that is there holds for longer; else it takes the place of the one that ends first. */
static bool keep_name(struct kernel_names *names, struct place *place, const char *text,
                      uint64_t until_ns, uint64_t now_ns)
{
    struct name fresh = {.until_ns = until_ns};
    size_t first = 0;

    for (size_t i = place->len; i-- > 0;) {
        if (strcmp(place->names[i].text, text) == 0) {
            if (until_ns <= place->names[i].until_ns)
                return true;
            place->names[i].until_ns = until_ns;
            kernel_spoken_put(names->bpf, names->pod, place->ip, text, until_ns);
            return true;
        }
        if (place->names[i].until_ns <= now_ns)
            drop_name(names, place, i, false);
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
    kernel_spoken_put(names->bpf, names->pod, place->ip, text, until_ns);
    return true;
}

/* ---- telling ---- */

static int by_until(const void *a, const void *b)
{
    const struct name *x = a, *y = b;

    return (x->until_ns > y->until_ns) - (x->until_ns < y->until_ns);
}

/* The class by the names from this one on. */
static int class_of(struct kernel_names *names, const struct place *place, size_t from,
                    uint32_t *class, struct err *err)
{
    const char *list[NAMES_MAX];
    const struct policy_names wanted = {list, place->len - from};
    size_t lines = names->table->lines_len;
    struct addr address = {0};
    int code;

    memcpy(address.ip, place->ip, sizeof(address.ip));
    for (size_t i = from; i < place->len; i++)
        list[i - from] = place->names[i].text;
    code = policy_table_class(names->table, &address, &wanted, class, err);
    if (code == 0)
        code = kernel_tables_add_lines(names->bpf, names->number, names->table, lines, err);
    return code;
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
        code = class_of(names, place, *from, &other, err);
    }
    return code;
}

static int tell(struct kernel_names *names, struct place *place, struct err *err)
{
    struct abi_resolved key = key_of(names, place);
    struct abi_class value = {0};
    size_t from = 0;
    int code;

    qsort(place->names, place->len, sizeof(*place->names), by_until);
    code = next_class(names, place, &from, &value.class, (uint64_t *)&value.until_ns, err);
    if (code == 0 && from < place->len)
        code = next_class(names, place, &from, &value.then, (uint64_t *)&value.then_until_ns, err);
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
    int code;

    if (!policy_table_has_name(names->table, name))
        return;
    place = place_of(names, address, now_ns);
    code = place && keep_name(names, place, name, until_ns, now_ns)
               ? tell(names, place, &err)
               : err_set(&err, -ENOMEM, "no room for another address");
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
        kernel_spoken_put(names->bpf, names->pod, place->ip, place->names[i].text,
                          place->names[i].until_ns);
}

void kernel_names_remember(const struct kernel_names *names)
{
    twalk_r(names->tree, remember, (void *)names);
}
