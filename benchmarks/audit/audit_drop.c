/*
 * audit_drop.c - the reference of "what does audit cost": takes auditd's place on its socket, numbers what comes and drops it.
 *
 * audit_drop SOCKET, until it is ended. For benchmarks only: nothing is checked, nothing is kept, no checkpoint is signed.
 */
#include "audit_protocol.h"
#include "log.h"
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_ullong next_index;

static st append(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)peer;
	uint16_t count = rd_u16(body);
	wr_u16(reply, count);
	for (uint16_t i = 0; i < count; i++) {
		wr_u16(reply, E_OK);
		wr_u64(reply, atomic_fetch_add(&next_index, 1));
	}
	wr_u64(reply, atomic_load(&next_index));
	wr_u32(reply, 0);
	return wr_end(s, reply);
}

static st read_none(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)peer;
	(void)body;
	wr_u64(reply, atomic_load(&next_index));
	wr_u32(reply, 0);
	return wr_end(s, reply);
}

static st status(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)peer;
	(void)body;
	wr_u64(reply, atomic_load(&next_index));
	wr_u64(reply, 0);
	wr_i64(reply, 0);
	wr_i64(reply, 0);
	wr_u32(reply, 0);
	return wr_end(s, reply);
}

int main(int argc, char **argv)
{
	static const struct wire_route routes[] = {
		{ .kind = AUDIT_KIND_APPEND, .name = "append", .max_body = WIRE_BODY_MAX, .handle = append },
		{ .kind = AUDIT_KIND_READ, .name = "read", .max_body = 12, .handle = read_none },
		{ .kind = AUDIT_KIND_STATUS, .name = "status", .max_body = 0, .handle = status },
	};
	const struct wire_service service = { .routes = routes,
					      .route_count = sizeof routes / sizeof routes[0],
					      .max_connections = 256 };
	struct wire_server *server;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (argc != 2) {
		fprintf(stderr, "audit_drop SOCKET\n");
		return 2;
	}
	if (wire_serve(&s, argv[1], (gid_t)-1, &service, &server).code != E_OK)
		log_die("%s", s.message);
	for (;;)
		(void)pause();
}
