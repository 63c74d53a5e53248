/* speech: what is known of a connection whose plain text is read in the kernel, kept on its socket
 * from before its SYN leaves, or from the moment that it was accepted.
 *
 * Made by sockops.bpf.c, or by adopt.h if it is older than its pod. Its sending side is
 * send.bpf.c's, which has the socket locked; once the socket has left, packets.bpf.c's, and
 * ktls.bpf.c's when the kernel encrypts. Its receiving side is packets.bpf.c's, and ktls.bpf.c's
 * when the kernel decrypts (keyed.h). */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/spell.h"

/* What is sent is read twice where rules judge it: as the program says it, which is told, and once
 * more as it leaves (packets.bpf.c), where nothing can come between. */
enum { LEAVING = ABI_DIRECTIONS, SPEECH_SIDES };

struct speech_side { /* one direction of it */
    struct spell spell;
    __u32 at, size; /* where what is looked at just now is, in what is heard in this go */
    __u32 since;    /* from here up to `at`, it shall be told, and was not yet */
    __u32 end;      /* of the memory that `at` is in */
    __u32 element;  /* which that is; of a packet: where its bytes begin */
    __u32 next;     /* the sequence number that comes next */
    __u32 pid;      /* who says it; 0: received */
    __u8 flags;     /* enum abi_said_flags, of what was not told yet */
    __u8 refusal;   /* enum hear_refusal */
    __u8 sealed;    /* how many records came that nobody can read */
    __u8 keyed;     /* the kernel encrypts it */
    __u32 records;  /* bytes of TLS handshakes that were told */
    __u32 body;     /* so many of the last bytes that were heard are of a body */
    __u8 finished;  /* what looked like the end of a handshake was passed over */
    __u8 keying;    /* keys were handed over, and perhaps not taken: then the kernel encrypts it,
                       and `keyed` (keyed.h) goes on with it */
    __u8 alone;     /* ... they were not, and its program encrypts by itself */
    __u8 missed; /* something of it could not be read: what follows is not known for what it is */
    __u32 shown; /* send.bpf.c: so much of the message is shown as it is ... */
    __u64 from;  /* ... and where what is shown now lies */
    __u64 skipped, lost;      /* bytes that were not told, and for which reason: struct abi_said */
    __u64 untold;             /* denials that were not: struct abi_socket */
    struct spell_piece piece; /* what is looked at just now (hear.h); last: see below */
};

/* All of it but the piece, which is large, and true of whichever side it is. */
enum { SPEECH_STATE = __builtin_offsetof(struct speech_side, piece) };

struct speech {
    struct abi_origin origin;
    struct abi_spelling spelling;
    __u32 rules;  /* by which that was found */
    __u8 found;   /* it was looked for */
    __u8 asks;    /* the pod's side made the connection */
    __u8 over;    /* nobody wants to hear any more: the pod is gone */
    __u8 leaves;  /* `enrolled`, as soon as may be: sockops.bpf.c */
    __u32 busy;   /* a packet is being looked at: packets.bpf.c */
    __u32 sent;   /* the sequence number behind what was heard of what is sent; of plain bytes */
    __u8 counted; /* `sent` is known */
    __u8 whole;   /* heard from its beginning */
    __u8 doubted; /* while no rules judged it, more than a body was heard that may not have left */
    __u8 mixed;   /* what send.bpf.c heard last was more than a body */
    __u8 told[ABI_DIRECTIONS]; /* that keys were handed over */
    __u8 reread;    /* sides[LEAVING] is where the last that was said ends, or on its way there */
    __u8 closed;    /* by its program: nobody waits for what comes yet */
    __u8 encrypted; /* ... by the kernel, what it sent last: from then on its keys do not show */
    __u8 untyped;   /* a record of another type than data that could not be noted: records.bpf.c */
    __u8 pad[2];
    /* the sequence number from which on the kernel encrypts, if it took the keys */
    __u32 keyed_from;
    struct spell_ties ties;
    struct spell_ties leaving_ties;
    struct speech_side sides[SPEECH_SIDES];
};

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct speech);
} speeches SEC(".maps") __weak;
