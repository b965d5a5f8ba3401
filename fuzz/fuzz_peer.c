#include "fuzz_peer.h"
#include "fuzz_directory.h"
#include "wire.h"

#define KINDS_MAX 32

static span answer;

static st handle(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)s, (void)peer, (void)body;
	wr_raw(reply, answer);
	return OK;
}

const char *fuzz_peer_socket(const uint16_t *kinds, size_t count)
{
	static char path[64];
	static struct wire_route routes[KINDS_MAX];
	static struct wire_service service = { .routes = routes, .max_connections = 64 };
	struct wire_server *server;
	if (path[0] != 0)
		return path;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	check(count <= KINDS_MAX);
	for (size_t i = 0; i < count; i++)
		routes[i] = (struct wire_route){ .kind = kinds[i], .name = "any", .max_body = WIRE_BODY_MAX, .handle = handle };
	service.route_count = count;
	memcpy(path, fuzz_path("peer"), strlen(fuzz_path("peer")) + 1);
	check(wire_serve(&s, path, (gid_t)-1, &service, &server).code == E_OK);
	return path;
}

void fuzz_peer_answers(span bytes)
{
	answer = bytes;
}
