#include "certs/rotation.h"

static bool has_next(const struct rotation *rotation, time_t now)
{
    return rotation->next && now <= rotation->next_until;
}

static bool has_current(const struct rotation *rotation, time_t now)
{
    return rotation->current && now <= rotation->current_until;
}

enum rotation_signer rotation_signer(const struct rotation *rotation, time_t now)
{
    if (has_next(rotation, now) && (now >= rotation->next_from || !has_current(rotation, now)))
        return ROTATION_NEXT;
    return has_current(rotation, now) ? ROTATION_CURRENT : ROTATION_NOBODY;
}

time_t rotation_changes_at(const struct rotation *rotation, time_t now)
{
    switch (rotation_signer(rotation, now)) {
    case ROTATION_CURRENT:
        if (has_next(rotation, now) && rotation->next_from <= rotation->current_until)
            return rotation->next_from;
        return rotation->current_until + 1;
    case ROTATION_NEXT:
        return rotation->next_until + 1;
    default:
        return 0;
    }
}

enum rotation_step rotation_step(const struct rotation *rotation, bool at_once, time_t now)
{
    switch (rotation_signer(rotation, now)) {
    case ROTATION_CURRENT:
        if (has_next(rotation, now))
            return at_once ? ROTATION_PROMOTE : ROTATION_REFUSED;
        return at_once ? ROTATION_REPLACE : ROTATION_PUBLISH;
    case ROTATION_NEXT:
        return at_once ? ROTATION_REPLACE : ROTATION_PUBLISH;
    default:
        return ROTATION_REPLACE; /* there is nobody whom pods could still trust */
    }
}

time_t rotation_due_at(const struct rotation *rotation, time_t since, time_t now)
{
    time_t until;

    switch (rotation_signer(rotation, now)) {
    case ROTATION_CURRENT:
        if (has_next(rotation, now))
            return -1;
        until = rotation->current_until;
        break;
    case ROTATION_NEXT:
        until = rotation->next_until;
        break;
    default:
        return 0;
    }
    return until - (until - since) / 3;
}
