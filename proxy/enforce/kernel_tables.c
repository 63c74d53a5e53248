#include "proxy/enforce/kernel_tables.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "sallyport.skel.h"

_Static_assert((int)POLICY_TABLE_DENY == (int)ABI_VERDICT_DENY &&
                   (int)POLICY_TABLE_RESET == (int)ABI_VERDICT_RESET &&
                   (int)POLICY_TABLE_LOOK == (int)ABI_VERDICT_LOOK &&
                   (int)POLICY_TABLE_TELL == (int)ABI_VERDICT_TELL &&
                   (int)POLICY_TABLE_HERE == (int)ABI_VERDICT_HERE &&
                   (int)POLICY_TABLE_KERNEL == (int)ABI_VERDICT_KERNEL &&
                   (int)POLICY_TABLE_PROXY == (int)ABI_VERDICT_PROXY &&
                   (int)POLICY_TABLE_SURE == (int)ABI_VERDICT_SURE &&
                   (int)POLICY_TABLE_NEEDS == (int)ABI_VERDICT_NEEDS &&
                   (int)POLICY_TABLE_HELLO == (int)ABI_VERDICT_HELLO,
               "the kernel's verdicts are a table's");
_Static_assert((int)SPELLING_JUDGED == (int)ABI_SPELL_JUDGED &&
                   (int)SPELLING_AGENT == (int)ABI_SPELL_AGENT &&
                   (int)SPELLING_UNSEEN == (int)ABI_SPELL_UNSEEN &&
                   (int)SPELLING_BODY_TX == (int)ABI_SPELL_BODY_TX &&
                   (int)SPELLING_BODY_RX == (int)ABI_SPELL_BODY_RX &&
                   (int)SPELLING_KILL == (int)ABI_SPELL_KILL,
               "the kernel's spellings are a table's");

static struct abi_prefix key_of_net(uint32_t number, const struct policy_table_net *net)
{
    struct abi_prefix key = {.bits = 32 + net->cidr.bits, .rules = number};

    memcpy(key.ip, net->cidr.network.ip, sizeof(key.ip));
    return key;
}

static struct abi_who key_of_who(uint32_t number, const struct policy_table_who *who)
{
    return (struct abi_who){.rules = number, .binaries = who->binaries};
}

static struct abi_where key_of_line(uint32_t number, const struct policy_table_line *line)
{
    return (struct abi_where){.bits = ABI_WHERE_BITS + line->bits,
                              .rules = number,
                              .class = line->class,
                              .who = line->who,
                              .protocol =
                                  line->protocol == PROTOCOL_UDP ? IPPROTO_UDP : IPPROTO_TCP,
                              .port = {(uint8_t)(line->port >> 8), (uint8_t)line->port}};
}

static struct abi_where key_of_kind(uint32_t number, uint16_t who)
{
    return (struct abi_where){.bits = ABI_WHERE_BITS,
                              .rules = number,
                              .class = ABI_ANY_CLASS,
                              .who = who,
                              .protocol = ABI_ANY_PROTOCOL};
}

/* What is said of requests there. */
static struct abi_spelling spelling_of(const struct policy_table *table,
                                       const struct policy_table_line *line)
{
    uint32_t number = line->verdict >> POLICY_TABLE_PLACE_AT;
    const struct spelling_place *place;

    if (!number)
        return (struct abi_spelling){0};
    place = &table->spelling->places[number - 1];
    return (struct abi_spelling){
        .row = table->row,
        .flags = place->flags | (table->unspelled ? (uint32_t)ABI_SPELL_AGENT : 0),
        .rules = place->rules,
        .named = place->named,
        .denies = place->denies,
        .tls = place->tls,
    };
}

/* ---- writing ---- */

static int put(const struct bpf_map *map, const void *key, const void *value)
{
    return bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY);
}

static int write_lines(struct sallyport_bpf *bpf, uint32_t number, const struct policy_table *table,
                       size_t from)
{
    int code = 0;

    for (size_t i = from; code == 0 && i < table->lines_len; i++) {
        const struct policy_table_line *line = &table->lines[i];
        struct abi_where key = key_of_line(number, line);
        uint32_t verdict = line->verdict & POLICY_TABLE_VERDICT;

        code = put(bpf->maps.policy_ports, &key, &verdict);
        if (code == 0 && table->spelling->places_len && line->protocol == PROTOCOL_TCP) {
            struct abi_spelling spelling = spelling_of(table, line);

            code = put(bpf->maps.spells, &key, &spelling);
        }
    }
    return code;
}

static int write_table(struct sallyport_bpf *bpf, uint32_t number, const struct policy_table *table)
{
    int code = write_lines(bpf, number, table, 0);

    for (size_t i = 0; code == 0 && i < table->nets_len; i++) {
        struct abi_prefix key = key_of_net(number, &table->nets[i]);

        code = put(bpf->maps.policy_nets, &key, &table->nets[i].class);
    }
    for (size_t i = 0; code == 0 && i < table->whos_len; i++) {
        struct abi_who key = key_of_who(number, &table->whos[i]);
        uint32_t who = table->whos[i].who;

        code = put(bpf->maps.policy_whos, &key, &who);
    }
    for (uint16_t who = 0; code == 0 && who < table->kinds_len; who++) {
        struct abi_where key = key_of_kind(number, who);

        code = put(bpf->maps.policy_ports, &key, &table->kinds[who]);
    }
    return code;
}

static int failed(int code, struct err *err)
{
    if (code == -E2BIG)
        code = -ENOSPC;
    return err_sys(err, code, "telling the kernel the policies of a pod");
}

int kernel_tables_write(struct sallyport_bpf *bpf, uint32_t number,
                        const struct policy_table *table, struct err *err)
{
    struct abi_rules about = {.flags = ABI_RULES_AGENT};
    int code = 0;

    if (table) {
        about = (struct abi_rules){.flags = table->names ? ABI_RULES_NAMES : 0u,
                                   .binaries = table->numbers,
                                   .family = table->family};
        code = write_table(bpf, number, table);
    }
    if (code == 0)
        code = put(bpf->maps.policy_rules, &number, &about);
    if (code < 0)
        kernel_tables_erase(bpf, number, table);
    return code < 0 ? failed(code, err) : 0;
}

int kernel_tables_add_lines(struct sallyport_bpf *bpf, uint32_t number,
                            const struct policy_table *table, size_t from, struct err *err)
{
    int code = write_lines(bpf, number, table, from);

    return code < 0 ? failed(code, err) : 0;
}

/* ---- erasing ---- */

static void drop(const struct bpf_map *map, const void *key)
{
    bpf_map_delete_elem(bpf_map__fd(map), key);
}

/* About it last: a look-up that finds that finds the rest, too, or leaves it to the agent. */
void kernel_tables_erase(struct sallyport_bpf *bpf, uint32_t number,
                         const struct policy_table *table)
{
    for (size_t i = 0; table && i < table->nets_len; i++) {
        struct abi_prefix key = key_of_net(number, &table->nets[i]);

        drop(bpf->maps.policy_nets, &key);
    }
    for (size_t i = 0; table && i < table->whos_len; i++) {
        struct abi_who key = key_of_who(number, &table->whos[i]);

        drop(bpf->maps.policy_whos, &key);
    }
    for (size_t i = 0; table && i < table->lines_len; i++) {
        struct abi_where key = key_of_line(number, &table->lines[i]);

        drop(bpf->maps.policy_ports, &key);
        if (table->spelling->places_len)
            drop(bpf->maps.spells, &key);
    }
    for (uint16_t who = 0; table && who < table->kinds_len; who++) {
        struct abi_where key = key_of_kind(number, who);

        drop(bpf->maps.policy_ports, &key);
    }
    drop(bpf->maps.policy_rules, &number);
}

/* ---- others' ---- */

uint32_t kernel_tables_last(struct sallyport_bpf *bpf)
{
    int fd = bpf_map__fd(bpf->maps.policy_rules);
    uint32_t key, last = 0;
    int code = bpf_map_get_next_key(fd, NULL, &key);

    while (code == 0) {
        last = key > last ? key : last;
        code = bpf_map_get_next_key(fd, &key, &key);
    }
    return last;
}

/* Keys of at most this size, with the number at this place. */
struct keyed {
    const struct bpf_map *map;
    size_t number_at;
};
enum { KEY_MAX = 32 };
_Static_assert(sizeof(struct abi_resolved) <= KEY_MAX && sizeof(struct abi_where) <= KEY_MAX &&
                   sizeof(struct abi_prefix) <= KEY_MAX,
               "room for every key");

static void sweep_map(const struct keyed *keyed, bool (*is_ours)(void *arg, uint32_t number),
                      void *arg)
{
    uint8_t key[KEY_MAX], next[KEY_MAX];
    int fd = bpf_map__fd(keyed->map);
    int code = bpf_map_get_next_key(fd, NULL, next);

    while (code == 0) {
        uint32_t number;

        memcpy(key, next, sizeof(key));
        code = bpf_map_get_next_key(fd, key, next); /* before that key goes */
        memcpy(&number, key + keyed->number_at, sizeof(number));
        if (!is_ours(arg, number))
            bpf_map_delete_elem(fd, key);
    }
}

void kernel_tables_sweep(struct sallyport_bpf *bpf, bool (*is_ours)(void *arg, uint32_t number),
                         void *arg)
{
    const struct keyed maps[] = {
        {bpf->maps.policy_nets, offsetof(struct abi_prefix, rules)},
        {bpf->maps.policy_whos, offsetof(struct abi_who, rules)},
        {bpf->maps.policy_ports, offsetof(struct abi_where, rules)},
        {bpf->maps.spells, offsetof(struct abi_where, rules)},
        {bpf->maps.policy_names, offsetof(struct abi_resolved, rules)},
        {bpf->maps.policy_rules, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        sweep_map(&maps[i], is_ours, arg);
}
