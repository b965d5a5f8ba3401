/* watch_reload.h - what of a configuration can change while chancery-watch runs. */
#pragma once
#include "watch.h"

/* E_STATE names what differs and cannot: where it listens, reads and keeps, what it compares and hands on. */
st watch_reload_check(struct scope *s, const struct watch_conf *now, const struct watch_conf *next);
