#include "policy/inspect_engine.h"

#include <errno.h>
#include <string.h>

#ifdef SALLYPORT_VECTORSCAN
#include <hs.h>
#endif

#include "base/cleanup.h"

enum { CACHE_BYTES = 1 << 20 }; /* of scan.h, for each thread and set */

struct part { /* of the expressions: so many as one set has room for */
    struct scan_set *set;
    size_t first; /* the number of its first */
};

struct engine {
#ifdef SALLYPORT_VECTORSCAN
    hs_database_t *quick; /* of the first so many; NULL: the parts have them, too */
#endif
    struct part *parts;
    size_t parts_len;
};

struct engine_scratch {
#ifdef SALLYPORT_VECTORSCAN
    hs_scratch_t *quick;
#endif
    size_t len;
    struct scan_cache *scans[]; /* one for each part */
};

struct engine_stream {
    const struct engine *engine;
#ifdef SALLYPORT_VECTORSCAN
    hs_stream_t *quick;
#endif
    scan_on_match *on_match; /* for the call */
    void *arg;
    const struct part *part; /* which is asked now */
    struct scan_stream *scans[];
};

/* ---- vectorscan ---- */

#ifdef SALLYPORT_VECTORSCAN
static int quick_new(struct engine *engine, const char *const *expressions, size_t len)
{
    unsigned *ids = calloc(len, sizeof(*ids));
    hs_compile_error_t *wrong = NULL;
    hs_error_t result;

    if (!ids)
        return -ENOMEM;
    for (size_t i = 0; i < len; i++)
        ids[i] = (unsigned)i;
    result = hs_compile_multi(expressions, NULL, ids, (unsigned)len, HS_MODE_STREAM, NULL,
                              &engine->quick, &wrong);
    hs_free_compile_error(wrong);
    free(ids);
    return result == HS_SUCCESS ? 0 : -ENOMEM; /* they are ours: nothing is wrong with them */
}

static int quick_on_match(unsigned id, unsigned long long from, unsigned long long to,
                          unsigned flags, void *arg)
{
    struct engine_stream *stream = arg;

    (void)from, (void)flags;
    return stream->on_match(id, to, stream->arg) ? 0 : 1;
}

static int quick_feed(struct engine_stream *stream, struct engine_scratch *scratch,
                      struct span bytes)
{
    while (stream->quick && bytes.len) { /* a length is an unsigned int to it */
        size_t len = bytes.len < (1u << 30) ? bytes.len : 1u << 30;
        hs_error_t result = hs_scan_stream(stream->quick, (const char *)bytes.data, (unsigned)len,
                                           0, scratch->quick, quick_on_match, stream);

        if (result != HS_SUCCESS)
            return result == HS_SCAN_TERMINATED ? -ECANCELED : -EIO;
        bytes = span_of(bytes.data + len, bytes.len - len);
    }
    return 0;
}
#endif

/* ---- either ---- */

/* first: the number of the first expression. */
static int scan_new(struct engine *engine, const char *const *expressions, size_t len, size_t first,
                    struct err *err)
{
    struct regex_fault fault = {0};
    size_t which = 0;

    engine->parts = calloc(len + 1, sizeof(*engine->parts));
    if (!engine->parts)
        return err_set(err, -ENOMEM, "no memory for %zu patterns", len);
    for (size_t at = 0, taken; at < len; at += taken) {
        struct part *part = &engine->parts[engine->parts_len];
        int result;

        taken = len - at;
        while ((result = scan_set_new(&part->set, expressions + at, taken, &which, &fault)) ==
                   -E2BIG &&
               taken > 1)
            taken /= 2;
        if (result == -ENOMEM)
            return err_set(err, -ENOMEM, "no memory for %zu patterns", len);
        if (result < 0)
            return err_set(err, -EINVAL, "at byte %zu of '%s': %s", fault.at,
                           expressions[at + which], fault.text);
        part->first = first + at;
        engine->parts_len++;
    }
    return 0;
}

static int join(struct engine *engine, const char *const *quick, size_t quick_len,
                const char *const *own, size_t own_len, struct err *err)
{
    size_t len = quick_len + own_len;
    const char **all = calloc(len + 1, sizeof(*all));
    int result;

    if (!all)
        return err_set(err, -ENOMEM, "no memory for %zu patterns", len);
    for (size_t i = 0; i < len; i++)
        all[i] = i < quick_len ? quick[i] : own[i - quick_len];
    result = scan_new(engine, all, len, 0, err);
    free(all);
    return result;
}

int engine_new(struct engine **out, enum inspect_engine kind, const char *const *quick,
               size_t quick_len, const char *const *own, size_t own_len, struct err *err)
{
    CLEANUP(engine_free) struct engine *engine = calloc(1, sizeof(*engine));
    int result;

    if (!engine)
        return err_set(err, -ENOMEM, "no memory for %zu patterns", quick_len + own_len);
#ifdef SALLYPORT_VECTORSCAN
    if (kind == INSPECT_BEST && quick_len && hs_valid_platform() == HS_SUCCESS) {
        if (quick_new(engine, quick, quick_len) < 0)
            return err_set(err, -ENOMEM, "no memory for %zu patterns", quick_len);
        result = scan_new(engine, own, own_len, quick_len, err);
    } else
#endif
        result = join(engine, quick, quick_len, own, own_len, err);
    (void)kind;
    if (result < 0)
        return result;
    *out = TAKE(engine);
    return 0;
}

void engine_free(struct engine **engine)
{
    if (!*engine)
        return;
#ifdef SALLYPORT_VECTORSCAN
    hs_free_database((*engine)->quick);
#endif
    for (size_t i = 0; i < (*engine)->parts_len; i++)
        scan_set_free(&(*engine)->parts[i].set);
    free((*engine)->parts);
    free(TAKE(*engine));
}

const char *engine_name(const struct engine *engine)
{
#ifdef SALLYPORT_VECTORSCAN
    if (engine->quick)
        return "vectorscan";
#endif
    (void)engine;
    return "own";
}

int engine_scratch_new(struct engine_scratch **out, const struct engine *engine)
{
    CLEANUP(engine_scratch_free)
    struct engine_scratch *scratch =
        calloc(1, sizeof(*scratch) + engine->parts_len * sizeof(scratch->scans[0]));

    if (!scratch)
        return -ENOMEM;
#ifdef SALLYPORT_VECTORSCAN
    if (engine->quick && hs_alloc_scratch(engine->quick, &scratch->quick) != HS_SUCCESS)
        return -ENOMEM;
#endif
    for (; scratch->len < engine->parts_len; scratch->len++)
        if (scan_cache_new(&scratch->scans[scratch->len], CACHE_BYTES) < 0)
            return -ENOMEM;
    *out = TAKE(scratch);
    return 0;
}

void engine_scratch_free(struct engine_scratch **scratch)
{
    if (!*scratch)
        return;
#ifdef SALLYPORT_VECTORSCAN
    hs_free_scratch((*scratch)->quick);
#endif
    for (size_t i = 0; i < (*scratch)->len; i++)
        scan_cache_free(&(*scratch)->scans[i]);
    free(TAKE(*scratch));
}

int engine_stream_new(struct engine_stream **out, const struct engine *engine)
{
    CLEANUP(engine_stream_free)
    struct engine_stream *stream =
        calloc(1, sizeof(*stream) + engine->parts_len * sizeof(stream->scans[0]));

    if (!stream)
        return -ENOMEM;
    stream->engine = engine;
#ifdef SALLYPORT_VECTORSCAN
    if (engine->quick && hs_open_stream(engine->quick, 0, &stream->quick) != HS_SUCCESS)
        return -ENOMEM;
#endif
    for (size_t i = 0; i < engine->parts_len; i++) {
        stream->scans[i] = malloc(scan_stream_size(engine->parts[i].set));
        if (!stream->scans[i])
            return -ENOMEM;
        scan_stream_init(engine->parts[i].set, stream->scans[i]);
    }
    *out = TAKE(stream);
    return 0;
}

void engine_stream_free(struct engine_stream **stream)
{
    if (!*stream)
        return;
#ifdef SALLYPORT_VECTORSCAN
    if ((*stream)->quick) /* without a scratch nothing is told of its end */
        hs_close_stream((*stream)->quick, NULL, NULL, NULL);
#endif
    for (size_t i = 0; i < (*stream)->engine->parts_len; i++)
        free((*stream)->scans[i]);
    free(TAKE(*stream));
}

static bool scan_told(size_t pattern, uint64_t end, void *arg)
{
    struct engine_stream *stream = arg;

    return stream->on_match(stream->part->first + pattern, end, stream->arg);
}

int engine_feed(struct engine_stream *stream, struct engine_scratch *scratch, struct span bytes,
                scan_on_match *on_match, void *arg)
{
    stream->on_match = on_match;
    stream->arg = arg;
#ifdef SALLYPORT_VECTORSCAN
    int result = quick_feed(stream, scratch, bytes);

    if (result < 0)
        return result;
#endif
    for (size_t i = 0; i < stream->engine->parts_len; i++) {
        stream->part = &stream->engine->parts[i];
        if (!scan_feed(stream->part->set, scratch->scans[i], stream->scans[i], bytes, scan_told,
                       stream))
            return -ECANCELED;
    }
    return 0;
}

/* None of the quick ones waits for the end. */
int engine_end(struct engine_stream *stream, struct engine_scratch *scratch,
               scan_on_match *on_match, void *arg)
{
    stream->on_match = on_match;
    stream->arg = arg;
    for (size_t i = 0; i < stream->engine->parts_len; i++) {
        stream->part = &stream->engine->parts[i];
        if (!scan_end(stream->part->set, scratch->scans[i], stream->scans[i], scan_told, stream))
            return -ECANCELED;
    }
    return 0;
}
