/* http2_frames_fuzz: frames of any kind, in any order and state, from both sides of the HTTP/2
 * relay: with header blocks that decode, so that more than the first of them is looked at. Nothing
 * crashes or hangs, the hooks are called in their order, the memory that is taken is what room()
 * was asked for, nobody is sent a frame that makes no sense, and behind a fault only last words
 * come.
 *
 * Input: a byte (what of the beginnings is left out), then operations, each a byte that names it
 * and those that it asks for. */
#include <nghttp2/nghttp2.h>
#include <sanitizer/allocator_interface.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy/http2/http2.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/http2_sent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__asan_default_options(void);

enum {
    USERS_MAX = 4096,
    FRAME_MAX = 64 << 10, /* that we send */
    ROOM_MAX = 4 << 20,
    MEMORY_MAX = 1 << 20, /* that a connection takes without asking for it, at most */
    LAST_WORDS_MAX = 64 << 10,
};

struct input {
    const uint8_t *data;
    size_t len;
};

struct run {
    struct input input;
    struct http2 *http2;
    nghttp2_hd_deflater *deflaters[HTTP2_SIDES];
    struct frames sent[HTTP2_SIDES];
    uint8_t frame[FRAME_MAX];
    size_t frame_len;
    uint64_t now_ns;
    int64_t room;
    enum { USER_NONE, USER_REQUEST, USER_ANSWER, USER_CLOSED } users[USERS_MAX];
    unsigned requests;
    bool ended[HTTP2_SIDES], refuses, denies;
};

static int64_t live;

static void on_malloc(const volatile void *at, size_t size)
{
    (void)at;
    live += (int64_t)size;
}

static void on_free(const volatile void *at)
{
    live -= at ? (int64_t)__sanitizer_get_allocated_size(at) : 0;
}

/* Header blocks are large, and many: what was freed is not to be kept for long. */
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    CHECK(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free));
    return 0;
}

static uint8_t take(struct input *input)
{
    if (!input->len)
        return 0;
    input->len--;
    return *input->data++;
}

/* ---- hooks ---- */

static bool on_room(void *arg, int64_t bytes, bool needed)
{
    struct run *run = arg;

    (void)needed;
    if (bytes > 0 && (run->refuses || run->room + bytes > ROOM_MAX))
        return false;
    run->room += bytes;
    CHECK(run->room >= 0);
    return true;
}

static void check_head(const struct http2_head *head)
{
    CHECK(head->fields_len <= HTTP2_FIELDS_MAX);
    for (size_t i = 0; i < head->fields_len; i++) {
        struct span name = head->fields[i].name, value = head->fields[i].value;

        CHECK(name.len && name.data[0] != ':');
        CHECK(!memchr(value.data, '\n', value.len) && !memchr(value.data, '\0', value.len));
    }
}

static bool on_request(void *arg, struct http2_stream *stream, int32_t id,
                       const struct http2_head *head, struct http2_refusal *refusal)
{
    struct run *run = arg;

    CHECK(id & 1 && run->requests < USERS_MAX && head->method.len);
    check_head(head);
    run->users[run->requests] = USER_REQUEST;
    http2_stream_set_user(stream, &run->users[run->requests++]);
    if (run->denies)
        *refusal = (struct http2_refusal){403, "no"};
    return !run->refuses || run->denies;
}

static void on_answer(void *arg, struct http2_stream *stream, const struct http2_head *head)
{
    uint8_t *unused = arg;
    int *user = http2_stream_user(stream);

    (void)unused;
    CHECK(*user == USER_REQUEST && head->code >= 200);
    check_head(head);
    *user = USER_ANSWER;
}

enum { STOP = 0xfe, STOP_ANSWERED = 0xfd }; /* bodies with these do not go on */

static bool on_body(void *arg, struct http2_stream *stream, enum http2_side from, struct span bytes,
                    struct http2_refusal *refusal)
{
    int *user = http2_stream_user(stream);

    (void)arg;
    CHECK(bytes.len && (*user == USER_ANSWER || (from == HTTP2_POD && *user == USER_REQUEST)));
    refusal->code = bytes.data[0] == STOP_ANSWERED ? 403 : 0;
    refusal->reason = "something in it";
    return bytes.data[0] != STOP && bytes.data[0] != STOP_ANSWERED;
}

static bool on_ended(void *arg, struct http2_stream *stream, enum http2_side from,
                     struct http2_refusal *refusal)
{
    (void)arg, (void)stream, (void)from, (void)refusal;
    return true;
}

static bool on_trailers(void *arg, struct http2_stream *stream, enum http2_side from,
                        const struct http2_head *head, struct http2_refusal *refusal)
{
    int *user = http2_stream_user(stream);

    (void)arg, (void)refusal;
    CHECK(*user == USER_ANSWER || (from == HTTP2_POD && *user == USER_REQUEST));
    CHECK(!head->method.len && !head->code);
    check_head(head);
    return !head->fields_len || !facts_find_field(head->fields, head->fields_len, "stop").data;
}

static void on_closed(void *arg, struct http2_stream *stream, const struct http2_end *end)
{
    int *user = http2_stream_user(stream);

    (void)arg;
    CHECK(*user == USER_REQUEST || *user == USER_ANSWER);
    CHECK(!end->whole || !end->reason);
    *user = USER_CLOSED;
}

static void on_malformed(void *arg, int32_t id, const struct http2_head *head, uint16_t code,
                         const char *reason)
{
    (void)arg;
    CHECK(id > 0 && head->fields_len <= HTTP2_FIELDS_MAX && reason[0]);
    CHECK(code == 0 || code == 431);
}

static const struct http2_hooks hooks = {on_room,  on_request,  on_answer, on_body,
                                         on_ended, on_trailers, on_closed, on_malformed};

/* ---- what comes out ---- */

static size_t pull(struct run *run, enum http2_side side, size_t size)
{
    uint8_t *out;
    size_t n;

    if (run->sent[side].unwritten)
        return 0;
    out = malloc(size);
    CHECK(out);
    n = http2_pull(run->http2, side, out, size);
    CHECK(n <= size);
    run->sent[side].unwritten = n > 0;
    check_sent(&run->sent[side], span_of(out, n));
    free(out);
    return n;
}

static void written(struct run *run, enum http2_side side)
{
    if (run->sent[side].unwritten)
        http2_written(run->http2, side);
    run->sent[side].unwritten = false;
}

/* ---- what goes in ---- */

static void feed(struct run *run, enum http2_side side, struct span bytes)
{
    uint8_t *piece = malloc(bytes.len ? bytes.len : 1);
    bool faulty = http2_fault(run->http2);

    CHECK(piece);
    memcpy(piece, bytes.data, bytes.len);
    if (!run->ended[side] && (faulty || http2_wants(run->http2, side)))
        CHECK(http2_feed(run->http2, side, span_of(piece, bytes.len), run->now_ns) ==
              !http2_fault(run->http2));
    free(piece);
    CHECK(!faulty || http2_fault(run->http2));
}

static size_t frame_head(uint8_t *out, size_t len, uint8_t type, uint8_t flags, uint32_t id)
{
    const uint8_t head[FRAME_HEAD] = {
        (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,       type,       flags,
        (uint8_t)(id >> 24),  (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

    memcpy(out, head, sizeof(head));
    return sizeof(head);
}

static void say(struct run *run, enum http2_side side, uint8_t type, uint8_t flags, uint32_t id,
                struct span payload)
{
    CHECK(payload.len + FRAME_HEAD <= FRAME_MAX);
    frame_head(run->frame, payload.len, type, flags, id);
    memcpy(run->frame + FRAME_HEAD, payload.data, payload.len);
    run->frame_len = FRAME_HEAD + payload.len;
    feed(run, side, span_of(run->frame, run->frame_len));
}

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, 0              \
    }

static const nghttp2_nv fields[] = {
    NV(":method", "GET"),      NV(":scheme", "https"),
    NV(":path", "/a"),         NV(":authority", "a.example"),
    NV(":status", "200"),      NV(":status", "103"),
    NV(":status", "101"),      NV(":method", "CONNECT"),
    NV(":method", "POST"),     NV(":protocol", "websocket"),
    NV(":status", "204"),      NV("content-length", "5"),
    NV("content-length", "0"), NV("content-type", "application/grpc"),
    NV("cookie", "a=b; c=d"),  NV("x-a", "b\r\nc: d"),
    NV("x-a", "b\0c"),         NV("X-Upper", "b"),
    NV("connection", "close"), NV("te", "trailers"),
    NV("te", "gzip"),          NV("transfer-encoding", "chunked"),
    NV("", "nothing"),         NV(":path", ""),
    NV(":path", "*"),          NV(":unknown", "a"),
    NV("x-b", " padded "),     NV("grpc-status", "0"),
    NV("host", "b.example"),   NV("priority", "u=1, i"),
    NV("x-empty", ""),
};

/* A head that makes sense, and what the input adds. */
static size_t make_block(struct run *run, enum http2_side side, uint8_t *out, size_t size)
{
    static char big[3000]; /* so large that an encoder still puts it into its table */
    nghttp2_nv nv[600];
    size_t len = 0;
    uint8_t base = take(&run->input), more = take(&run->input);
    unsigned repeat = base & 64 ? (unsigned)take(&run->input) * 2 : 0;
    ssize_t n;

    memset(big, 'a' + base % 4, sizeof(big));
    if (base & 1 && side == HTTP2_POD)
        for (; len < 4; len++)
            nv[len] = fields[len];
    else if (base & 1)
        nv[len++] = fields[4 + (base & 2) / 2];
    for (unsigned i = 0; i < more % 8u; i++)
        nv[len++] = fields[take(&run->input) % ARRAY_SIZE(fields)];
    for (unsigned i = 0; i < repeat; i++)
        nv[len++] = (nghttp2_nv){(uint8_t *)"x-big", (uint8_t *)big, 5,
                                 base & 32 ? sizeof(big) : base & 15u, 0};
    n = nghttp2_hd_deflate_hd(run->deflaters[side], out, size, nv, len);
    return n < 0 ? 0 : (size_t)n;
}

/* Whole, or cut into CONTINUATIONs. */
static void say_headers(struct run *run, enum http2_side side, uint8_t type)
{
    static uint8_t block[FRAME_MAX - FRAME_HEAD];
    uint8_t how = take(&run->input), flags = take(&run->input);
    uint32_t id = how % 64;
    size_t at = 0, len = make_block(run, side, block + 4, sizeof(block) - 4), cut = 16384;

    if (type == NGHTTP2_PUSH_PROMISE) {
        memset(block, 0, 4);
        block[3] = how;
        len += 4;
    } else {
        memmove(block, block + 4, len);
    }
    if (how & 128)
        cut = (size_t)take(&run->input) * 4 + 1;
    flags &= (uint8_t) ~(NGHTTP2_FLAG_PADDED | NGHTTP2_FLAG_PRIORITY | NGHTTP2_FLAG_END_HEADERS);
    do {
        size_t piece = len - at < cut ? len - at : cut;

        if (at + piece == len && how != 255)
            flags |= NGHTTP2_FLAG_END_HEADERS;
        say(run, side, type, flags, id, span_of(block + at, piece));
        at += piece;
        type = NGHTTP2_CONTINUATION;
        flags = 0;
    } while (at < len);
}

/* The payload is the input's. */
static void say_any(struct run *run, enum http2_side side, uint8_t type)
{
    uint8_t payload[64];
    uint8_t id = take(&run->input), flags = take(&run->input), len = take(&run->input) % 65;

    for (uint8_t i = 0; i < len; i++)
        payload[i] = take(&run->input);
    say(run, side, type, flags, id, span_of(payload, len));
}

static void say_fixed(struct run *run, enum http2_side side, uint8_t type, size_t len)
{
    uint8_t payload[8] = {0};
    uint8_t id = take(&run->input), value = take(&run->input), flags = take(&run->input);

    payload[0] = value & 128 ? 0x7f : 0;
    payload[len - 1] = value & 127;
    payload[len > 4 ? 3 : len - 2] = flags & 128 ? 0xff : 0;
    say(run, side, type, flags, id, span_of(payload, len));
}

static void say_data(struct run *run, enum http2_side side)
{
    static const uint8_t zeros[16384];
    uint8_t id = take(&run->input), flags = take(&run->input), len = take(&run->input);

    say(run, side, NGHTTP2_DATA, flags & NGHTTP2_FLAG_END_STREAM, id,
        span_of(zeros, flags & 128 ? 16384 : len));
}

static void say_settings(struct run *run, enum http2_side side)
{
    uint8_t payload[6] = {0}, how = take(&run->input);

    payload[1] = how % 10;
    payload[2] = how & 64 ? 0xff : 0;
    payload[3] = how & 128 ? 0xff : 0;
    payload[4] = take(&run->input);
    payload[5] = take(&run->input);
    say(run, side, NGHTTP2_SETTINGS, 0, 0, span_of(payload, sizeof(payload)));
}

static void operate(struct run *run)
{
    uint8_t op = take(&run->input);
    enum http2_side side = op & 128 ? HTTP2_UPSTREAM : HTTP2_POD;
    unsigned times;

    switch (op % 16) {
    case 0:
    case 1:
        say_headers(run, side, NGHTTP2_HEADERS);
        break;
    case 2:
        say_data(run, side);
        break;
    case 3:
        say_fixed(run, side, NGHTTP2_RST_STREAM, 4);
        break;
    case 4:
        say_settings(run, side);
        break;
    case 5:
        say_fixed(run, side, NGHTTP2_PING, 8);
        break;
    case 6:
        say_fixed(run, side, NGHTTP2_GOAWAY, 8);
        break;
    case 7:
        say_fixed(run, side, NGHTTP2_WINDOW_UPDATE, 4);
        break;
    case 8:
        say_fixed(run, side, NGHTTP2_PRIORITY, 5);
        break;
    case 9:
        say_headers(run, side, NGHTTP2_PUSH_PROMISE);
        break;
    case 10:
        say_any(run, side, take(&run->input));
        break;
    case 11: /* the last one again */
        times = take(&run->input) * (op & 64 ? 8u : 1u);
        for (unsigned i = 0; i < times && run->frame_len; i++)
            feed(run, side, span_of(run->frame, run->frame_len));
        break;
    case 12:
        pull(run, side, HTTP2_PULL_MIN + take(&run->input));
        break;
    case 13:
        written(run, side);
        break;
    case 14:
        run->now_ns += (uint64_t)take(&run->input) << 20;
        run->refuses = op & 64;
        run->denies = op & 32;
        break;
    default:
        if (take(&run->input) == 1) {
            run->ended[side] = true;
            http2_ended(run->http2, side);
        }
        break;
    }
}

/* All that they have to say, which is little if they are at their end. */
static void finish(struct run *run)
{
    bool fault = http2_fault(run->http2);
    uint64_t said = 0;
    size_t n;

    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        do {
            written(run, side);
            n = pull(run, side, HTTP2_PULL_MIN);
            said += n;
            CHECK(!fault || said < LAST_WORDS_MAX);
            CHECK(said < 64 << 20);
        } while (n);
    for (enum http2_side side = 0; side < HTTP2_SIDES && fault; side++) {
        CHECK(http2_finished(run->http2, side) && !http2_wants(run->http2, side));
        CHECK(!pull(run, side, HTTP2_PULL_MIN));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t settings[FRAME_HEAD] = {0, 0, 0, NGHTTP2_SETTINGS};
    static struct run run;
    int64_t before;
    uint8_t flags;

    if (size > 4096)
        return 0;
    memset(&run, 0, sizeof(run));
    run.input = (struct input){data, size};
    run.now_ns = 1ull << 40;
    run.sent[HTTP2_UPSTREAM].before = NGHTTP2_CLIENT_MAGIC_LEN;
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        CHECK(nghttp2_hd_deflate_new(&run.deflaters[side], 4096) == 0 &&
              nghttp2_hd_inflate_new(&run.sent[side].inflater) == 0);
    before = live;
    CHECK(http2_new(&run.http2, &hooks, &run) == 0);
    flags = take(&run.input);
    if (!(flags & 1))
        feed(&run, HTTP2_POD, span_of(NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN));
    if (!(flags & 2))
        feed(&run, HTTP2_POD, span_of(settings, sizeof(settings)));
    if (!(flags & 4))
        feed(&run, HTTP2_UPSTREAM, span_of(settings, sizeof(settings)));
    while (run.input.len) {
        operate(&run);
        CHECK(live - before < run.room + MEMORY_MAX);
    }
    finish(&run);
    http2_free(&run.http2);
    CHECK(!run.room && !run.http2);
    for (unsigned i = 0; i < run.requests; i++)
        CHECK(run.users[i] == USER_CLOSED);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
        nghttp2_hd_deflate_del(run.deflaters[side]);
        nghttp2_hd_inflate_del(run.sent[side].inflater);
    }
    return 0;
}
