/* watch_send.h - takes alerts to their outlets: a thread for each, in order, again and again until they are told. */
#pragma once
#include "watch_book.h"

struct watch_send;
/* E_CONFIG for an outlet that is none or more than one of command, url and mail, or for too many. */
st watch_send_check(struct scope *s, const struct watch_conf *conf);
/* Of a configuration that was checked. */
struct watch_send *watch_send_start(const struct watch_conf *conf, struct watch_book *book);
/* Waits for what is being sent; what is not sent yet is in the book. */
void watch_send_stop(struct watch_send *w);
/* Sends this text through each outlet now, and says how it went: [{"outlet", "told", "failure"}], in the scope. */
span watch_send_try(struct scope *s, const struct watch_conf *conf, int64_t now);
