#include "proxy/keeper/voice.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first warning names the program; the verifier's last word stands before its statistics. */
static struct {
    char first[160];
    char verifier[160];
} said;

static void keep_line(char *to, size_t size, const char *line, size_t len)
{
    snprintf(to, size, "%.*s", (int)len, line);
}

static void keep_verifier_word(const char *log)
{
    const char *end = strstr(log, "\nprocessed ");
    const char *line;

    if (!end)
        return;
    for (line = end; line > log && line[-1] != '\n';)
        line--;
    keep_line(said.verifier, sizeof(said.verifier), line, (size_t)(end - line));
}

__attribute__((format(printf, 2, 0))) static int listen_to_libbpf(enum libbpf_print_level level,
                                                                  const char *format, va_list args)
{
    char *text;
    const char *start;

    if (level != LIBBPF_WARN || vasprintf(&text, format, args) < 0)
        return 0;
    start = strncmp(text, "libbpf: ", 8) == 0 ? text + 8 : text;
    if (!said.first[0])
        keep_line(said.first, sizeof(said.first), start, strcspn(start, "\n"));
    if (!said.verifier[0])
        keep_verifier_word(text);
    free(text);
    return 0;
}

int voice_refused(int code, struct err *err)
{
    const char *hint = code == -EPERM ? "; run as root, outside an unprivileged container" : "";

    return err_set(err, code, "the kernel refused our BPF programs: %s%s%s%s",
                   said.first[0] ? said.first : strerror(-code), said.verifier[0] ? ": " : "",
                   said.verifier, hint);
}

libbpf_print_fn_t voice_listen(void)
{
    return libbpf_set_print(listen_to_libbpf);
}

void voice_leave(libbpf_print_fn_t before)
{
    libbpf_set_print(before);
}

void voice_forget(void)
{
    memset(&said, 0, sizeof(said));
}
