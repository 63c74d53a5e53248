#include "proxy/enforce/kernel_spells.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proxy/kernel/automaton.h"
#include "proxy/kernel/grammar.h"
#include "sallyport.skel.h"

/* Of the grammar's entry; those of rules have their number. */
static const uint32_t made_grammar = UINT32_MAX;

struct kernel_spells {
    struct spell_rows *table; /* the kernel's own memory */
    struct spell_about *abouts;
    struct rows grammar;
    bool complained;
};

static const size_t abouts_size = SPELL_ROWS * sizeof(struct spell_about);

static void *map_memory(const struct bpf_map *map, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static void set_made(struct kernel_spells *spells, size_t entry, uint32_t made)
{
    __atomic_store_n(&spells->abouts[entry].made, made, __ATOMIC_SEQ_CST);
}

/* Rows from `from` of the making on, to lie at `at`; entry excepted, they are there at once. */
static void lay(struct kernel_spells *spells, const struct rows *rows, size_t at)
{
    for (size_t i = 0; i < rows->len; i++) {
        bool masks = rows->abouts[i].action == SPELL_ACT_MASKS;

        for (size_t byte = 0; byte < 256; byte++) {
            uint16_t next = rows->next[i][byte], row = next & SPELL_ROW;

            if (!masks && row >= rows->base)
                next = (uint16_t)((next & ~SPELL_ROW) | (row - rows->base + at));
            spells->table->next[at + i][byte] = next;
        }
        spells->abouts[at + i].fits = rows->abouts[i].fits;
        spells->abouts[at + i].action = rows->abouts[i].action;
        spells->abouts[at + i].what = rows->abouts[i].what;
        if (i)
            set_made(spells, at + i, 0);
    }
}

/* An agent before us has left the same there: another grammar has another ABI_VERSION. */
static int lay_grammar(struct kernel_spells *spells, struct err *err)
{
    uint64_t key = spells->abouts[0].fits;
    bool there = spells->abouts[0].made == made_grammar;

    if (!there && getrandom(&key, sizeof(key), 0) != sizeof(key))
        return err_sys(err, -errno, "a key for the names of hosts");
    if (!grammar_make(&spells->grammar, key))
        return err_set(err, -ENOMEM, "the grammar of HTTP");
    if (!there)
        lay(spells, &spells->grammar, 0);
    set_made(spells, 0, made_grammar);
    return 0;
}

int kernel_spells_new(struct kernel_spells **out, struct sallyport_bpf *bpf, struct err *err)
{
    CLEANUP(kernel_spells_free) struct kernel_spells *spells = calloc(1, sizeof(*spells));
    int code;

    if (!spells)
        return err_set(err, -ENOMEM, "rows for the kernel");
    spells->table = map_memory(bpf->maps.spell_table, sizeof(*spells->table));
    spells->abouts = map_memory(bpf->maps.spell_abouts, abouts_size);
    if (!spells->table || !spells->abouts)
        return err_sys(err, -errno, "the kernel's memory for rows");
    code = lay_grammar(spells, err);
    if (code < 0)
        return code;
    *out = TAKE(spells);
    return 0;
}

void kernel_spells_free(struct kernel_spells **spells)
{
    struct kernel_spells *gone = TAKE(*spells);

    if (!gone)
        return;
    if (gone->table)
        munmap(gone->table, sizeof(*gone->table));
    if (gone->abouts)
        munmap(gone->abouts, abouts_size);
    rows_fini(&gone->grammar);
    free(gone);
}

uint64_t kernel_spells_key(const struct kernel_spells *spells)
{
    return spells->abouts[0].fits;
}

/* ---- where rows lie ---- */

/* The first of so many free rows; 0: there is no room. An entry says how many are its. */
static size_t find_room(const struct kernel_spells *spells, size_t len)
{
    size_t first = spells->grammar.len;

    for (size_t at = first; at < SPELL_ROWS && at - first < len;) {
        const struct spell_about *about = &spells->abouts[at];

        at += about->made && about->what ? about->what : 1;
        if (about->made)
            first = at;
    }
    return first + len <= SPELL_ROWS ? first : 0;
}

static void lay_rules(struct kernel_spells *spells, uint32_t number, const struct rows *rows,
                      struct policy_table *table)
{
    size_t at = find_room(spells, rows->len);

    table->unspelled = !at;
    if (!at)
        return;
    lay(spells, rows, at);
    spells->abouts[at].what = (uint16_t)rows->len;
    set_made(spells, at, number);
    table->row = (uint16_t)at;
}

int kernel_spells_write(struct kernel_spells *spells, uint32_t number, struct policy_table *table,
                        struct err *err)
{
    CLEANUP(rows_fini) struct rows rows = {.base = (uint16_t)spells->grammar.len};
    int code =
        automaton_make(&rows, &spells->grammar, table->spelling, kernel_spells_key(spells), number);

    if (code == -ENOMEM)
        return err_set(err, code, "rows for the kernel");
    table->row = 0;
    table->unspelled = code < 0;
    if (code == 0 && rows.len)
        lay_rules(spells, number, &rows, table);
    if (table->unspelled && !spells->complained) {
        spells->complained = true;
        log_warn(
            "the http rules of a pod are too many or too large to be read in the kernel: where "
            "they are about a connection that takes the kernel route, its requests are refused");
    }
    return 0;
}

void kernel_spells_erase(struct kernel_spells *spells, uint32_t number)
{
    for (size_t at = spells->grammar.len; at < SPELL_ROWS; at++)
        if (spells->abouts[at].made == number)
            set_made(spells, at, 0);
}

void kernel_spells_sweep(struct kernel_spells *spells, bool (*is_ours)(void *arg, uint32_t number),
                         void *arg)
{
    for (size_t at = spells->grammar.len; at < SPELL_ROWS; at++)
        if (spells->abouts[at].made && !is_ours(arg, spells->abouts[at].made))
            set_made(spells, at, 0);
}
