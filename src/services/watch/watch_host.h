/*
 * watch_host.h - brings what the systemd journal of a host says about logins, privileges, start, stop, time and failures of hardware into
 * the audit log (EN 319 401 REQ-7.9.1-04): records host.*. A thread of its own; the cursor of the journal is kept in the state directory,
 * and only behind what is on record, under ids made from the cursor: a kill loses nothing and tells nothing twice.
 */
#pragma once
#include "watch.h"

struct watch_host;
/* Nothing, and NULL comes out, when no journal is configured. What cannot be read later is a record host.gap, and tried again. */
void watch_host_start(const struct watch_conf *conf, struct audit *audit, struct watch_host **out);
void watch_host_stop(struct watch_host *h);
