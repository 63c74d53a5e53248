/* http2_relay_fuzz: a client and a server talk through the relay, in any order, cut anywhere, and
 * every byte of what arrives is held against a model of what was said: heads and trailers field by
 * field, bodies byte by byte and in their order, resets with their codes; what a verdict refused
 * never arrives. And nobody is given credit for bytes that were not written yet.
 *
 * Input: operations, each a byte that names it and those that it asks for. */
#include <stdlib.h>

#include "tests/fuzz/http2_told.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODIES_MAX = 1 << 20 };

struct input {
    const uint8_t *data;
    size_t len;
};

/* How much of what a well-behaved peer may ask for was asked for: see flood.h. */
struct run {
    struct site site;
    struct input input;
    uint64_t bytes;
    unsigned pings[HTTP2_SIDES], settings[HTTP2_SIDES], windows, goaways, priorities;
};

static uint8_t take(struct input *input)
{
    if (!input->len)
        return 0;
    input->len--;
    return *input->data++;
}

/* ---- operations ---- */

static void open_stream(struct run *run)
{
    struct site *site = &run->site;
    struct peer *client = &site->peers[HTTP2_POD];
    static struct block block;
    struct exchange *exchange = &site->exchanges[site->len];
    struct message *message = &exchange->by[HTTP2_POD];
    const nghttp2_data_provider body = {.source.ptr = exchange, .read_callback = peer_read};
    nghttp2_priority_spec priority;
    uint8_t shape = take(&run->input), how = take(&run->input);

    if (site->len == EXCHANGES_MAX || client->ended)
        return;
    if (shape & SHAPE_WEBSOCKET &&
        !nghttp2_session_get_remote_settings(client->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL))
        shape &= (uint8_t)~SHAPE_WEBSOCKET;
    if (shape & (SHAPE_WEBSOCKET | SHAPE_CONNECT))
        shape = (uint8_t)((shape & ~(SHAPE_HEAD | SHAPE_LENGTH)) | SHAPE_BODY);
    if (shape & SHAPE_WEBSOCKET)
        shape &= (uint8_t)~SHAPE_CONNECT;
    if (shape & SHAPE_HEAD)
        shape &= (uint8_t) ~(SHAPE_BODY | SHAPE_LENGTH);
    exchange->number = site->len;
    exchange->shape = shape;
    message->ends = !(shape & SHAPE_BODY) || shape & SHAPE_LENGTH;
    if (shape & SHAPE_LENGTH && shape & SHAPE_BODY)
        message->target = (uint64_t)how << (how & 7);
    make_head(exchange, HTTP2_POD, plan_head(message, KIND_REQUEST, how), &block);
    nghttp2_priority_spec_init(&priority, site->len ? (int32_t)(how % site->len * 2 + 1) : 0,
                               how + 1, how & 1);
    exchange->id[HTTP2_POD] =
        nghttp2_submit_request(client->ng, how % 3 ? NULL : &priority, block.nv, block.len,
                               shape & SHAPE_BODY ? &body : NULL, exchange);
    CHECK(exchange->id[HTTP2_POD] > 0);
    site->len++;
}

/* One that has begun and is not over on that side, or NULL. */
static struct exchange *pick(struct run *run, enum http2_side side)
{
    struct site *site = &run->site;
    unsigned at = take(&run->input);

    for (unsigned i = 0; i < site->len; i++) {
        struct exchange *exchange = &site->exchanges[(at + i) % site->len];

        if (!exchange->by[side].closed && exchange->id[side] && !site->peers[side].ended &&
            (side == HTTP2_POD || exchange->by[HTTP2_POD].heads_got))
            return exchange;
    }
    return NULL;
}

static void resume(struct site *site, struct exchange *exchange, enum http2_side side)
{
    nghttp2_session_resume_data(site->peers[side].ng, exchange->id[side]);
}

static void say_more(struct run *run, enum http2_side side)
{
    struct exchange *exchange = pick(run, side);
    uint8_t amount = take(&run->input);
    uint64_t bytes = (uint64_t)amount << (amount & 7);

    if (!exchange || exchange->by[side].ends || run->bytes + bytes > BODIES_MAX)
        return;
    run->bytes += bytes;
    run->site.narrow |= run->bytes > HTTP2_WINDOW;
    exchange->by[side].target += bytes;
    resume(&run->site, exchange, side);
}

static void say_end(struct run *run, enum http2_side side)
{
    struct exchange *exchange = pick(run, side);
    uint8_t how = take(&run->input);

    if (!exchange || exchange->by[side].ends)
        return;
    exchange->by[side].ends = true;
    exchange->by[side].trailers = how & 1 && !(exchange->shape & (SHAPE_CONNECT | SHAPE_WEBSOCKET));
    resume(&run->site, exchange, side);
}

static bool is_answered(const struct message *message)
{
    return message->heads_len && message->heads[message->heads_len - 1].kind != KIND_INTERIM;
}

static void say_head(struct run *run, struct exchange *exchange, enum kind kind, uint8_t how)
{
    static struct block block;
    nghttp2_session *server = run->site.peers[HTTP2_UPSTREAM].ng;
    struct message *message = &exchange->by[HTTP2_UPSTREAM];
    const nghttp2_data_provider body = {.source.ptr = exchange, .read_callback = peer_read};
    int32_t id = exchange->id[HTTP2_UPSTREAM];

    make_head(exchange, HTTP2_UPSTREAM, plan_head(message, kind, how), &block);
    if (kind == KIND_INTERIM) {
        CHECK(nghttp2_submit_headers(server, NGHTTP2_FLAG_NONE, id, NULL, block.nv, block.len,
                                     NULL) == 0);
        return;
    }
    message->ends = how & 1 || exchange->shape & SHAPE_HEAD;
    CHECK(nghttp2_submit_response(server, id, block.nv, block.len, message->ends ? NULL : &body) ==
          0);
}

static void answer(struct run *run)
{
    struct exchange *exchange = pick(run, HTTP2_UPSTREAM);
    uint8_t how = take(&run->input);

    if (!exchange || is_answered(&exchange->by[HTTP2_UPSTREAM]))
        return;
    if (how % 5 == 0 && exchange->by[HTTP2_UPSTREAM].heads_len < 3)
        say_head(run, exchange, KIND_INTERIM, how);
    else
        say_head(run, exchange, KIND_ANSWER, how);
}

static void reset(struct run *run, enum http2_side side)
{
    static const uint32_t codes[] = {
        NGHTTP2_NO_ERROR,       NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR,
        NGHTTP2_REFUSED_STREAM, 0x12345678,     NGHTTP2_HTTP_1_1_REQUIRED};
    struct exchange *exchange = pick(run, side);
    uint32_t code = codes[take(&run->input) % ARRAY_SIZE(codes)];

    if (!exchange || exchange->by[side].resets)
        return;
    exchange->by[side].resets = true;
    nghttp2_submit_rst_stream(run->site.peers[side].ng, NGHTTP2_FLAG_NONE, exchange->id[side],
                              code);
}

static void say_settings(struct run *run, enum http2_side side)
{
    uint8_t how = take(&run->input), amount = take(&run->input);
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                    (uint32_t)amount << (how >> 4)};

    if (run->settings[side]++ > 30)
        return;
    run->site.narrow = true;
    switch (how % 4) {
    case 1:
        entry.settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS;
        run->site.refusing = true;
        break;
    case 2:
        entry.settings_id = NGHTTP2_SETTINGS_HEADER_TABLE_SIZE;
        break;
    case 3:
        entry.settings_id = NGHTTP2_SETTINGS_MAX_FRAME_SIZE;
        entry.value += 16384;
        break;
    }
    nghttp2_submit_settings(run->site.peers[side].ng, NGHTTP2_FLAG_NONE, &entry, 1);
}

static void stall(struct site *site, struct exchange *exchange, enum http2_side side, bool stalled)
{
    struct message *message = &exchange->by[other(side)];

    message->stalled = stalled;
    site->narrow = true;
    if (stalled || !message->untaken)
        return;
    if (!exchange->by[side].closed)
        nghttp2_session_consume_stream(site->peers[side].ng, exchange->id[side], message->untaken);
    message->untaken = 0;
}

static void say_goaway(struct run *run, enum http2_side side)
{
    struct site *site = &run->site;
    nghttp2_session *ng = site->peers[side].ng;
    uint8_t how = take(&run->input);
    int32_t last = nghttp2_session_get_last_proc_stream_id(ng);

    if (run->goaways++ > 8)
        return;
    if (side == HTTP2_POD) {
        nghttp2_submit_goaway(ng, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
    } else if (how % 3 == 0) {
        nghttp2_submit_shutdown_notice(ng);
    } else {
        if (how % 3 == 1 && last > 2)
            last -= 2;
        if (last < site->last)
            site->last = last;
        nghttp2_submit_goaway(ng, NGHTTP2_FLAG_NONE, site->last < last ? site->last : last,
                              NGHTTP2_NO_ERROR, (const uint8_t *)"bye", 3);
    }
    site->refusing = true;
}

static void other_frames(struct run *run, enum http2_side side)
{
    nghttp2_session *ng = run->site.peers[side].ng;
    struct exchange *exchange = pick(run, side);
    uint8_t how = take(&run->input);
    nghttp2_priority_spec priority;

    if (how % 3 == 0 && run->pings[side]++ < 50) {
        nghttp2_submit_ping(ng, NGHTTP2_FLAG_NONE, NULL);
    } else if (how % 3 == 1 && run->windows++ < 100) {
        run->site.narrow = true;
        if (exchange)
            nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE,
                                                  how & 64 ? 0 : exchange->id[side],
                                                  (int32_t)how << (how & 15));
    } else if (exchange && side == HTTP2_POD && run->priorities++ < 500) {
        nghttp2_priority_spec_init(&priority, how & 2 ? exchange->id[side] - 2 : 0, how + 1,
                                   how & 4);
        if (priority.stream_id >= 0)
            nghttp2_submit_priority(ng, NGHTTP2_FLAG_NONE, exchange->id[side], &priority);
    }
}

static void move(struct run *run, struct peer *peer)
{
    uint8_t how = take(&run->input);
    size_t len = (size_t)take(&run->input) << (how >> 4);

    switch (how % 4) {
    case 0:
        feed(peer, len + 1);
        break;
    case 1:
        pull(peer, HTTP2_PULL_MIN + len);
        break;
    case 2:
        written(peer);
        break;
    case 3:
        deliver(peer, len + 1);
        break;
    }
}

static void operate(struct run *run)
{
    struct site *site = &run->site;
    uint8_t op = take(&run->input);
    enum http2_side side = op & 128 ? HTTP2_UPSTREAM : HTTP2_POD;
    struct exchange *exchange;

    switch (op % 16) {
    case 0:
        open_stream(run);
        break;
    case 1:
        say_more(run, side);
        break;
    case 2:
        say_end(run, side);
        break;
    case 3:
        answer(run);
        break;
    case 4:
        reset(run, side);
        break;
    case 5:
        say_settings(run, side);
        break;
    case 6:
        exchange = pick(run, side);
        if (exchange)
            stall(site, exchange, side, !exchange->by[other(side)].stalled);
        break;
    case 7:
        other_frames(run, side);
        break;
    case 8:
        if (op & 64)
            say_goaway(run, side);
        else
            site->room_fails = take(&run->input) % 4;
        break;
    case 9:
        site->now_ns += (uint64_t)take(&run->input) << 20;
        break;
    case 10:
        pump(site);
        break;
    case 11:
        if (op & 64 && take(&run->input) == 7)
            site->peers[side].shut = site->ending = true;
        break;
    default:
        move(run, &site->peers[side]);
        break;
    }
}

/* ---- the end ---- */

/* Both say all that they have to say, and take all. */
static void finish(struct run *run)
{
    struct site *site = &run->site;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535},
    };

    bool narrow = site->narrow;

    site->room_fails = 0;
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
        nghttp2_session *ng = site->peers[side].ng;

        nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
        nghttp2_session_set_local_window_size(ng, NGHTTP2_FLAG_NONE, 0, 1 << 20);
    }
    for (unsigned turn = 0; turn < 2; turn++) {
        for (unsigned i = 0; i < site->len; i++) {
            struct exchange *exchange = &site->exchanges[i];

            for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
                if (exchange->by[side].closed || !exchange->id[side])
                    continue;
                stall(site, exchange, side, false);
                nghttp2_session_set_local_window_size(site->peers[side].ng, NGHTTP2_FLAG_NONE,
                                                      exchange->id[side], 1 << 20);
                exchange->by[side].ends |= side == HTTP2_POD || turn == 1;
                resume(site, exchange, side);
            }
            if (turn && exchange->by[HTTP2_POD].heads_got && !exchange->by[HTTP2_UPSTREAM].closed &&
                !is_answered(&exchange->by[HTTP2_UPSTREAM]))
                say_head(run, exchange, KIND_ANSWER, 1);
        }
        pump(site);
    }
    site->narrow = narrow;
}

/* All that a side said has arrived. */
static void check_whole(const struct exchange *exchange, enum http2_side by)
{
    const struct message *message = &exchange->by[by];

    CHECK(message->got == message->sent && message->heads_got == message->heads_sent);
    CHECK(message->end_got == message->end_sent);
}

/* The other side was told how it ended. */
static void check_reset(const struct site *site, const struct exchange *exchange,
                        enum http2_side by)
{
    const struct message *message = &exchange->by[other(by)];
    bool whole = exchange->by[HTTP2_POD].end_sent && exchange->by[HTTP2_UPSTREAM].end_sent;

    CHECK(message->closed_code == exchange->by[by].code ||
          (whole && message->closed_code == NGHTTP2_NO_ERROR));
    /* behind a shut window, it would not have left before the reset */
    if (!site->narrow || exchange->by[by].end_sent)
        check_whole(exchange, by);
}

static void check_exchange(const struct site *site, const struct exchange *exchange)
{
    const struct message *request = &exchange->by[HTTP2_POD];
    const struct message *reply = &exchange->by[HTTP2_UPSTREAM];

    if (site->ending || (site->left && !request->heads_got))
        return;
    CHECK(request->closed);
    CHECK(exchange->told == TOLD_NOTHING || exchange->told == TOLD_CLOSED);
    if (!request->heads_sent)
        return;
    if (request->heads_got)
        CHECK(reply->closed);
    if (request->reset && reply->reset)
        return;
    if (exchange->refused) {
        if (!request->reset)
            CHECK(reply->heads_got == 1 && reply->end_got && request->sent == request->target);
        if (!request->reset && !(exchange->shape & (SHAPE_GRPC | SHAPE_HEAD)))
            CHECK(exchange->words == sizeof(REFUSAL_WORDS) - 1);
    } else if (exchange->no_memory || exchange->told == TOLD_NOTHING) {
        CHECK(exchange->no_memory || site->refusing || request->reset);
        if (!request->reset)
            CHECK(request->closed_code == NGHTTP2_REFUSED_STREAM);
    } else if (!request->heads_got) {
        CHECK(request->reset || reply->reset ||
              (site->refusing && request->closed_code == NGHTTP2_REFUSED_STREAM));
    } else if (exchange->id[HTTP2_UPSTREAM] > site->last &&
               (request->closed_code || reply->closed_code)) {
        /* left out by a GOAWAY, or over in another way before it */
        CHECK(request->reset || reply->reset || !request->closed_code ||
              request->closed_code == NGHTTP2_REFUSED_STREAM);
    } else if (reply->reset) {
        check_reset(site, exchange, HTTP2_UPSTREAM);
    } else if (request->reset) {
        check_reset(site, exchange, HTTP2_POD);
    } else {
        check_whole(exchange, HTTP2_POD);
        check_whole(exchange, HTTP2_UPSTREAM);
        CHECK(request->end_got && reply->end_got && exchange->end.whole);
        CHECK(!request->closed_code && !reply->closed_code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run;
    const nghttp2_settings_entry connect = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
    struct site *site = &run.site;

    if (size > 2048)
        return 0;
    memset(&run, 0, sizeof(run));
    run.input = (struct input){data, size};
    site->now_ns = 1ull << 40;
    site->last = INT32_MAX;
    CHECK(http2_new(&site->http2, &hooks, site) == 0);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++) {
        peer_init(&site->peers[side], site, side);
        nghttp2_submit_settings(site->peers[side].ng, NGHTTP2_FLAG_NONE, &connect,
                                side == HTTP2_UPSTREAM && take(&run.input) & 1);
    }
    while (run.input.len) {
        operate(&run);
        for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
            check_credit(&site->peers[side]);
        CHECK(!http2_fault(site->http2));
    }
    finish(&run);
    for (unsigned i = 0; i < site->len; i++)
        check_exchange(site, &site->exchanges[i]);
    CHECK(site->ending || site->left || !http2_open(site->http2));
    http2_free(&site->http2);
    CHECK(!site->room);
    for (unsigned i = 0; i < site->len; i++)
        CHECK(site->exchanges[i].told == TOLD_NOTHING || site->exchanges[i].told == TOLD_CLOSED);
    for (enum http2_side side = 0; side < HTTP2_SIDES; side++)
        peer_fini(&site->peers[side]);
    return 0;
}
