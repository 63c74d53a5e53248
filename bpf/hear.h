/* hear: what is said in one go is read step by step, as its spell does (spell.h); what anybody
 * wants to see of it is told (say.h), and a request that may not go is found.
 *
 * Who includes this defines what differs between what is sent and what was received:
 *
 *   hear_turn()       goes on to the next element of memory, behind side->end: false, there is none
 *   hear_fetch()      len bytes (SPELL_PIECE at most) from side->at on into side->piece
 *   hear_direction()  which way it goes
 *   hear_tell()       what shall be told and was not, from side->since up to side->at
 *
 * What changes is kept with the side, not on the stack: the verifier follows a loop until it learns
 * nothing new of the stack, and of a map's value it never knows anything. */
#pragma once

#include <bpf/bpf_core_read.h>

#include "bpf/bypass.h"
#include "bpf/kernel.h"
#include "bpf/say.h"
#include "bpf/spelling.h"

#ifndef HEAR_JUDGES
#define HEAR_JUDGES(direction) ((direction) != ABI_RX)
#endif

enum hear_refusal { HEAR_GOES, HEAR_DENIED, HEAR_UNSEEN };

enum {
    RECORD_HEADER = 5,
    RECORDS_MAX = 16384, /* bytes of handshakes that are told */
    ODD_MAX = 1024,      /* bytes told of what nobody can read */
    /* TLS 1.3's encrypted Finished, by the length of its hash (RFC 8446 section 4.4.4) */
    FINISHED_SHA256 = 32 + 4 + 1 + 16,
    FINISHED_SHA384 = 48 + 4 + 1 + 16,
};

struct hearing {
    void *from; /* the program's context, or what it keeps in its place */
    struct speech *speech;
    __u32 side; /* which of the speech's this is about */
};

static __always_inline bool hear_turn(struct hearing *hearing, struct speech_side *side);
static __always_inline bool hear_fetch(struct hearing *hearing, struct speech_side *side,
                                       __u32 len);
static __always_inline enum abi_direction hear_direction(const struct hearing *hearing);
static void hear_tell(struct hearing *hearing, struct speech_side *side, enum abi_said_kind kind);

static __always_inline void hear_begin(struct speech_side *side, __u32 size)
{
    side->at = side->since = 0;
    side->size = size;
    side->flags = 0;
    side->refusal = HEAR_GOES;
}

/* This could not be told. Of what was refused nothing follows that might tell it: the end of the
 * connection does, and who looks at what is counted for all need not wait for that. */
static __always_inline void hear_untold(struct speech *speech, struct speech_side *side, __u32 len,
                                        __u32 kind)
{
    side->lost += len;
    if (kind != ABI_SAID_DENIED)
        return;
    __sync_fetch_and_add(&speech->sides[ABI_TX].untold, 1);
    count_route(ABI_ROUTE_UNTOLD, 1);
}

/* What is wanted and was not told. */
static __always_inline void hear_tell_rest(struct hearing *hearing, struct speech_side *side)
{
    if (side->at != side->since)
        hear_tell(hearing, side, ABI_SAID_BYTES);
    side->since = side->at;
    side->flags = 0;
}

static __always_inline void hear_pass(struct hearing *hearing, struct speech_side *side, __u32 len,
                                      bool wanted)
{
    if (!wanted) {
        hear_tell_rest(hearing, side);
        side->skipped += len;
        side->since += len;
    }
    side->at += len;
    if (wanted && (side->at == side->end || side->at - side->since > ABI_SAID_MAX - SPELL_PIECE))
        hear_tell_rest(hearing, side);
}

static __always_inline bool wants_bodies(const struct speech *speech, __u32 direction)
{
    if (direction == LEAVING)
        return false;
    return speech->spelling.flags & (direction == ABI_TX ? ABI_SPELL_BODY_TX : ABI_SPELL_BODY_RX);
}

/* A record that somebody else encrypted begins. All are alike but the one by which a client of TLS
 * 1.3 ends its handshake, before it can hand its keys to the kernel: known by its length, where no
 * other can be the first. */
static __always_inline bool is_sealed(struct speech_side *side)
{
    __u64 len = side->spell.left;

    if (side->sealed < 255)
        side->sealed++;
    return side->sealed > 1 || side->spell.lines != SPELL_HELLO_WHOLE ||
           (len != FINISHED_SHA256 && len != FINISHED_SHA384);
}

/* The kernel did not take the keys, and the program goes on by itself: news, however many such
 * records its handshake had. */
static __always_inline void note_alone(struct speech_side *side)
{
    if (side->alone)
        return;
    side->alone = true;
    if (side->sealed > 1)
        side->sealed = 1;
}

static __always_inline bool unseen_is_refused(const struct speech *speech)
{
    return speech->asks && speech->spelling.flags & ABI_SPELL_UNSEEN;
}

/* What is no HTTP, or was not read once, can be read no more. */
static __always_inline bool other_is_refused(const struct speech *speech,
                                             const struct speech_side *side)
{
    return side->spell.mode == SPELL_OTHER &&
           (unseen_is_refused(speech) || (side->missed && is_judged_speech(speech)));
}

static __always_inline enum hear_refusal
objection(const struct speech *speech, const struct speech_side *side, __u32 what, bool sealed)
{
    const struct spell *spell = &side->spell;
    __u32 flags = speech->spelling.flags;

    if (!is_judged_speech(speech))
        return HEAR_GOES;
    if (spell->mode == SPELL_RAW)
        return flags & ABI_SPELL_UNSEEN ? HEAR_UNSEEN : HEAR_GOES;
    if (what & SPELL_TURNED && flags & ABI_SPELL_JUDGED && spell->flags & SPELL_SPOKE)
        return HEAR_UNSEEN; /* of what is meant to be HTTP, odd heads do not go either */
    if (what & SPELL_TURNED || sealed || spell->flags & SPELL_NO_HELLO)
        return unseen_is_refused(speech) ? HEAR_UNSEEN : HEAR_GOES;
    if (what & SPELL_ENDS && !may_go(speech, side))
        return HEAR_DENIED;
    if (spell->mode == SPELL_HEAD && spell->at && side->at == side->size && !may_fit(speech, spell))
        return HEAR_DENIED; /* its end need not be waited for */
    if (spell->mode == SPELL_FRAMES && flags & ABI_SPELL_JUDGED)
        return HEAR_DENIED; /* the heads of HTTP/2 cannot be read here */
    return HEAR_GOES;
}

/* Of what is neither HTTP nor TLS a little is told. */
static __always_inline __u32 hear_odd(const struct speech_side *side)
{
    __u32 more = side->end - side->at;

    return more < ODD_MAX ? more : ODD_MAX;
}

/* A send is refused before it was looked at: some of it is told. */
static __always_inline void hear_refused(struct speech_side *side, enum hear_refusal refusal)
{
    __u32 left = side->size - side->at;

    side->refusal = refusal;
    side->at += left < ODD_MAX ? left : ODD_MAX;
}

/* Bytes that were looked at: n of them are one span. */
static __always_inline long hear_span(struct hearing *hearing, struct speech_side *side,
                                      __u32 direction, __u32 n, __u32 what, __u32 header)
{
    struct speech *speech = hearing->speech;
    bool tls = side->spell.mode == SPELL_TLS, sealed = false;
    bool wanted = what & SPELL_WANTED || wants_bodies(speech, direction);

    side->body = 0;
    if (what & SPELL_BEGINS) {
        hear_tell_rest(hearing, side);
        side->flags = ABI_SAID_BEGINS;
    }
    if (tls) {
        bool data = side->spell.method == SPELL_RECORD_DATA;

        sealed =
            data && header < RECORD_HEADER && side->spell.at == RECORD_HEADER && is_sealed(side);
        wanted = data ? sealed && side->sealed <= 2 : side->records < RECORDS_MAX;
        sealed = sealed || (!data && !wanted); /* no handshake is so long */
        side->records += wanted ? n : 0;
        side->flags |= ABI_SAID_RECORDS;
    }
    side->at += n; /* as if it had passed */
    side->refusal = HEAR_JUDGES(direction) ? objection(speech, side, what, sealed) : HEAR_GOES;
    if (side->refusal) {
        if (what & SPELL_TURNED)
            side->at += hear_odd(side); /* it may tell why */
        return 1;
    }
    side->at -= n;
    hear_pass(hearing, side, n, wanted);
    if (what & SPELL_TURNED)
        side->at += hear_odd(side);
    return 0;
}

/* Answers are counted where they come in. */
static __always_inline struct spell_ties *ties_of(struct speech *speech, __u32 direction)
{
    if (direction != LEAVING)
        return &speech->ties;
    speech->leaving_ties.answered = speech->ties.answered;
    speech->leaving_ties.left = speech->ties.left;
    return &speech->leaving_ties;
}

/* Rules judge what is sent from here on, and did not before: from here on it is read again as it
 * leaves, unless the kernel encrypts it. False: nobody knows what was said before. */
static __always_inline bool begin_leaving(struct speech *speech, const struct speech_side *side)
{
    struct speech_side *leaving = &speech->sides[LEAVING];

    if (speech->doubted && !side->keyed)
        return false;
    leaving->spell = side->spell;
    leaving->sealed = side->sealed;
    leaving->records = side->records;
    leaving->next = side->next - side->size + side->at;
    speech->leaving_ties = speech->ties;
    speech->reread = true;
    return true;
}

/* Rules may have come, or changed, where no head begins that they could be asked about: within one,
 * or where there is no HTTP/1, and no head will be. A head whose beginning they had to see and have
 * not does not end; what they want to be seen and cannot be goes no further. */
static __always_inline void hear_rules(struct speech *speech, struct speech_side *side)
{
    const struct spell *spell = &side->spell;
    bool amid = spell->mode <= SPELL_HEAD && spell->at;

    if (!speech->asks || (!amid && spell->mode < SPELL_RAW) || !spelling_is_fresh(speech, ABI_TX))
        return;
    if (other_is_refused(speech, side)) {
        hear_refused(side, HEAR_UNSEEN);
    } else if (is_judged_speech(speech) && !speech->reread) {
        if (amid && speech->spelling.flags & ABI_SPELL_JUDGED)
            hear_refused(side, HEAR_DENIED);
        else if (!begin_leaving(speech, side))
            hear_refused(side, HEAR_UNSEEN);
    }
}

/* A head begins, or what there is after an upgrade. False: it is not to be heard. */
static __always_inline bool hear_head(struct speech *speech, struct speech_side *side,
                                      __u32 direction)
{
    if (!spelling_is_fresh(speech, direction)) {
        speech->over = true;
        return false;
    }
    side->spell.start = speech->spelling.row;
    if (direction == ABI_TX && HEAR_JUDGES(direction) && is_judged_speech(speech) &&
        !speech->reread && !begin_leaving(speech, side)) {
        side->at += hear_odd(side);
        side->refusal = HEAR_UNSEEN;
    }
    return !side->refusal;
}

static __always_inline long hear_step(struct hearing *hearing, __u32 direction)
{
    struct speech *speech = hearing->speech;
    struct speech_side *side = &speech->sides[direction];
    __u32 left = side->size - side->at, n, header = side->spell.at;
    bool bodies = wants_bodies(speech, direction) && side->spell.mode < SPELL_TLS;
    bool settling = side->spell.mode == SPELL_SETTLING;
    struct spell_told told = {};

    if (side->at >= side->size)
        return 1;
    if (side->at >= side->end && hear_turn(hearing, side))
        return 0;
    spell_settle(&side->spell, ties_of(speech, direction));
    if (bodies && left > side->end - side->at)
        left = side->end - side->at;
    if (bodies && left > ABI_SAID_MAX - SPELL_PIECE)
        left = ABI_SAID_MAX - SPELL_PIECE;
    n = spell_skip(&side->spell, left);
    if (n) {
        side->body = side->body + n < n ? ~0u : side->body + n;
        hear_pass(hearing, side, n, bodies);
        return side->at >= side->size;
    }
    if (!header && (side->spell.mode <= SPELL_HEAD || settling) &&
        !hear_head(speech, side, direction))
        return 1;
    if (left > side->end - side->at)
        left = side->end - side->at;
    if (left > SPELL_PIECE)
        left = SPELL_PIECE;
    n = spell_is_counted(&side->spell) || hear_fetch(hearing, side, left)
            ? spell_take(&side->spell, ties_of(speech, direction), &side->piece, left, &told)
            : 0;
    if (!n || n > left) { /* it could not be read */
        side->lost += side->size - side->at;
        side->since = side->at = side->size;
        side->missed = true;
        spell_lost(&side->spell);
        if (HEAR_JUDGES(direction) && is_judged_speech(speech))
            side->refusal = HEAR_UNSEEN;
        return 1;
    }
    if (told.what & SPELL_TURNED && HEAR_JUDGES(direction))
        spelling_is_fresh(speech, direction); /* amid a body, or behind the last message */
    return hear_span(hearing, side, direction, n, told.what, header) || side->at >= side->size;
}

/* Of what was taken since, or waits to leave, so much was not shown to us; 0: nothing, or we were
 * shown more than was taken. */
static __always_inline __u32 unheard(struct bpf_sock *sk, const struct speech *speech)
{
    const struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    __s32 behind;

    if (!tcp || !speech->counted || speech->sides[ABI_TX].keyed)
        return 0;
    behind = tcp->write_seq - speech->sent;
    return behind < 0 ? 0 : behind;
}

/* Bytes that went by and that we were not shown: of a body it is enough that they were there.
 * False: others are among them. */
static __always_inline bool hear_missing(const struct speech *speech, struct speech_side *side,
                                         __u32 direction, __u64 missing)
{
    __u64 passed = spell_pass(&side->spell, missing);

    side->body = side->body + passed < passed ? ~0u : side->body + passed;
    if (wants_bodies(speech, direction))
        side->lost += passed;
    else
        side->skipped += passed;
    if (passed == missing)
        return true;
    side->lost += missing - passed;
    spell_lost(&side->spell);
    return false;
}

/* That something is missing is told at once: what follows may be of no interest, or the last. */
static __always_inline void hear_tell_lost(struct hearing *hearing, struct speech_side *side)
{
    struct abi_said *record = side->lost ? SAID_RESERVE(0) : NULL;

    if (!record)
        return;
    fill_said(record, hearing->speech, side, hear_direction(hearing), ABI_SAID_BYTES, 0);
    bpf_ringbuf_submit(record, 0);
}

/* All steps were taken. */
static __always_inline void hear_end(struct hearing *hearing, struct speech_side *side)
{
    if (side->refusal == HEAR_UNSEEN)
        side->flags |= ABI_SAID_UNSEEN;
    if (side->refusal) {
        hear_tell(hearing, side, ABI_SAID_DENIED);
        return;
    }
    hear_tell_rest(hearing, side);
    hear_tell_lost(hearing, side);
}
