#include "policy/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 100, SHOWN_BEFORE = 60 }; /* characters of a line; of these, before its fault */

/* ---- characters ---- */

static size_t character(struct span at)
{
    size_t len = 1;

    while (len < at.len && len < 4 && (at.data[len] & 0xc0) == 0x80)
        len++;
    return len;
}

/* What a terminal would take for a command of its own, or what is no whole character. */
static bool is_odd(struct span at, size_t len)
{
    uint8_t first = at.data[0];
    size_t want = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    return (first < 0x20 && first != '\t') || first == 0x7f || len != want ||
           (first == 0xc2 && at.data[1] < 0xa0);
}

/* What is told of a file holds texts out of it. */
static void make_printable(char *text)
{
    struct span rest = span_of_text(text);

    while (rest.len) {
        size_t len = character(rest);

        if (is_odd(rest, len) || *text == '\t')
            memset(text, '?', len);
        text += len;
        rest.data += len;
        rest.len -= len;
    }
}

/* ---- a list of them ---- */

void faults_fini(struct faults *faults)
{
    while (faults->len)
        free(faults->list[--faults->len].text);
    faults->untold = 0;
}

void faults_add(struct faults *faults, struct mark mark, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    make_printable(text);
    if (faults->len == FAULTS_MAX || !(faults->list[faults->len].text = strdup(text))) {
        faults->untold++;
        return;
    }
    faults->list[faults->len++].mark = mark;
}

size_t faults_count(const struct faults *faults)
{
    return faults->len + faults->untold;
}

/* By insertion: they come nearly in order, and two at one place stay as they came. */
static void sort(struct faults *faults)
{
    for (size_t i = 1; i < faults->len; i++) {
        struct fault moved = faults->list[i];
        size_t at = i;

        while (at && (faults->list[at - 1].mark.line > moved.mark.line ||
                      (faults->list[at - 1].mark.line == moved.mark.line &&
                       faults->list[at - 1].mark.column > moved.mark.column))) {
            faults->list[at] = faults->list[at - 1];
            at--;
        }
        faults->list[at] = moved;
    }
}

/* ---- the line of a fault ---- */

/* How many bytes of a line's end begin here: YAML 1.1 has more of them than editors. */
static size_t line_end(struct span at)
{
    static const struct span ends[] = {BYTES("\r\n"),         BYTES("\n"),
                                       BYTES("\r"),           BYTES("\xc2\x85"),
                                       BYTES("\xe2\x80\xa8"), BYTES("\xe2\x80\xa9")};

    if (at.data[0] != '\n' && at.data[0] != '\r' && at.data[0] != 0xc2 && at.data[0] != 0xe2)
        return 0; /* nearly always */
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        if (at.len >= ends[i].len && memcmp(at.data, ends[i].data, ends[i].len) == 0)
            return ends[i].len;
    return 0;
}

static struct span skip(struct span from, size_t n)
{
    return span_of(from.data + n, from.len - n);
}

static size_t line_len(struct span from)
{
    size_t len = 0;

    while (len < from.len && line_end(skip(from, len)) == 0)
        len++;
    return len;
}

static struct span next_line(struct span from)
{
    struct span rest = skip(from, line_len(from));

    return rest.len ? skip(rest, line_end(rest)) : rest;
}

struct span fault_text(struct span bytes)
{
    bool marked = bytes.len >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0;

    return marked ? skip(bytes, 3) : bytes;
}

struct span fault_line(struct span bytes, unsigned number)
{
    bytes = fault_text(bytes);
    while (--number && bytes.len)
        bytes = next_line(bytes);
    return span_of(bytes.data, line_len(bytes));
}

struct mark fault_mark(struct span bytes, size_t offset)
{
    struct span rest = bytes;
    struct mark mark = {1, 1};

    for (;;) {
        struct span tail = skip(rest, line_len(rest));
        size_t end = tail.len ? line_end(tail) : 0;

        if (!end || (size_t)(tail.data - bytes.data) + end > offset)
            break;
        rest = skip(tail, end);
        mark.line++;
    }
    for (const uint8_t *at = rest.data; at < bytes.data + offset; at++)
        mark.column += (*at & 0xc0) != 0x80;
    return mark;
}

/* The line, or the part of it about the fault, and a caret below; a tab stays one in both. */
static void show_line(FILE *out, struct span line, unsigned column)
{
    unsigned from = column > SHOWN_MAX ? column - SHOWN_BEFORE : 1, at = 1;
    char below[SHOWN_MAX + 1];
    size_t below_len = 0;

    fputs("    ", out);
    for (; line.len && at < from + SHOWN_MAX; at++) {
        size_t len = character(line);

        if (at >= from) {
            if (at < column)
                below[below_len++] = line.data[0] == '\t' ? '\t' : ' ';
            if (is_odd(line, len))
                fputc('?', out);
            else
                fwrite(line.data, 1, len, out);
        }
        line = skip(line, len);
    }
    fprintf(out, "\n    %.*s^\n", (int)below_len, below);
}

/* rest: of the file, from line *at on; the faults come in the order of their lines. */
static void tell_one(FILE *out, const struct fault *fault, const char *file, struct span *rest,
                     unsigned *at)
{
    if (!fault->mark.line) {
        fprintf(out, "%s: error: %s\n", file, fault->text);
        return;
    }
    fprintf(out, "%s:%u:%u: error: %s\n", file, fault->mark.line, fault->mark.column, fault->text);
    for (; *at < fault->mark.line && rest->len; ++*at)
        *rest = next_line(*rest);
    show_line(out, span_of(rest->data, line_len(*rest)), fault->mark.column);
}

char *faults_tell(struct faults *faults, const char *file, struct span bytes)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    unsigned line = 1;
    bool ok;

    if (!out)
        return NULL;
    bytes = fault_text(bytes);
    sort(faults);
    for (size_t i = 0; i < faults->len; i++)
        tell_one(out, &faults->list[i], file, &bytes, &line);
    if (faults->untold)
        fprintf(out, "%s: error: and %zu more faults\n", file, faults->untold);
    ok = !ferror(out);
    if (fclose(out) != 0 || !ok)
        free(TAKE(text));
    return text;
}

void faults_summary(struct faults *faults, const char *file, struct err *err)
{
    const struct fault *first = &faults->list[0];
    char place[32] = "";

    sort(faults);
    if (!faults->len) {
        err_set(err, -ENOMEM, "%s: out of memory", file);
        return;
    }
    if (first->mark.line)
        snprintf(place, sizeof(place), ":%u:%u", first->mark.line, first->mark.column);
    if (faults_count(faults) == 1)
        err_set(err, -EINVAL, "%.200s%s: error: %s", file, place, first->text);
    else
        err_set(err, -EINVAL, "%zu faults in %.120s, the first: %.120s%s: error: %s",
                faults_count(faults), file, file, place, first->text);
}
