/* A pod's resolv.conf and hosts, the first byte saying which: whatever it holds, what was read is
 * written down as it is read again. */
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "base/cleanup.h"
#include "proxy/dns/configured.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(configured_free) struct configured *first = NULL, *second = NULL;
    CLEANUP(text_free) char *servers = NULL, *hosts = NULL, *servers2 = NULL, *hosts2 = NULL;
    size_t split = size ? 1 + data[0] * (size - 1) / 255 : 0;
    const struct configured_host *found;

    first = configured_parse(span_of(data + (size > 0), split ? split - 1 : 0),
                             span_of(data + split, size - split));
    CHECK(first);
    servers = configured_resolv_conf(first);
    hosts = configured_hosts(first);
    CHECK(servers && hosts);
    second = configured_parse(span_of_text(servers), span_of_text(hosts));
    CHECK(second);
    servers2 = configured_resolv_conf(second);
    hosts2 = configured_hosts(second);
    CHECK(strcmp(servers, servers2) == 0 && strcmp(hosts, hosts2) == 0);
    for (size_t i = 0; i < first->hosts_len; i++)
        CHECK(configured_find(first, &first->hosts[i].address, &found) > 0);
    return 0;
}
