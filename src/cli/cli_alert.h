/* cli_alert.h - what chancery-watch says is wrong, for `chancery alert` and `chancery status`. */
#pragma once
#include "cli_api.h"

/* {"alerts": [...], "deadlines": [...], ...}; E_NOTFOUND when this installation has no watch, E_UNAVAILABLE when it does not answer. */
st cli_alerts_get(struct scope *s, const struct cli *c, json_t **out);
/* Rows for people, the most severe first; NULL when nothing is open. */
json_t *cli_alert_rows(struct scope *s, const json_t *alerts);
