/*
 * wire_frame.h - frames as bytes, and a stream of them on one socket: what client and server share.
 */
#pragma once
#include "wire.h"

enum wire_direction { WIRE_REQUEST, WIRE_REPLY };

#define WIRE_ID_LEN       16
#define WIRE_REPLY_HEAD   8
#define WIRE_REQUEST_HEAD (WIRE_REPLY_HEAD + WIRE_ID_LEN)

static inline size_t wire_head_len(enum wire_direction direction)
{
	return direction == WIRE_REQUEST ? WIRE_REQUEST_HEAD : WIRE_REPLY_HEAD;
}

struct wire_frame {
	uint16_t kind;
	const uint8_t *id; /* requests: WIRE_ID_LEN octets */
	size_t body_len;
	span body; /* empty until all of it is there */
};

/* Reads the head at the start of `bytes`, which are at least wire_head_len() long, and the body as far as it is there.
 * E_INPUT when length or version cannot be. */
st wire_frame_read(struct scope *s, span bytes, enum wire_direction direction, struct wire_frame *out);
/* Writes a head; returns its length. */
size_t wire_frame_head(enum wire_direction direction, uint16_t kind, const uint8_t *id, size_t body_len,
		       uint8_t out[WIRE_REQUEST_HEAD]);
/* The body of a WIRE_FAILED reply becomes a failure of this scope; E_IO when it is not one. */
st wire_failure_read(struct scope *s, span body);
void wire_failure_write(struct wr *w, enum code code, const char *message);

/* One socket with the bytes read from it that were not used yet. */
struct wire_stream {
	int fd;
	int timeout_ms; /* to complete a frame that has begun, and to send one; <= 0: no limit */
	struct buf in;
	bool ended; /* the other side closed or reset */
	bool begun; /* a part of the frame that is being read was there */
};

void wire_stream_start(struct wire_stream *w, int fd, int timeout_ms);
void wire_stream_end(struct wire_stream *w);
/* Read until at least `need` bytes wait in w->in. E_UNAVAILABLE when the other side ended or the time is over. */
st wire_stream_fill(struct scope *s, struct wire_stream *w, size_t need);
/* The same without waiting: *out_whole says whether they are there. */
st wire_stream_fill_now(struct scope *s, struct wire_stream *w, size_t need, bool *out_whole);
/* Send head and body. E_UNAVAILABLE as above. */
st wire_stream_send(struct scope *s, struct wire_stream *w, span head, span body);
/* Send what the other side takes at once; the rest is appended to `rest`. */
st wire_stream_send_now(struct scope *s, struct wire_stream *w, span head, span body, struct buf *rest);
/* Forget a frame that was dealt with. */
void wire_stream_consume(struct wire_stream *w, size_t len);
