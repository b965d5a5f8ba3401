/* Between ca_push.c and ca_snapshot.c. */
#pragma once
#include "ca_feed.h"
#include "client.h"

struct ca_va {
	struct ca *ca;
	const char *name, *url;
	pthread_t thread;
	struct client *client; /* the thread's own */
	int64_t noted, noted_at, pruned_at;
	bool led;              /* by this ca, when it was looked at last */
	bool settled;          /* something was sent since the connection was made */
	_Atomic bool forget;   /* a snapshot is due whatever the va says */
	pthread_mutex_t mutex; /* of what follows */
	int64_t number, confirmed_at;
	bool connected;
	char failure[SCOPE_MESSAGE_MAX];
};
st ca_push_batch(struct scope *s, struct ca_va *va, enum ca_feed_kind kind, int64_t first, uint32_t count, span items,
		 int64_t *out);
st ca_push_item(struct scope *s, struct buf *out, enum ca_feed_type type, span body);
st ca_push_crl_file(struct scope *s, struct ca_va *va, const char *authority, const struct ca_crl *crl);
/* Everything, under the number of the last item it includes. */
st ca_push_snapshot(struct scope *s, struct ca_va *va, int64_t *out_number);
/* What was known of the va at the last stop. */
st ca_push_recall(struct scope *s, struct ca_va *va);
