/*
 * va_http.h - what HTTP says about when something was made and whether the client has it already (RFC 9110).
 */
#pragma once
#include "http.h"
#include "moment.h"

/* IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT", into `out`; returns `out`. */
char *va_http_date(int64_t moment, char out[32]);
/* False for anything but an IMF-fixdate. */
bool va_http_date_read(span text, int64_t *out);
/* If-None-Match and If-Modified-Since against what we have: true when the client has it, so that 304 is the answer. `etag` with quotes. */
bool va_http_unchanged(const struct http_request *request, const char *etag, int64_t last_modified);
