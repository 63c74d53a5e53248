#include "proxy/command/capture_options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/span.h"
#include "proxy/capture/captures.h"
#include "proxy/command/ca_options.h"

enum { HELPED = 1, MISUSED = 3 };

static const char usage_text[] =
    "Usage: sallyport capture --pod [NAMESPACE/]NAME {--pcap FILE | --keys FILE} [OPTION…]\n"
    "\n"
    "Writes what a pod's programs say inside TLS, or the keys to it, until ^C, the time or the "
    "size\n"
    "is reached, or the pod is removed. An event tells everybody who asked, and when it is over.\n"
    "Nothing in the file is redacted: keep it as you would keep the passwords in it.\n"
    "\n"
    "      --pod [NAMESPACE/]NAME  of this pod\n"
    "      --pcap FILE             decrypted bytes as pcapng, for Wireshark and tcpdump -r\n"
    "      --keys FILE             lines for SSLKEYLOGFILE, of connections that begin from now "
    "on,\n"
    "                              those of the program with us, and ours with the server\n"
    "      --for DURATION          for so long: 30s, 10m, at most 1h (5m)\n"
    "      --max-size SIZE         at most so much: 500k, 20Mi, at most 10G (100M)\n"
    "      --runtime-dir DIR       where the agent is ($RUNTIME_DIRECTORY, else /run/sallyport)\n"
    "  -h, --help                  this text\n"
    "\n"
    "FILE is made, and must not be there before; '-' is stdout, as in '--pcap - | wireshark -k -i "
    "-'.\n"
    "\n"
    "Exit status: 0; 1: it failed, or the agent ended first; 2: wrong options.\n";

bool capture_size_parse(const char *text, uint64_t max, uint64_t *out)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"", 1},      {"k", 1000},     {"M", 1000000}, {"G", 1000000000},
                 {"Ki", 1024}, {"Mi", 1 << 20}, {"Gi", 1 << 30}};
    uint64_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9' && number <= max; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    for (size_t i = 0; at > text && number && i < ARRAY_SIZE(units); i++)
        if (strcmp(at, units[i].name) == 0 && number <= max / units[i].bytes) {
            *out = number * units[i].bytes;
            return true;
        }
    return false;
}

static bool take_pod(struct capture_options *options, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : 0;

    options->pod = slash ? slash + 1 : text;
    return *options->pod &&
           span_to_text(span_of(text, len), options->space, sizeof(options->space));
}

/* As capture_options_parse(). */
PRINTF_LIKE(1, 2) static int complain(const char *sentence, ...)
{
    va_list words;

    fputs("sallyport: ", stderr);
    va_start(words, sentence);
    vfprintf(stderr, sentence, words);
    va_end(words);
    fputs("\n'sallyport capture --help' tells the options.\n", stderr);
    return MISUSED;
}

enum { POD = 256, PCAP, KEYS, FOR, MAX_SIZE, RUNTIME_DIR };

/* As capture_options_parse(). */
static int take(struct capture_options *options, int option)
{
    switch (option) {
    case POD:
        return take_pod(options, optarg) ? 0 : complain("--pod %s: say NAMESPACE/NAME", optarg);
    case PCAP:
    case KEYS:
        if (options->what)
            return complain("%s: one file, of one kind, at a time", optarg);
        options->what = option == PCAP ? "pcap" : "keys";
        options->file = optarg;
        return 0;
    case FOR:
        return ca_duration_parse(optarg, CAPTURE_SECONDS_MAX, &options->seconds) && options->seconds
                   ? 0
                   : complain("--for %s: say a time such as 30s or 10m, at most 1h", optarg);
    case MAX_SIZE:
        return capture_size_parse(optarg, CAPTURE_BYTES_MAX, &options->bytes)
                   ? 0
                   : complain("--max-size %s: say a size such as 500k or 20Mi, at most 10G",
                              optarg);
    case RUNTIME_DIR:
        options->runtime_dir = optarg;
        return 0;
    case 'h':
        fputs(usage_text, stdout);
        return HELPED;
    default: /* getopt has said what is wrong */
        fputs("'sallyport capture --help' tells the options.\n", stderr);
        return MISUSED;
    }
}

int capture_options_parse(struct capture_options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"pod", required_argument, NULL, POD},
        {"pcap", required_argument, NULL, PCAP},
        {"keys", required_argument, NULL, KEYS},
        {"for", required_argument, NULL, FOR},
        {"max-size", required_argument, NULL, MAX_SIZE},
        {"runtime-dir", required_argument, NULL, RUNTIME_DIR},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, result;

    *options = (struct capture_options){.seconds = CAPTURE_SECONDS, .bytes = CAPTURE_BYTES};
    argv[0] = (char *)"sallyport capture"; /* who complains of an option */
    optind = 0;                            /* anew, and from the first one */
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        result = take(options, option);
        if (result)
            return result;
    }
    if (optind < argc)
        return complain("capture takes no '%s'", argv[optind]);
    if (!options->pod)
        return complain("say of which pod: --pod NAMESPACE/NAME");
    return options->what ? 0 : complain("say what: --pcap FILE or --keys FILE");
}
