/* Exchanges are kept by (socket cookie, destination), the one used longest ago first to go: for as
 * long as a handshake is not whole, and then to know it again. A datagram that says nothing new
 * needs no new judgement, but the kernel waits to hear that. */
#include "proxy/handshakes/handshakes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi.h"
#include "proxy/handshakes/hello_verdict.h"
#include "proxy/wire/dtls.h"
#include "proxy/wire/quic.h"
#include "sallyport.skel.h"

enum {
    HANDSHAKES_MAX = 512, /* some 18 kB each */
    OF_POD_MAX = 64,
    RANDOM = 32,
    NAME_MAX_LEN = 255,
    DTLS_FIRST = 20, /* what a record of DTLS in the clear may begin with */
    DTLS_LAST = 23,
};

struct handshake {
    struct handshake *next, *before; /* by when they were used */
    struct abi_exchange key;
    uint64_t pod;
    uint32_t waiting; /* datagrams that were taken since one had an answer */
    bool denied;      /* by these rules, until others are in force: */
    uint32_t rules;
    struct quic quic;
    struct dtls dtls;
    struct gather gather;
    bool told; /* a hello, or that it is QUIC; the hello's: */
    uint8_t random[RANDOM];
    uint8_t name[NAME_MAX_LEN];
    size_t name_len;
};

struct handshakes {
    struct handshakes_parts parts;
    struct quic_opener *opener;
    void *tree; /* tsearch(3) of struct handshake */
    struct handshake *first, *last;
    size_t len;
};

/* ---- books ---- */

static int by_key(const void *a, const void *b)
{
    return memcmp(&((const struct handshake *)a)->key, &((const struct handshake *)b)->key,
                  sizeof(struct abi_exchange));
}

static struct handshake *find(const struct handshakes *handshakes, const struct abi_exchange *key)
{
    const struct handshake like = {.key = *key};
    struct handshake **found = tfind(&like, &handshakes->tree, by_key);

    return found ? *found : NULL;
}

static void unlink_one(struct handshakes *handshakes, struct handshake *one)
{
    *(one->before ? &one->before->next : &handshakes->first) = one->next;
    *(one->next ? &one->next->before : &handshakes->last) = one->before;
    one->next = one->before = NULL;
}

static void link_last(struct handshakes *handshakes, struct handshake *one)
{
    one->before = handshakes->last;
    *(handshakes->last ? &handshakes->last->next : &handshakes->first) = one;
    handshakes->last = one;
}

static void drop(struct handshakes *handshakes, struct handshake *one)
{
    tdelete(one, &handshakes->tree, by_key);
    unlink_one(handshakes, one);
    handshakes->len--;
    free(one);
}

/* A pod that begins very many gives up its own. */
static void make_room(struct handshakes *handshakes, uint64_t pod)
{
    struct handshake *oldest = NULL;
    size_t own = 0;

    for (struct handshake *one = handshakes->first; one; one = one->next)
        if (one->pod == pod && !own++)
            oldest = one;
    if (own >= OF_POD_MAX)
        drop(handshakes, oldest);
    else if (handshakes->len >= HANDSHAKES_MAX)
        drop(handshakes, handshakes->first);
}

/* NULL: out of memory. */
static struct handshake *begin(struct handshakes *handshakes, const struct abi_exchange *key,
                               uint64_t pod)
{
    struct handshake *one;

    make_room(handshakes, pod);
    one = calloc(1, sizeof(*one));
    if (!one)
        return NULL;
    one->key = *key;
    one->pod = pod;
    if (!tsearch(one, &handshakes->tree, by_key)) {
        free(one);
        return NULL;
    }
    handshakes->len++;
    link_last(handshakes, one);
    return one;
}

static struct abi_exchange key_of(uint64_t cookie, const uint8_t ip[16], uint16_t port)
{
    struct abi_exchange key = {.cookie = cookie, .port = port};

    memcpy(key.ip, ip, sizeof(key.ip));
    return key;
}

void handshakes_forget(struct handshakes *handshakes, uint64_t cookie, const struct addr *dst)
{
    const struct abi_exchange key = key_of(cookie, dst->ip, dst->port);
    struct handshake *one = find(handshakes, &key);

    if (one)
        drop(handshakes, one);
}

/* ---- what is in it ---- */

enum taken { TAKEN_HELLO, TAKEN_PARTIAL, TAKEN_KNOWN, TAKEN_OTHER, TAKEN_NOT };

static enum taken take_dtls(struct handshake *one, struct span datagram, struct hello *hello)
{
    switch (dtls_take(&one->dtls, datagram, &one->gather, hello)) {
    case DTLS_HELLO:
        return TAKEN_HELLO;
    case DTLS_PARTIAL:
        return TAKEN_PARTIAL;
    case DTLS_KNOWN:
        return one->told ? TAKEN_KNOWN : TAKEN_NOT; /* of one that nobody saw begin */
    case DTLS_NOT:
        break;
    }
    return TAKEN_NOT;
}

static enum taken take_quic(struct handshake *one, struct quic_opener *opener, struct span datagram,
                            struct hello *hello)
{
    switch (quic_take(&one->quic, opener, datagram, &one->gather, hello)) {
    case QUIC_HELLO:
        return TAKEN_HELLO;
    case QUIC_PARTIAL:
        return TAKEN_PARTIAL;
    case QUIC_KNOWN:
        return TAKEN_KNOWN;
    case QUIC_OTHER:
        return TAKEN_OTHER;
    case QUIC_NOT:
        break;
    }
    return TAKEN_NOT;
}

/* What a program speaks on one exchange may change; then what was gathered is void. */
static enum taken take(struct handshakes *handshakes, struct handshake *one, struct span datagram,
                       struct hello *hello)
{
    bool dtls = datagram.len && datagram.data[0] >= DTLS_FIRST && datagram.data[0] <= DTLS_LAST;

    if (dtls ? one->quic.version != 0 : one->dtls.begun) {
        one->quic = (struct quic){0};
        one->dtls = (struct dtls){0};
        one->gather = (struct gather){0};
    }
    return dtls ? take_dtls(one, datagram, hello)
                : take_quic(one, handshakes->opener, datagram, hello);
}

static const char *transport_of(const struct handshake *one, const struct hello *hello)
{
    static const char *const dtls[] = {[2] = "DTLS1.0", [3] = "DTLS1.2", [4] = "DTLS1.3"};
    unsigned at = hello ? hello->version_max - 0x0300u : 0;

    if (hello && hello->transport == HELLO_DTLS)
        return at < ARRAY_SIZE(dtls) && dtls[at] ? dtls[at] : "DTLS";
    switch (hello ? one->quic.version : 0) {
    case QUIC_VERSION_1:
        return "QUICv1";
    case QUIC_VERSION_2:
        return "QUICv2";
    default:
        return "QUIC";
    }
}

/* The same handshake's hello again: after a Retry, a HelloVerifyRequest. */
static bool is_told(const struct handshake *one, const struct hello *hello)
{
    return one->told && span_equal(hello->random, span_of(one->random, sizeof(one->random))) &&
           span_equal(hello->server_name, span_of(one->name, one->name_len));
}

static void note_told(struct handshake *one, const struct hello *hello)
{
    one->told = true;
    memcpy(one->random, hello->random.data, sizeof(one->random));
    one->name_len = hello->server_name.len;
    if (one->name_len)
        memcpy(one->name, hello->server_name.data, one->name_len);
}

/* ---- what the kernel hears ---- */

static void answer(const struct handshakes *handshakes, const struct abi_datagram *record,
                   enum abi_judgement judgement)
{
    const struct abi_exchange key = key_of(record->cookie, record->dst, record->dst_port);
    const struct abi_judged judged = {record->time_ns, record->rules, judgement};

    if (handshakes->parts.bpf)
        bpf_map_update_elem(bpf_map__fd(handshakes->parts.bpf->maps.hellos_judged), &key, &judged,
                            BPF_ANY);
}

static void judge(struct handshakes *handshakes, struct handshake *one,
                  const struct hello_seen *seen, bool tells, struct handshakes_told *out)
{
    bool goes_on = hello_verdict(&handshakes->parts, seen, tells, out->said);

    one->denied = !goes_on;
    one->rules = seen->record->rules;
    answer(handshakes, seen->record, goes_on ? ABI_JUDGED_OPEN : ABI_JUDGED_DENIED);
}

static void tell_missed(const struct handshakes *handshakes, uint32_t missed)
{
    struct flow_event *event = missed ? flow_event_new(FLOW_EVENT_LOST, NULL, NULL) : NULL;

    if (!event)
        return;
    event->lost.count = missed;
    event->lost.reason = "a pod began more handshakes by datagrams in a second than are looked at";
    bus_emit(handshakes->parts.producer, &event);
}

/* What cannot be read: where a name must be known that is the end of it, unless there was one
 * before: then nobody will read this, who knows that one. Else nobody cares. */
static void handle_unread(struct handshakes *handshakes, struct handshake *one,
                          const struct hello_seen *seen, struct handshakes_told *out)
{
    bool open = seen->record->flags & ABI_DATAGRAM_OPEN,
         held = seen->record->flags & ABI_DATAGRAM_HELD;

    if (open && one->waiting > 1 && one->waiting < ABI_HELLOS_MAX)
        return; /* it came in between another's parts, of which the rest may come yet */
    if (open && one->waiting == 1)
        answer(handshakes, seen->record, ABI_JUDGED_OPEN);
    else if (held)
        judge(handshakes, one, seen, false, out);
    one->waiting = 0;
}

static void handle(struct handshakes *handshakes, struct handshake *one,
                   const struct abi_datagram *record, const struct handshakes_who *who,
                   struct handshakes_told *out)
{
    struct hello hello = {0};
    struct hello_seen seen = {.record = record, .who = who};
    bool tells;

    one->waiting++;
    switch (take(handshakes, one, span_of(record->bytes, record->len), &hello)) {
    case TAKEN_HELLO:
        seen.hello = &hello;
        seen.transport = transport_of(one, &hello);
        tells = !is_told(one, &hello);
        note_told(one, &hello);
        judge(handshakes, one, &seen, tells, out);
        out->opaque = true;
        one->waiting = 0;
        break;
    case TAKEN_OTHER:
        seen.transport = transport_of(one, NULL);
        judge(handshakes, one, &seen, !one->told, out);
        out->opaque = one->told = true;
        one->waiting = 0;
        break;
    case TAKEN_KNOWN:
        answer(handshakes, record, ABI_JUDGED_OPEN);
        one->waiting = 0;
        break;
    case TAKEN_PARTIAL: /* the rest may come yet */
        if (one->waiting >= ABI_HELLOS_MAX)
            handle_unread(handshakes, one, &seen, out);
        break;
    case TAKEN_NOT:
        handle_unread(handshakes, one, &seen, out);
        break;
    }
}

void handshakes_on_datagram(struct handshakes *handshakes, const struct abi_datagram *record,
                            const struct handshakes_who *who, struct handshakes_told *out)
{
    const struct abi_exchange key = key_of(record->cookie, record->dst, record->dst_port);
    struct handshake *one = find(handshakes, &key);

    *out = (struct handshakes_told){0};
    tell_missed(handshakes, record->missed);
    if (one) {
        unlink_one(handshakes, one);
        link_last(handshakes, one);
    } else {
        one = begin(handshakes, &key, record->pod);
    }
    if (one && one->denied && one->rules == record->rules) /* it left before the kernel knew */
        answer(handshakes, record, ABI_JUDGED_DENIED);
    else if (one)
        handle(handshakes, one, record, who, out); /* else out of memory: where it matters the
                                                      kernel goes on waiting, and it comes again */
}

/* ---- set-up ---- */

int handshakes_new(struct handshakes **out, const struct handshakes_parts *parts, struct err *err)
{
    CLEANUP(handshakes_free) struct handshakes *handshakes = calloc(1, sizeof(*handshakes));
    int result;

    if (!handshakes)
        return err_set(err, -ENOMEM, "table of handshakes");
    handshakes->parts = *parts;
    result = quic_opener_new(&handshakes->opener, err);
    if (result == 0)
        *out = TAKE(handshakes);
    return result;
}

void handshakes_free(struct handshakes **handshakes)
{
    if (!*handshakes)
        return;
    while ((*handshakes)->first)
        drop(*handshakes, (*handshakes)->first);
    quic_opener_free(&(*handshakes)->opener);
    free(TAKE(*handshakes));
}
