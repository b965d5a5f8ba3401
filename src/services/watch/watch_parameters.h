/* watch_parameters.h - what is watched, with which limits, and where alerts go: each change is on record, before it is in force. */
#pragma once
#include "audit.h"
#include "watch_rule.h"

/* `rules`: as this configuration makes them. */
st watch_parameters_record(struct scope *s, struct audit *audit, const struct watch_conf *conf,
			   const struct watch_rules *rules);
