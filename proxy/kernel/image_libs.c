#include "proxy/kernel/image_libs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

enum { PIECE = 65536, PIECES_MAX = 64 };

/* What never lets OpenSSL have the socket, by which it would turn kTLS on. */
static const struct {
    const char *file, *why;
} own_bios[] = {
    {"libcurl.so", "libcurl has a BIO of its own"},
    {"mod_ssl.so", "Apache's mod_ssl has a BIO of its own"},
};

/* The last component of a line's path: "libssl.so.3". */
static struct span name_of(struct span line)
{
    const uint8_t *slash = line.len ? memrchr(line.data, '/', line.len) : NULL;

    if (!slash)
        return span_of(NULL, 0);
    return span_of(slash + 1, (size_t)(line.data + line.len - slash) - 1);
}

static bool begins(struct span name, const char *with)
{
    return name.len >= strlen(with) && memcmp(name.data, with, strlen(with)) == 0;
}

void image_libs_read(struct span maps, struct program_facts *facts)
{
    while (maps.len) {
        const uint8_t *end = memchr(maps.data, '\n', maps.len);
        size_t len = end ? (size_t)(end - maps.data) : maps.len;
        struct span name = name_of(span_of(maps.data, len));

        if (begins(name, "libssl.so"))
            facts->openssl = PROGRAM_YES;
        for (size_t i = 0; i < ARRAY_SIZE(own_bios); i++)
            if (begins(name, own_bios[i].file))
                facts->own_bio = own_bios[i].why;
        maps = span_of(maps.data + len + (end != NULL), maps.len - len - (end != NULL));
    }
}

void image_libs_look(uint32_t pid, struct program_facts *facts)
{
    CLEANUP(text_free) char *piece = malloc(PIECE);
    size_t held = 0;
    char path[32];

    snprintf(path, sizeof(path), "/proc/%u/maps", pid);
    CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || !piece)
        return;
    for (int i = 0; i < PIECES_MAX; i++) {
        ssize_t n = read(fd, piece + held, PIECE - held);
        const char *last;
        size_t whole;

        if (n < 0)
            return;
        if (n == 0) {
            if (facts->openssl == PROGRAM_UNKNOWN)
                facts->openssl = PROGRAM_NO;
            return;
        }
        held += (size_t)n;
        last = memrchr(piece, '\n', held);
        whole =
            last ? (size_t)(last + 1 - piece) : held; /* a line longer than that: no library's */
        image_libs_read(span_of(piece, whole), facts);
        held -= whole;
        memmove(piece, piece + whole, held);
    }
}
