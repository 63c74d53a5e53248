/* spell_fuzz: the kernel's reader of HTTP/1 (bpf/spell.h) against the proxy's (wire/http1): what
 * that accepts has the same heads, messages and ends, wherever it is cut; what it refuses is no
 * HTTP here, or fits no rule.
 *
 * Input as http1_fuzz's, the corpus of which is this one's too: a byte of flags (bit 0 answers, 1
 * to HEAD, 2 to CONNECT, 3 upgrades are taken), a byte that bounds the pieces, a byte that seeds
 * their lengths; then the direction's bytes. */
#include <string.h>

#include "base/cleanup.h"
#include "bpf/spell.h"
#include "proxy/kernel/grammar.h"
#include "proxy/wire/http1.h"
#include "tests/fuzz/check.h"

const struct spell_rows *spell_rows_here;
const struct spell_about *spell_abouts_here;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ANSWERS = 1, TO_HEAD = 2, TO_CONNECT = 4, TAKEN = 8, EVENTS_MAX = 2048 };

enum event_kind { EVENT_HEAD, EVENT_DONE, EVENT_END };
struct event {
    enum event_kind kind;
    size_t at;
    bool fits;
};
struct telling {
    struct event events[EVENTS_MAX];
    size_t len;
    bool bad; /* behind the last one something is wrong */
};

static void add(struct telling *telling, enum event_kind kind, size_t at, bool fits)
{
    CHECK(telling->len < EVENTS_MAX);
    telling->events[telling->len++] = (struct event){kind, at, fits};
}

/* ---- the proxy's ---- */

static void read_http1(struct span all, unsigned flags, struct telling *telling)
{
    struct http1 *http1 = http1_new(flags & ANSWERS ? HTTP1_RESPONSE : HTTP1_REQUEST);
    enum http1_status status = HTTP1_MORE;
    size_t at = 0;

    CHECK(http1);
    http1_answers(http1, flags & TO_HEAD, flags & TO_CONNECT);
    do {
        size_t consumed;

        status = http1_feed(http1, span_of(all.data + at, all.len - at), &consumed);
        at += consumed;
        if (status == HTTP1_HEAD)
            add(telling, EVENT_HEAD, at, true);
        else if (status == HTTP1_DONE || (status == HTTP1_RAW && flags & ANSWERS))
            add(telling, EVENT_DONE, at, true);
        if (status == HTTP1_DONE)
            http1_upgraded(http1, flags & TAKEN);
    } while (status == HTTP1_HEAD || status == HTTP1_DONE);
    telling->bad = status == HTTP1_BAD;
    http1_free(&http1);
}

/* ---- the kernel's ---- */

static void tell(const struct spell *spell, const struct spell_told *told, size_t at,
                 struct telling *telling)
{
    if (told->what & SPELL_ENDS)
        add(telling, EVENT_HEAD, at, spell->fits != 0);
    if (told->what & SPELL_DONE)
        add(telling, EVENT_DONE, at, true);
    if (told->what & SPELL_TURNED)
        telling->bad = true;
    CHECK(!!(told->what & SPELL_TURNED) == (spell->mode == SPELL_OTHER));
}

/* What is known of the pieces before, and what is not known yet of the first ones, comes to the
 * same.
 */
static struct spell_piece piece;

static size_t take(struct spell *spell, struct spell_ties *ties, struct span bytes,
                   struct spell_told *told)
{
    size_t len = bytes.len < SPELL_PIECE ? bytes.len : SPELL_PIECE;
    uint64_t skipped = spell_skip(spell, bytes.len);

    *told = (struct spell_told){0};
    if (skipped)
        return (size_t)skipped;
    memset(piece.bytes, 0xff, sizeof(piece.bytes) + sizeof(piece.pad));
    memcpy(piece.bytes, bytes.data, len);
    return spell_take(spell, ties, &piece, (uint32_t)len, told);
}

static void read_spell(struct span all, unsigned flags, unsigned most, uint32_t seed,
                       struct telling *telling)
{
    struct spell_ties ties = {.asked = flags & ANSWERS,
                              .heads = flags & TO_HEAD ? 1 : 0,
                              .connects = flags & TO_CONNECT ? 1 : 0};
    struct spell spell = {.mode = SPELL_HEAD, .flags = flags & ANSWERS ? SPELL_ANSWERS : 0};

    /* to where HTTP ends, or a tunnel begins */
    for (size_t at = 0; at < all.len && spell.mode != SPELL_OTHER && spell.mode != SPELL_RAW &&
                        spell.mode != SPELL_FIRST;) {
        struct spell_told told;
        size_t len = all.len - at, taken;

        seed = seed * 1664525 + 1013904223;
        if (most && len > 1 + (seed >> 16) % most)
            len = 1 + (seed >> 16) % most;
        taken = take(&spell, &ties, span_of(all.data + at, len), &told);
        CHECK(taken >= 1 && taken <= len);
        at += taken;
        tell(&spell, &told, at, telling);
        if (flags & ANSWERS) {
            ties.heads = ties.answered ? 0 : ties.heads;
            ties.connects = ties.answered ? 0 : ties.connects;
            ties.asked = ties.answered + 1;
        } else if (told.what & SPELL_DONE) {
            ties.answered = ties.asked;
            ties.left = flags & TAKEN && spell.mode == SPELL_SETTLING ? ties.asked : 0;
        }
        spell_settle(&spell, &ties);
    }
}

/* ---- both ---- */

/* What the proxy will refuse, it may tell later: when the word has ended that is wrong. No end that
 * may follow makes it whole. */
static void check_doomed(struct span all, unsigned flags, const struct telling *http1)
{
    static const struct span ends[] = {
        BYTES("\r\n\r\n\r\n"),       BYTES("\n\r\n\r\n"),
        BYTES("\n0\r\n\r\n"),        BYTES("0\r\n\r\n0\r\n\r\n"),
        BYTES(":\r\n\r\n"),          BYTES(" HTTP/1.1\r\nHost:\r\n\r\n"),
        BYTES("1\r\nHost:\r\n\r\n"), BYTES("\r\nHost:\r\n\r\n"),
        BYTES("\r\n0\r\n\r\n"),
    };

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        struct telling more = {0};
        uint8_t *whole = malloc(all.len + ends[i].len);

        CHECK(whole);
        memcpy(whole, all.data, all.len);
        memcpy(whole + all.len, ends[i].data, ends[i].len);
        read_http1(span_of(whole, all.len + ends[i].len), flags, &more);
        free(whole);
        CHECK(more.len == http1->len);
    }
}

static void compare(struct span all, unsigned flags, const struct telling *http1,
                    const struct telling *spell)
{
    for (size_t i = 0; i < http1->len; i++) {
        CHECK(i < spell->len);
        CHECK(spell->events[i].kind == http1->events[i].kind);
        CHECK(spell->events[i].at == http1->events[i].at);
    }
    for (size_t i = http1->len; i < spell->len; i++) {
        CHECK(http1->bad && (spell->events[i].kind != EVENT_HEAD || !spell->events[i].fits));
        if (spell->events[i].kind == EVENT_HEAD)
            break; /* where anything is judged nothing comes behind it */
    }
    if (spell->bad && !http1->bad)
        check_doomed(all, flags, http1);
}

/* Bytes that lenient readers take for blanks, and that are none here: what has them is no HTTP. */
static bool has_odd_blanks(struct span all)
{
    for (size_t i = 0; i < all.len; i++)
        if (all.data[i] == 0x85 || all.data[i] == 0xa0 ||
            (all.data[i] < ' ' && !strchr("\t\r\n", all.data[i])))
            return true;
    return false;
}

/* What the proxy would take for a request, and refuse, does not pass for something else. */
static void check_first(struct span all)
{
    struct spell_ties ties = {0};
    struct spell spell = {0};

    if (http1_looks_like_request(all) != 1 || has_odd_blanks(all))
        return;
    for (size_t at = 0; at < all.len && spell.mode <= SPELL_HEAD;) {
        struct spell_told told;

        at += take(&spell, &ties, span_of(all.data + at, all.len - at), &told);
    }
    CHECK(spell.mode != SPELL_OTHER || spell.flags & SPELL_SPOKE);
}

static void read_records(struct span all, unsigned most, struct spell *spell)
{
    struct spell_ties ties = {0};

    *spell = (struct spell){.mode = SPELL_TLS, .method = SPELL_RECORD_HELLO};
    for (size_t at = 0; at < all.len && spell->mode == SPELL_TLS;) {
        struct spell_told told;
        size_t len = all.len - at < most ? all.len - at : most;

        at += take(spell, &ties, span_of(all.data + at, len), &told);
    }
}

/* As records of TLS, too, all says the same wherever it is cut. */
static void check_records(struct span all, unsigned most)
{
    struct spell whole, cut;

    read_records(all, SPELL_PIECE, &whole);
    read_records(all, most, &cut);
    CHECK(whole.mode == cut.mode && whole.lines == cut.lines && whole.flags == cut.flags);
}

static void make_rows(void)
{
    struct spell_rows *rows = calloc(1, sizeof(*rows));
    struct spell_about *abouts = calloc(SPELL_ROWS, sizeof(*abouts));
    struct rows grammar = {0};

    CHECK(rows && abouts && grammar_make(&grammar, 0x9e3779b97f4a7c15));
    memcpy(rows->next, grammar.next, grammar.len * sizeof(*grammar.next));
    memcpy(abouts, grammar.abouts, grammar.len * sizeof(*abouts));
    rows_fini(&grammar);
    spell_rows_here = rows;
    spell_abouts_here = abouts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct telling http1 = {0}, whole = {0}, cut = {0};
    struct span all;

    if (size < 3)
        return 0;
    if (!spell_rows_here)
        make_rows();
    all = span_of(data + 3, size - 3);
    read_http1(all, data[0], &http1);
    memset(&piece, 0, sizeof(piece)); /* one input knows nothing of another */
    read_spell(all, data[0], 0, 0, &whole);
    read_spell(all, data[0], 1 + data[1], data[2], &cut);
    compare(all, data[0], &http1, &whole);
    compare(all, data[0], &http1, &cut);
    check_first(all);
    check_records(all, 1 + data[1]);
    return 0;
}
