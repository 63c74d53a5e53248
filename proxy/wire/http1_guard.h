/* http1_guard: the lines of an HTTP/1 message, byte by byte, before llhttp reads them.
 *
 * Refuses what llhttp 8 lets through and two servers could read differently: lines that do not end
 * in CRLF, folded lines, control bytes, a start line of other than single blanks, a version other
 * than 1.0 and 1.1; and it bounds what may come. Knows nothing of what the fields mean.
 * Pure. Called by:  http1.c. */
#pragma once

#include "base/span.h"

enum http1_section {
    HTTP1_REQUEST_LINE, /* with the blank lines a server ignores before it (RFC 9112 section 2.2) */
    HTTP1_STATUS_LINE,
    HTTP1_FIELDS, /* of a head or a trailer, up to its empty line */
    HTTP1_CHUNK_LINE,
};

struct http1_guard {
    enum http1_section section;
    size_t left;   /* bytes the section may still have */
    size_t column; /* in the current line */
    size_t lines;  /* complete ones in this section, blank ones before a request not counted */
    uint8_t part;  /* request line: 0 method, 1 target, 2 version; chunk line: see http1_guard.c */
    size_t part_at;
    bool cr;    /* the last byte was a CR */
    bool colon; /* field line: the name is complete */
    const char *reason;
};

enum http1_guard_verdict { HTTP1_GUARD_MORE, HTTP1_GUARD_END, HTTP1_GUARD_BAD };

/* Begins a section of at most `most` bytes. */
void http1_guard_begin(struct http1_guard *guard, enum http1_section section, size_t most);

/* Takes bytes up to the section's end. *taken stands behind the last good byte: behind the
 * section's closing LF for END, on the offending byte for BAD (guard->reason says why). */
enum http1_guard_verdict http1_guard_scan(struct http1_guard *guard, struct span bytes,
                                          size_t *taken);

bool http1_is_tchar(uint8_t c); /* RFC 9110 section 5.6.2 */
