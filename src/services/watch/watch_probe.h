/* watch_probe.h - asks what the provider offers, as those who rely on it would, in rounds; one thread. */
#pragma once
#include "watch_book.h"

struct watch_probe;
/* E_CONFIG for a probe without what its kind needs. */
st watch_probe_check(struct scope *s, const struct watch_conf *conf);
/* It asks nothing any more; for the next one to take over. */
void watch_probe_halt(struct watch_probe *p);
/* Of a configuration that was checked. `before`: freed; what it knew of probes of the same label is taken over. NULL: none. */
struct watch_probe *watch_probe_start(const struct watch_conf *conf, struct watch_book *book, struct audit *audit,
				      struct watch_probe *before);
void watch_probe_stop(struct watch_probe *p);
