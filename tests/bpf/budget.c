/* budget: what the verifier has to do for each program, held to budget.tsv. It gives up at a
 * million instructions, and how many it takes differs from kernel to kernel: what grows is to be
 * noticed long before it does not load somewhere.
 *
 *   bpf_budget BUDGET.TSV   compares
 *   bpf_budget --write      prints this kernel's rows; --compiler the line above them: budget.sh
 *
 * A program's row is that of its nearest kernel that is not newer than this one. What another
 * compiler made takes other figures: it is loaded, and not compared, which is a skip. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "proxy/kernel/tracers.h"
#include "proxy/probe/means.h"
#include "route.skel.h"
#include "sallyport.skel.h"

enum {
    PROGRAMS_MAX = 64,
    ROWS_MAX = 256,
    LOG_SIZE = 4096,
    STATISTICS = 4, /* BPF_LOG_STATS */
    SKIPPED = 77,
};

struct figures {
    unsigned long instructions, states;
};

struct program {
    const char *name; /* its object's */
    bool loaded;      /* some kernels lack what the others hang on */
    char log[LOG_SIZE];
    struct figures figures;
};
static struct program programs[PROGRAMS_MAX];
static size_t programs_len;

struct row {
    char program[64];
    unsigned kernel; /* number_of */
    char release[16];
    struct figures figures;
};
static struct row rows[ROWS_MAX];
static size_t rows_len;
static char compiler[32]; /* whose figures the rows are */

static int failed(const char *what, int code)
{
    printf("FAIL: %s: %s\n", what, strerror(-code));
    return 1;
}

static unsigned number_of(const char *release)
{
    unsigned major = 0, minor = 0;

    return sscanf(release, "%u.%u", &major, &minor) == 2 ? major << 16 | minor : 0;
}

/* ---- what it takes ---- */

static int ask_for_logs(struct bpf_object *object)
{
    struct bpf_program *program;

    bpf_object__for_each_program(program, object)
    {
        struct program *own = &programs[programs_len];

        if (programs_len++ == PROGRAMS_MAX)
            return -E2BIG;
        own->name = bpf_program__name(program);
        own->loaded = bpf_program__autoload(program);
        bpf_program__set_log_level(program, STATISTICS);
        bpf_program__set_log_buf(program, own->log, sizeof(own->log));
    }
    return 0;
}

static int read_figures(struct program *program)
{
    const char *said = strstr(program->log, "processed ");
    const char *states = said ? strstr(said, "total_states ") : NULL;

    if (!states || sscanf(said, "processed %lu", &program->figures.instructions) != 1 ||
        sscanf(states, "total_states %lu", &program->figures.states) != 1)
        return -EPROTO;
    return 0;
}

static int load(struct sallyport_bpf *sallyport, struct route_bpf *route)
{
    const struct kernel_means means = means_find();
    int code;

    tracers_choose(route, &means);
    if (means.fentry) { /* of a back-end that none of the kernels has which these figures are of */
        bpf_program__set_autoload(route->progs.note_type, means.ktls);
        bpf_program__set_autoload(route->progs.forget_type, means.ktls);
    }
    bpf_program__set_autoload(sallyport->progs.refuse_family, means.lsm);
    code = ask_for_logs(sallyport->obj);
    if (code == 0)
        code = ask_for_logs(route->obj);
    if (code == 0)
        code = sallyport_bpf__load(sallyport);
    if (code == 0)
        code = route_bpf__load(route);
    for (size_t i = 0; i < programs_len && code == 0; i++)
        code = programs[i].loaded ? read_figures(&programs[i]) : 0;
    return code;
}

/* ---- what it may take ---- */

static int read_rows(const char *path)
{
    FILE *file = fopen(path, "re");
    char line[256];
    int code = file ? 0 : -errno;

    while (code == 0 && fgets(line, sizeof(line), file)) {
        struct row *row = &rows[rows_len];

        if (sscanf(line, "# made by %31[^\n]", compiler) == 1 || *line == '#')
            continue;
        if (rows_len == ROWS_MAX ||
            sscanf(line, "%63s %15s %lu %lu", row->program, row->release,
                   &row->figures.instructions, &row->figures.states) != 4 ||
            !(row->kernel = number_of(row->release)))
            code = -EPROTO;
        rows_len++;
    }
    if (file)
        fclose(file);
    return code;
}

static const struct row *find_row(const char *program, unsigned kernel)
{
    const struct row *best = NULL;

    for (size_t i = 0; i < rows_len; i++)
        if (strcmp(rows[i].program, program) == 0 && rows[i].kernel <= kernel &&
            (!best || rows[i].kernel > best->kernel))
            best = &rows[i];
    return best;
}

static bool exists(const char *name)
{
    for (size_t i = 0; i < programs_len; i++)
        if (strcmp(programs[i].name, name) == 0)
            return true;
    return false;
}

static int compare_one(const struct program *program, const char *what, unsigned long figure,
                       unsigned long budget, const char *release)
{
    if (figure <= budget)
        return 0;
    printf("FAIL: program %s takes the verifier of this kernel (%s) %lu %s, of the %lu in its "
           "budget. Take what it needs out of it, or renew the file by tests/bpf/budget.sh\n",
           program->name, release, figure, what, budget);
    return 1;
}

static int compare(const char *release)
{
    int over = 0;

    if (strcmp(compiler, COMPILER) != 0) {
        printf("SKIP: all programs load, but the budgets are for those made by %s, not by " COMPILER
               "\n",
               compiler);
        return SKIPPED;
    }
    for (size_t i = 0; i < rows_len; i++)
        if (!exists(rows[i].program)) {
            printf("FAIL: there is no program %s any more, which has a budget for kernel %s: renew "
                   "the file by tests/bpf/budget.sh\n",
                   rows[i].program, rows[i].release);
            over++;
        }
    for (size_t i = 0; i < programs_len; i++) {
        const struct program *program = &programs[i];
        const struct row *row = find_row(program->name, number_of(release));

        if (!program->loaded)
            continue;
        if (!row) {
            printf("FAIL: program %s has no budget for kernel %s or one before: renew the file by "
                   "tests/bpf/budget.sh\n",
                   program->name, release);
            over++;
            continue;
        }
        over += compare_one(program, "instructions", program->figures.instructions,
                            row->figures.instructions, release);
        over +=
            compare_one(program, "states", program->figures.states, row->figures.states, release);
    }
    return over ? 1 : 0;
}

/* A quarter more than today, and a little for the small ones. */
static unsigned long budget_for(unsigned long figure)
{
    return figure + figure / 4 + 10;
}

static void write_rows(const char *release)
{
    unsigned number = number_of(release);

    for (size_t i = 0; i < programs_len; i++)
        if (programs[i].loaded)
            printf("%s\t%u.%u\t%lu\t%lu\n", programs[i].name, number >> 16, number & 0xffff,
                   budget_for(programs[i].figures.instructions),
                   budget_for(programs[i].figures.states));
}

static int work(struct sallyport_bpf *sallyport, struct route_bpf *route, const char *path)
{
    struct utsname kernel;
    int code = load(sallyport, route);

    if (code < 0)
        return failed("loading the programs", code);
    if (uname(&kernel) < 0)
        return failed("uname", -errno);
    if (strcmp(path, "--write") == 0) {
        write_rows(kernel.release);
        return 0;
    }
    code = read_rows(path);
    return code < 0 ? failed(path, code) : compare(kernel.release);
}

int main(int argc, char **argv)
{
    struct sallyport_bpf *sallyport = sallyport_bpf__open();
    struct route_bpf *route = route_bpf__open();
    int code = 2;

    if (argc == 2 && strcmp(argv[1], "--compiler") == 0)
        code = printf("# made by " COMPILER "\n") < 0;
    else if (argc != 2)
        fprintf(stderr, "usage: bpf_budget BUDGET.TSV | --write | --compiler\n");
    else if (!sallyport || !route)
        code = failed("opening the objects", -errno);
    else
        code = work(sallyport, route, argv[1]);
    route_bpf__destroy(route);
    sallyport_bpf__destroy(sallyport);
    return code;
}
