#include "events/metrics_labels.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t len = strlen(text), end = strlen(with);

    return len >= end && strcmp(text + len - end, with) == 0;
}

enum metrics_lost metrics_lost(const char *reason)
{
    if (!reason)
        return METRICS_LOST_OTHER;
    if (ends(reason, "ring full"))
        return METRICS_LOST_RING;
    if (ends(reason, "out of memory"))
        return METRICS_LOST_MEMORY;
    if (begins(reason, "the kernel's ring buffer"))
        return METRICS_LOST_KERNEL;
    if (begins(reason, "questions to name servers"))
        return METRICS_LOST_QUESTIONS;
    return METRICS_LOST_OTHER;
}

const char *metrics_lost_word(unsigned lost)
{
    static const char *const words[METRICS_LOST_MAX] = {"ring", "kernel", "memory", "questions",
                                                        "other"};

    return words[lost];
}

static const char *const versions[METRICS_VERSION_MAX] = {"TLS1.2", "TLS1.3", "other"};

enum metrics_version metrics_version(const char *version)
{
    for (unsigned i = 0; i < METRICS_VERSION_OTHER; i++)
        if (strcmp(version, versions[i]) == 0)
            return i;
    return METRICS_VERSION_OTHER;
}

const char *metrics_version_word(unsigned version)
{
    return versions[version];
}

/* The first that fits. */
static const struct {
    const char *beginning, *within;
    enum metrics_leg leg;
    enum metrics_failure failure;
} sentences[] = {
    {"the certificate for ", "", METRICS_UPSTREAM, METRICS_FAILURE_CERTIFICATE},
    {"client refused our certificate", "", METRICS_POD, METRICS_FAILURE_CERTIFICATE},
    {"client left ", "saw our certificate", METRICS_POD, METRICS_FAILURE_CERTIFICATE},
    {"the server refused the client certificate", "", METRICS_UPSTREAM,
     METRICS_FAILURE_CERTIFICATE},
    {"connecting to ", "", METRICS_UPSTREAM, METRICS_FAILURE_CONNECT},
    {"connecting upstream took ", "", METRICS_UPSTREAM, METRICS_FAILURE_TIMEOUT},
    {"the upstream's TLS handshake took ", "", METRICS_UPSTREAM, METRICS_FAILURE_TIMEOUT},
    {"the program's TLS handshake took ", "", METRICS_POD, METRICS_FAILURE_TIMEOUT},
    {"the upstream's side", "TLS alert ", METRICS_UPSTREAM, METRICS_FAILURE_ALERT},
    {"the program's side", "TLS alert ", METRICS_POD, METRICS_FAILURE_ALERT},
    {"the program", "", METRICS_POD, METRICS_FAILURE_OTHER},
    {"closed within a request's head", "", METRICS_POD, METRICS_FAILURE_OTHER},
    {"TLS with the program", "", METRICS_POD, METRICS_FAILURE_OTHER},
};

void metrics_failure(const char *error, enum metrics_leg *leg, enum metrics_failure *failure)
{
    *leg = METRICS_UPSTREAM;
    *failure = METRICS_FAILURE_OTHER;
    for (size_t i = 0; i < ARRAY_SIZE(sentences); i++)
        if (begins(error, sentences[i].beginning) && strstr(error, sentences[i].within)) {
            *leg = sentences[i].leg;
            *failure = sentences[i].failure;
            return;
        }
}

const char *metrics_leg_word(unsigned leg)
{
    static const char *const words[METRICS_LEG_MAX] = {"pod", "upstream"};

    return words[leg];
}

bool metrics_is_fault(const char *error)
{
    return begins(error, "the program's HTTP/2: ") || begins(error, "the upstream's HTTP/2: ") ||
           begins(error, "the request was refused: ");
}

/* The first that fits. */
static const struct {
    const char *within;
    enum metrics_fault fault;
} faults[] = {
    {"request line", METRICS_FAULT_MESSAGE},
    {"too many resets", METRICS_FAULT_RESETS},
    {"too many streams", METRICS_FAULT_STREAMS},
    {"too many ", METRICS_FAULT_FLOOD},
    {"header list", METRICS_FAULT_HEADER_LIST},
    {"does not decode", METRICS_FAULT_COMPRESSION},
    {"window", METRICS_FAULT_WINDOW},
    {"authority", METRICS_FAULT_AUTHORITY},
    {"Host", METRICS_FAULT_AUTHORITY},
    {"Content-Length", METRICS_FAULT_LENGTH},
    {"Transfer-Encoding", METRICS_FAULT_LENGTH},
    {"chunk", METRICS_FAULT_LENGTH},
    {"memory", METRICS_FAULT_MEMORY},
    {"field", METRICS_FAULT_FIELD},
    {"preface", METRICS_FAULT_FRAME},
    {"SETTINGS at first", METRICS_FAULT_FRAME},
    {"frame", METRICS_FAULT_FRAME},
    {"message", METRICS_FAULT_MESSAGE},
};

void metrics_fault(const char *error, enum metrics_leg *leg, enum metrics_fault *fault)
{
    *leg = error && begins(error, "the upstream's ") ? METRICS_UPSTREAM : METRICS_POD;
    *fault = METRICS_FAULT_OTHER;
    for (size_t i = 0; error && i < ARRAY_SIZE(faults); i++)
        if (strstr(error, faults[i].within)) {
            *fault = faults[i].fault;
            return;
        }
}

const char *metrics_fault_word(unsigned fault)
{
    static const char *const words[METRICS_FAULT_MAX] = {
        "resets", "flood", "streams", "header_list", "compression", "window", "authority",
        "length", "field", "frame",   "message",     "memory",      "other"};

    return words[fault];
}

static const char *const grpc_statuses[METRICS_GRPC_MAX] = {"OK",
                                                            "CANCELLED",
                                                            "UNKNOWN",
                                                            "INVALID_ARGUMENT",
                                                            "DEADLINE_EXCEEDED",
                                                            "NOT_FOUND",
                                                            "ALREADY_EXISTS",
                                                            "PERMISSION_DENIED",
                                                            "RESOURCE_EXHAUSTED",
                                                            "FAILED_PRECONDITION",
                                                            "ABORTED",
                                                            "OUT_OF_RANGE",
                                                            "UNIMPLEMENTED",
                                                            "INTERNAL",
                                                            "UNAVAILABLE",
                                                            "DATA_LOSS",
                                                            "UNAUTHENTICATED",
                                                            "none"};

unsigned metrics_grpc(const char *status_name)
{
    unsigned i = 0;

    while (i < METRICS_GRPC_MAX - 1 && (!status_name || strcmp(status_name, grpc_statuses[i]) != 0))
        i++;
    return i;
}

const char *metrics_grpc_word(unsigned status)
{
    return grpc_statuses[status];
}

static const char *const refusals[METRICS_REFUSAL_MAX] = {
    "unknown_ca",
    "bad_certificate",
    "certificate_unknown",
    "certificate_expired",
    "certificate_revoked",
    "unsupported_certificate",
    "access_denied",
    "bad_certificate_status_response",
    "handshake_failure",
    "closed",
    "silent",
    "other",
};

unsigned metrics_refusal(const char *word)
{
    unsigned at = 0;

    while (at < METRICS_REFUSAL_MAX - 1 && strcmp(refusals[at], word) != 0)
        at++;
    return at;
}

const char *metrics_refusal_word(unsigned refusal)
{
    return refusals[refusal];
}

const char *metrics_failure_word(unsigned failure)
{
    static const char *const words[METRICS_FAILURE_MAX] = {"certificate", "alert", "timeout",
                                                           "connect", "other"};

    return words[failure];
}

bool metrics_failure_exists(unsigned leg, unsigned failure)
{
    return leg == METRICS_UPSTREAM || failure != METRICS_FAILURE_CONNECT;
}

static const char *const rcodes[METRICS_RCODE_MAX] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
                                                      "NOTIMP",  "REFUSED", "YXDOMAIN", "YXRRSET",
                                                      "NXRRSET", "NOTAUTH", "NOTZONE",  "other"};

unsigned metrics_rcode(const char *rcode)
{
    unsigned i = 0;

    while (i < METRICS_RCODE_MAX - 1 && (!rcode || strcmp(rcode, rcodes[i]) != 0))
        i++;
    return i;
}

const char *metrics_rcode_word(unsigned rcode)
{
    return rcodes[rcode];
}

/* The last one, where it is none of them. */
static unsigned find_word(const char *const *words, unsigned len, const char *word)
{
    unsigned at = 0;

    while (at < len - 1 && (!word || strcmp(words[at], word) != 0))
        at++;
    return at;
}

static const char *const points[METRICS_POINT_MAX] = {
    "connect", "dns", "tls", "certificate", "http", "body", "token", "visibility", "other"};
static const char *const actions[METRICS_ACTION_MAX] = {"reject", "reset", "sigkill", "freeze",
                                                        "none"};
static const char *const modes[METRICS_MODE_MAX] = {"monitor", "enforce"};

unsigned metrics_point(const char *word)
{
    return find_word(points, METRICS_POINT_MAX, word);
}

const char *metrics_point_word(unsigned point)
{
    return points[point];
}

unsigned metrics_action(const char *word)
{
    return find_word(actions, METRICS_ACTION_MAX, word);
}

const char *metrics_action_word(unsigned action)
{
    return actions[action];
}

unsigned metrics_mode(const char *word)
{
    return find_word(modes, METRICS_MODE_MAX, word);
}

const char *metrics_mode_word(unsigned mode)
{
    return modes[mode];
}
