/* watch_log.h - follows the log and keeps the book: reads what is new, puts on record what was opened and closed, saves. One thread. */
#pragma once
#include "watch_book.h"

struct watch_log;
void watch_log_start(struct watch_book *book, struct audit *audit, struct watch_log **out);
void watch_log_stop(struct watch_log *l); /* saves once more */
