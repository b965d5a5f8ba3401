/* watch_send.h - takes alerts to their outlets: a thread for each, in order, again and again until they are told. */
#pragma once
#include "watch_book.h"

struct watch_send;
/* E_CONFIG for an outlet that is none or more than one of command, url and mail. */
st watch_send_start(struct scope *s, const struct watch_conf *conf, struct watch_book *book, struct watch_send **out);
void watch_send_stop(struct watch_send *w);
/* Sends this text through each outlet now, and says how it went: [{"outlet", "told", "failure"}], in the scope. */
span watch_send_try(struct scope *s, const struct watch_conf *conf, int64_t now);
