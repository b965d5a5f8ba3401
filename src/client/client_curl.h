/* client_curl.h - what the parts of the client share of libcurl. Private to client. */
#pragma once
#include "scope.h"
#include <curl/curl.h>

/* Once for the process. */
st client_start(struct scope *s);

/* The first option libcurl did not take is what the failure names. */
struct options {
	CURL *curl;
	CURLcode result;
	const char *failed;
};
#define SET(options, name, value)                                                                                              \
	do {                                                                                                                   \
		if ((options)->result == CURLE_OK) {                                                                           \
			(options)->result = curl_easy_setopt((options)->curl, name, value);                                    \
			(options)->failed = #name;                                                                             \
		}                                                                                                              \
	} while (0)
st client_options_end(struct scope *s, const struct options *o);

typedef struct curl_slist header_list;
DEFINE_AUTO(header_list, curl_slist_free_all)
