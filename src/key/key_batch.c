/*
 * key_batch.c - time-stamps of threads that ask at the same time travel in one frame, as records do on their way to auditd: a token
 * costs keyd's module tens of microseconds, and a round trip of its own as much again. Who asks alone is not kept waiting.
 */
#include "key_client.h"
#include "key_protocol.h"
#include "log.h"
#include <stdio.h>

/* So many frames under way at once, so that keyd's sessions work side by side; what comes meanwhile waits for the next one. */
#define FRAMES_MAX        4u
#define FRAME_CONTENT_MAX ((size_t)256 << 10)

/* One thread's time-stamp. */
struct key_waiting {
	const char *label;
	const struct alg_signature *algorithm;
	span tx, tst_info, signed_attributes;
	uint8_t *signature; /* room for algorithm->max_signature, in the waiting thread's scope */
	size_t signature_len;
	enum code code;
	char message[SCOPE_MESSAGE_MAX];
	bool done;
	pthread_cond_t wake;
	struct key_waiting *next;
};

void key_batch_init(struct key_batch *b)
{
	if (pthread_mutex_init(&b->lock, NULL) != 0)
		log_die("no lock for time-stamps");
	b->last = &b->first;
}

void key_batch_done(struct key_batch *b)
{
	(void)pthread_mutex_destroy(&b->lock);
}

static bool alike(const struct key_waiting *a, const struct key_waiting *b)
{
	return a->algorithm == b->algorithm && strcmp(a->label, b->label) == 0;
}

/* Takes off the queue what one frame holds: the first, and those behind it for the same key. */
static struct key_waiting *take_frame(struct key_batch *b)
{
	struct key_waiting *frame = b->first, **end = &b->first;
	size_t content = 0;
	for (unsigned count = 0; *end != NULL && count < KEY_TIME_STAMPS_MAX && alike(*end, frame); count++) {
		content += (*end)->tst_info.len + (*end)->signed_attributes.len;
		if (count > 0 && content > FRAME_CONTENT_MAX)
			break;
		end = &(*end)->next;
	}
	b->first = *end;
	if (b->first == NULL)
		b->last = &b->first;
	*end = NULL;
	return frame;
}

static void settle(struct key_waiting *w, enum code code, const char *message, size_t len)
{
	w->code = code;
	(void)snprintf(w->message, sizeof w->message, "%.*s", (int)len, message);
}

static st read_outcomes(struct scope *s, struct key_waiting *frame, span reply)
{
	struct rd r = rd_of(reply);
	for (struct key_waiting *w = frame; w != NULL; w = w->next) {
		struct key_time_stamp_outcome outcome;
		TRY(key_time_stamp_outcome_read(s, &r, &outcome));
		if (outcome.code == E_OK && outcome.value.len > w->algorithm->max_signature)
			return fail(s, E_IO, "keyd's signature is longer than its algorithm makes them");
		settle(w, outcome.code, (const char *)outcome.value.data, outcome.code == E_OK ? 0 : outcome.value.len);
		w->signature_len = outcome.code == E_OK ? outcome.value.len : 0;
		if (outcome.code == E_OK)
			memcpy(w->signature, outcome.value.data, outcome.value.len);
	}
	return rd_end(s, &r, "keyd's answer for time-stamps");
}

static st ask(struct scope *s, struct key_client *c, struct key_waiting *frame)
{
	struct key_time_stamps_request request = { .label = frame->label, .algorithm = frame->algorithm };
	for (struct key_waiting *w = frame; w != NULL; w = w->next) {
		request.item[request.count].tx = w->tx;
		request.item[request.count].tst_info = w->tst_info;
		request.item[request.count++].signed_attributes = w->signed_attributes;
	}
	AUTO_BUF body = { .cap = WIRE_BODY_MAX };
	struct wr w = wr_into(&body);
	key_time_stamps_request_write(&w, &request);
	TRY(wr_end(s, &w));
	span reply;
	TRY(wire_pool_call(s, c->pool, KEY_KIND_SIGN_TIME_STAMPS, buf_span(&body), &reply));
	return read_outcomes(s, frame, reply);
}

/* A frame for the queue's head. Called with the lock, which is given up meanwhile. */
static void lead(struct key_client *c)
{
	struct key_batch *b = &c->batch;
	struct key_waiting *frame = take_frame(b);
	b->under_way++;
	(void)pthread_mutex_unlock(&b->lock);
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	st asked = ask(&s, c, frame);
	if (asked.code != E_OK)
		for (struct key_waiting *w = frame; w != NULL; w = w->next)
			settle(w, asked.code, s.message, sizeof s.message);
	(void)pthread_mutex_lock(&b->lock);
	b->under_way--;
	for (struct key_waiting *w = frame, *next; w != NULL; w = next) {
		next = w->next; /* a done one belongs to its thread again */
		w->done = true;
		(void)pthread_cond_signal(&w->wake);
	}
}

static void wait_for(struct key_client *c, struct key_waiting *w)
{
	struct key_batch *b = &c->batch;
	(void)pthread_mutex_lock(&b->lock);
	*b->last = w;
	b->last = &w->next;
	while (!w->done) {
		if (b->under_way >= FRAMES_MAX || b->first == NULL) {
			(void)pthread_cond_wait(&w->wake, &b->lock);
			continue;
		}
		lead(c);
		if (b->first != NULL)
			(void)pthread_cond_signal(&b->first->wake);
	}
	(void)pthread_mutex_unlock(&b->lock);
}

st key_sign_time_stamp(struct scope *s, struct key_client *c, const char *label, const struct alg_signature *algorithm,
		       span tst_info, span signed_attributes, span *out_signature)
{
	struct key_waiting w = { .label = label,
				 .algorithm = algorithm,
				 .tx = SPAN_ARRAY(s->id),
				 .tst_info = tst_info,
				 .signed_attributes = signed_attributes,
				 .wake = PTHREAD_COND_INITIALIZER };
	w.signature = scope_alloc(s, algorithm->max_signature);
	wait_for(c, &w);
	(void)pthread_cond_destroy(&w.wake);
	if (w.code != E_OK)
		return fail(s, w.code, "%s", w.message);
	*out_signature = span_of(w.signature, w.signature_len);
	return OK;
}
