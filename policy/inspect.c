#include "policy/inspect.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/builtin.h"
#include "policy/inspect_engine.h"
#include "policy/jwt.h"
#include "policy/numbers.h"
#include "policy/regex.h"

struct entry {
    char *name;
    const struct builtin *builtin; /* or NULL */
    struct regex *regex;           /* of own: where a match begins */
};

struct inspect {
    atomic_uint refs;
    struct engine *engine;
    size_t *entry_of; /* by the engine's number */
    size_t number_of[NUMBER_MAX];
    unsigned numbers; /* those of number_of that there are, a bit each */
    size_t len;
    struct entry entries[];
};

struct inspect_scratch {
    struct engine_scratch *engine;
};

/* Confirmed, unless the next byte says otherwise. */
struct pending {
    size_t pattern, length;
};

struct inspect_stream {
    struct inspect *inspect;
    struct engine_stream *engine;
    struct jwt jwt;
    bool hasty, enough, failed;
    uint64_t offset; /* of the piece that is looked at; between calls, of what comes next */
    struct span piece;
    uint8_t tail[INSPECT_WINDOW]; /* the last bytes before it, */
    size_t tail_len;
    struct pending pending[BUILTIN_MAX]; /* ends with tail */
    size_t pending_len;
    uint64_t numbers_at;    /* numbers that begin before are told, or are none */
    uint64_t text_at;       /* of what is looked through for numbers */
    inspect_on_hit *on_hit; /* for the call, with its arg */
    void *arg;
    uint64_t told[]; /* by pattern: the offset behind the last one told; of own: 1, it was */
};

const char *const inspect_built_in[] = {
    "payment-card", "iban", "private-key", "aws-access-key", "gcp-key", "github-token",
    "slack-token",  "jwt",  "email",       "us-ssn",         NULL,
};
_Static_assert(ARRAY_SIZE(inspect_built_in) == BUILTIN_MAX + NUMBER_MAX + 1, "name every pattern");

static const char *const numbers[] = {
    [NUMBER_CARD] = "payment-card",
    [NUMBER_IBAN] = "iban",
    [NUMBER_SSN] = "us-ssn",
};
_Static_assert(ARRAY_SIZE(numbers) == NUMBER_MAX, "name every number");

/* NUMBER_MAX: none is called so. */
static enum number_kind find_number(const char *name)
{
    enum number_kind kind = 0;

    while (kind < NUMBER_MAX && strcmp(numbers[kind], name) != 0)
        kind++;
    return kind;
}

bool inspect_is_built_in(const char *name)
{
    return builtin_find(name) || find_number(name) < NUMBER_MAX;
}

/* ---- compiled ---- */

static void inspect_free(struct inspect **inspect)
{
    struct inspect *gone = TAKE(*inspect);

    if (!gone)
        return;
    for (size_t i = 0; i < gone->len; i++) {
        free(gone->entries[i].name);
        regex_free(&gone->entries[i].regex);
    }
    engine_free(&gone->engine);
    free(gone->entry_of);
    free(gone);
}

static int add(struct inspect *inspect, size_t at, const struct inspect_pattern *pattern,
               struct err *err)
{
    struct entry *entry = &inspect->entries[at];
    enum number_kind number = pattern->regex ? NUMBER_MAX : find_number(pattern->name);
    struct regex_fault fault = {0};
    int result = 0;

    entry->name = strdup(pattern->name);
    if (pattern->regex)
        result = regex_new(&entry->regex, pattern->regex, &fault);
    else
        entry->builtin = builtin_find(pattern->name);
    if (number < NUMBER_MAX) {
        inspect->number_of[number] = at;
        inspect->numbers |= 1u << number;
    }
    if (result == -EINVAL)
        return err_set(err, -EINVAL, "%s: at byte %zu of '%s': %s", pattern->name, fault.at,
                       pattern->regex, fault.text);
    if (!entry->name || result < 0)
        return err_set(err, -ENOMEM, "no memory for the pattern %s", pattern->name);
    if (!entry->builtin && !entry->regex && number == NUMBER_MAX)
        return err_set(err, -EINVAL, "'%s' is no pattern that is built in", pattern->name);
    return 0;
}

/* The engine wants what it is quick with first, and nothing of numbers. */
static int number(struct inspect *inspect, const struct inspect_pattern *patterns,
                  enum inspect_engine kind, struct err *err)
{
    const char **expressions = calloc(inspect->len + 1, sizeof(*expressions));
    size_t quick = 0, len = 0;
    int result = -ENOMEM;

    inspect->entry_of = calloc(inspect->len + 1, sizeof(*inspect->entry_of));
    if (expressions && inspect->entry_of) {
        for (size_t i = 0; i < inspect->len; i++) {
            if (!inspect->entries[i].builtin)
                continue;
            inspect->entry_of[len] = i;
            expressions[len++] = inspect->entries[i].builtin->expression;
        }
        quick = len;
        for (size_t i = 0; i < inspect->len; i++) {
            if (!inspect->entries[i].regex)
                continue;
            inspect->entry_of[len] = i;
            expressions[len++] = patterns[i].regex;
        }
        result = engine_new(&inspect->engine, kind, expressions, quick, expressions + quick,
                            len - quick, err);
    }
    free(expressions);
    return result;
}

int inspect_new(struct inspect **out, const struct inspect_pattern *patterns, size_t len,
                enum inspect_engine engine, struct err *err)
{
    CLEANUP(inspect_free)
    struct inspect *inspect = calloc(1, sizeof(*inspect) + len * sizeof(inspect->entries[0]));
    int result;

    if (!inspect)
        return err_set(err, -ENOMEM, "no memory for %zu patterns", len);
    atomic_init(&inspect->refs, 1);
    inspect->len = len;
    for (size_t i = 0; i < len; i++) {
        result = add(inspect, i, &patterns[i], err);
        if (result < 0)
            return result;
    }
    result = number(inspect, patterns, engine, err);
    if (result < 0)
        return result;
    *out = TAKE(inspect);
    return 0;
}

static struct inspect *inspect_ref(struct inspect *inspect)
{
    atomic_fetch_add_explicit(&inspect->refs, 1, memory_order_relaxed);
    return inspect;
}

void inspect_unref(struct inspect **inspect)
{
    struct inspect *gone = TAKE(*inspect);

    if (gone && atomic_fetch_sub_explicit(&gone->refs, 1, memory_order_acq_rel) == 1)
        inspect_free(&gone);
}

const char *inspect_name(const struct inspect *inspect, size_t pattern)
{
    return inspect->entries[pattern].name;
}

const char *inspect_engine_name(const struct inspect *inspect)
{
    return engine_name(inspect->engine);
}

int inspect_scratch_new(struct inspect_scratch **out, const struct inspect *inspect)
{
    CLEANUP(inspect_scratch_free) struct inspect_scratch *scratch = calloc(1, sizeof(*scratch));

    if (!scratch || engine_scratch_new(&scratch->engine, inspect->engine) < 0)
        return -ENOMEM;
    *out = TAKE(scratch);
    return 0;
}

void inspect_scratch_free(struct inspect_scratch **scratch)
{
    if (!*scratch)
        return;
    engine_scratch_free(&(*scratch)->engine);
    free(TAKE(*scratch));
}

/* ---- a stream ---- */

int inspect_stream_new(struct inspect_stream **out, struct inspect *inspect, bool hasty)
{
    CLEANUP(inspect_stream_free)
    struct inspect_stream *stream =
        calloc(1, sizeof(*stream) + inspect->len * sizeof(stream->told[0]));

    if (!stream)
        return -ENOMEM;
    stream->inspect = inspect_ref(inspect);
    stream->hasty = hasty;
    if (engine_stream_new(&stream->engine, inspect->engine) < 0)
        return -ENOMEM;
    *out = TAKE(stream);
    return 0;
}

void inspect_stream_free(struct inspect_stream **stream)
{
    struct inspect_stream *gone = TAKE(*stream);

    if (!gone)
        return;
    engine_stream_free(&gone->engine);
    jwt_fini(&gone->jwt);
    inspect_unref(&gone->inspect);
    free(gone);
}

bool inspect_failed(const struct inspect_stream *stream)
{
    return stream->failed || stream->jwt.failed;
}

/* What overlaps the one told before is a part of it, or it of this: "a@b.co" and "a@b.co.uk". */
static bool tell(struct inspect_stream *stream, size_t pattern, uint64_t offset, struct span bytes)
{
    const struct inspect_hit hit = {pattern, offset, bytes.len, bytes};

    if (stream->enough || offset < stream->told[pattern])
        return !stream->enough;
    stream->told[pattern] = offset + bytes.len;
    stream->enough = !stream->on_hit(&hit, stream->arg);
    return !stream->enough;
}

/* The bytes before end, from the piece and, where these are too few, the tail. */
static struct span window_before(const struct inspect_stream *stream, uint64_t end,
                                 uint8_t room[2 * INSPECT_WINDOW], bool *first)
{
    size_t here = (size_t)(end - stream->offset), there;

    *first = end <= INSPECT_WINDOW;
    if (here >= INSPECT_WINDOW)
        return span_of(stream->piece.data + here - INSPECT_WINDOW, INSPECT_WINDOW);
    there = INSPECT_WINDOW - here;
    if (there > stream->tail_len)
        there = stream->tail_len;
    memcpy(room, stream->tail + stream->tail_len - there, there);
    if (here)
        memcpy(room + there, stream->piece.data, here);
    return span_of(room, there + here);
}

/* The longest match of an own expression that ends with window. */
static struct span beginning(const struct regex *regex, struct span window)
{
    struct span rest = window;

    for (; rest.len; rest = span_of(rest.data + 1, rest.len - 1))
        if (regex_match(regex, rest))
            return rest;
    return window; /* it is longer */
}

static bool on_own(struct inspect_stream *stream, size_t pattern, uint64_t end)
{
    uint8_t room[2 * INSPECT_WINDOW];
    struct span match;
    bool first, go_on;

    if (stream->told[pattern])
        return true;
    match = beginning(stream->inspect->entries[pattern].regex,
                      window_before(stream, end, room, &first));
    go_on = tell(stream, pattern, end - match.len, match);
    stream->told[pattern] = UINT64_MAX;
    return go_on;
}

static bool on_jwt(struct span text, uint64_t offset, void *arg)
{
    struct inspect_stream *stream = arg;

    for (size_t i = 0; i < stream->inspect->len; i++)
        if (stream->inspect->entries[i].builtin == &builtins[BUILTIN_JWT])
            return tell(stream, i, offset, text);
    return true;
}

static bool follow_jwt(struct inspect_stream *stream, uint64_t end)
{
    size_t at;

    jwt_begin(&stream->jwt, end);
    if (!stream->jwt.running || stream->jwt.done > end)
        return true;
    at = (size_t)(end - stream->offset);
    return jwt_feed(&stream->jwt, span_of(stream->piece.data + at, stream->piece.len - at), on_jwt,
                    stream);
}

static bool on_match(size_t number, uint64_t end, void *arg)
{
    struct inspect_stream *stream = arg;
    size_t pattern = stream->inspect->entry_of[number], here = (size_t)(end - stream->offset);
    const struct builtin *builtin = stream->inspect->entries[pattern].builtin;
    uint8_t room[2 * INSPECT_WINDOW];
    struct span window;
    size_t length;
    bool first;

    if (!builtin)
        return on_own(stream, pattern, end);
    if (!builtin->confirm)
        return follow_jwt(stream, end);
    if (builtin->goes_on && here < stream->piece.len && builtin->goes_on(stream->piece.data[here]))
        return true;
    window = window_before(stream, end, room, &first);
    length = builtin->confirm(window, first);
    if (!length)
        return true;
    if (!builtin->goes_on || here < stream->piece.len || stream->pending_len == BUILTIN_MAX)
        return tell(stream, pattern, end - length,
                    span_of(window.data + window.len - length, length));
    stream->pending[stream->pending_len++] = (struct pending){pattern, length};
    return true;
}

/* Those that end with tail; next: the byte that follows, -1: none does. */
static bool tell_pending(struct inspect_stream *stream, int next)
{
    struct span tail = span_of(stream->tail, stream->tail_len);
    size_t len = stream->pending_len;

    stream->pending_len = 0;
    for (size_t i = 0; i < len; i++) {
        const struct pending *one = &stream->pending[i];
        const struct builtin *builtin = stream->inspect->entries[one->pattern].builtin;

        if (next >= 0 && builtin->goes_on((uint8_t)next))
            continue;
        if (!tell(stream, one->pattern, stream->offset - one->length,
                  span_of(tail.data + tail.len - one->length, one->length)))
            return false;
    }
    return true;
}

static bool on_number(enum number_kind kind, struct span text, size_t at, void *arg)
{
    struct inspect_stream *stream = arg;

    return tell(stream, stream->inspect->number_of[kind], stream->text_at + at, text);
}

/* Those that begin in the text, which is at `at`, but before its last `behind` bytes, and are not
 * told yet. */
static bool scan_numbers(struct inspect_stream *stream, struct span text, uint64_t at,
                         size_t behind, bool ended)
{
    size_t from = stream->numbers_at > at ? (size_t)(stream->numbers_at - at) : 0, unknown;

    stream->text_at = at;
    unknown = numbers_scan(text, from, text.len - behind, ended, stream->inspect->numbers,
                           on_number, stream);
    if (unknown == SIZE_MAX)
        return false;
    if (!ended)
        stream->numbers_at = at + unknown;
    return true;
}

/* Those that begin in the last bytes before the piece or its first ones are looked at in one text
 * with what follows, and have what says whether they are numbers, or the piece is at its end; then
 * those in the rest of it. */
static bool feed_numbers(struct inspect_stream *stream)
{
    enum { SEAM = NUMBERS_CONTEXT + NUMBERS_LONGEST };
    uint8_t seam[2 * SEAM];
    struct span piece = stream->piece;
    size_t before = stream->tail_len < SEAM ? stream->tail_len : SEAM;
    size_t behind = piece.len < SEAM ? piece.len : SEAM;

    if (!stream->inspect->numbers)
        return true;
    memcpy(seam, stream->tail + stream->tail_len - before, before);
    memcpy(seam + before, piece.data, behind);
    if (!scan_numbers(stream, span_of(seam, before + behind), stream->offset - before,
                      behind < piece.len ? NUMBERS_LONGEST : 0, false))
        return false;
    return behind == piece.len || scan_numbers(stream, piece, stream->offset, 0, false);
}

static bool end_numbers(struct inspect_stream *stream)
{
    struct span tail = span_of(stream->tail, stream->tail_len);

    if (!stream->inspect->numbers || stream->numbers_at == stream->offset)
        return true;
    return scan_numbers(stream, tail, stream->offset - tail.len, 0, true);
}

static void keep_tail(struct inspect_stream *stream)
{
    struct span piece = stream->piece;
    size_t kept = stream->tail_len;

    if (piece.len >= INSPECT_WINDOW) {
        memcpy(stream->tail, piece.data + piece.len - INSPECT_WINDOW, INSPECT_WINDOW);
        stream->tail_len = INSPECT_WINDOW;
    } else if (piece.len) {
        if (kept + piece.len > INSPECT_WINDOW)
            kept = INSPECT_WINDOW - piece.len;
        memmove(stream->tail, stream->tail + stream->tail_len - kept, kept);
        memcpy(stream->tail + kept, piece.data, piece.len);
        stream->tail_len = kept + piece.len;
    }
    stream->offset += piece.len;
    stream->piece = span_of(NULL, 0);
}

static bool begin_call(struct inspect_stream *stream, inspect_on_hit *on_hit, void *arg)
{
    stream->on_hit = on_hit;
    stream->arg = arg;
    return !stream->enough && !stream->failed;
}

bool inspect_feed(struct inspect_stream *stream, struct inspect_scratch *scratch, struct span bytes,
                  inspect_on_hit *on_hit, void *arg)
{
    int result;

    if (!begin_call(stream, on_hit, arg) || !bytes.len)
        return !stream->enough;
    if (!tell_pending(stream, bytes.data[0]))
        return false;
    stream->piece = bytes;
    if (stream->jwt.running && !jwt_feed(&stream->jwt, bytes, on_jwt, stream))
        return false;
    if (!feed_numbers(stream))
        return false;
    result = engine_feed(stream->engine, scratch->engine, bytes, on_match, stream);
    stream->failed = result < 0 && result != -ECANCELED;
    keep_tail(stream);
    return !stream->enough && (!stream->hasty || (tell_pending(stream, -1) && end_numbers(stream)));
}

bool inspect_end(struct inspect_stream *stream, struct inspect_scratch *scratch,
                 inspect_on_hit *on_hit, void *arg)
{
    int result;

    if (!begin_call(stream, on_hit, arg) || !tell_pending(stream, -1) || !end_numbers(stream))
        return !stream->enough;
    result = engine_end(stream->engine, scratch->engine, on_match, stream);
    stream->failed = result < 0 && result != -ECANCELED;
    return !stream->enough;
}
