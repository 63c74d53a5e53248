/* Where in the file a byte of a text stands. YAML's escapes make that hard in general; here are the
 * ways in which people write expressions: as they are, or in quotes, on one line. */
#include "policy/compile_own.h"

#include <string.h>

/* How many bytes of source stand for the text's next one; 0: it is not to be told. */
static size_t width(struct span source, char quote, char next)
{
    static const char escapes[] = "0abtnvfre \"/\\", mean[] = "\0\a\b\t\n\v\f\r\x1b \"/\\";
    const char *escape;

    if (!source.len)
        return 0;
    if (quote == '\'' && next == '\'')
        return source.len > 1 && source.data[0] == '\'' && source.data[1] == '\'' ? 2 : 0;
    if (quote != '"' || source.data[0] != '\\')
        return source.data[0] == (uint8_t)next;
    escape = source.len > 1 ? memchr(escapes, source.data[1], sizeof(escapes) - 1) : NULL;
    return escape && mean[escape - escapes] == next ? 2 : 0;
}

static struct span behind(struct span source, size_t n)
{
    return span_of(source.data + n, source.len - n);
}

/* Over one character of UTF-8. */
static struct span over(struct span source)
{
    size_t n = 1;

    while (n < source.len && (source.data[n] & 0xc0) == 0x80)
        n++;
    return behind(source, n);
}

struct mark compile_mark_in(const struct compile *c, const struct node *node, size_t at)
{
    struct span source = fault_line(c->bytes, node->mark.line);
    struct mark mark = node->mark;
    char quote = 0;

    for (unsigned i = 1; i < mark.column && source.len; i++)
        source = over(source);
    if (source.len && (source.data[0] == '\'' || source.data[0] == '"')) {
        quote = (char)source.data[0];
        source = behind(source, 1);
        mark.column++;
    }
    for (size_t i = 0; i < at; i++) {
        size_t n = node->text[i] ? width(source, quote, node->text[i]) : 0;

        if (!n)
            return node->mark;
        for (size_t j = 0; j < n; j++)
            mark.column += (source.data[j] & 0xc0) != 0x80;
        source = behind(source, n);
    }
    return mark;
}
