/* How requests for one route are dealt out among the workers that take several together. */
#include "http.h"
#include "moment.h"
#include "unit.h"
#include <arpa/inet.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 4

static sem_t begun, may_end[BATCHES];

/* A batch goes by the number that its first request has as its query. */
static void together(struct http_exchange *const *all, size_t count)
{
	size_t batch = (size_t)(all[0]->request.query.data[0] - '0');
	assert_in_range(batch, 0, BATCHES - 1);
	(void)sem_post(&begun);
	while (sem_wait(&may_end[batch]) != 0)
		;
	for (size_t i = 0; i < count; i++)
		all[i]->reply.body = span_str(scope_printf(all[i]->scope, "%zu together", count));
}

static st permit(struct scope *s, const struct http_request *request, const struct http_route *route)
{
	(void)s, (void)request, (void)route;
	return OK;
}

static const struct http_route route = { .method = HTTP_GET, .path = "/", .handle_all = together };
static const struct http_settings settings = {
	.loops = 1,
	.workers = 1,
	.together = 2,
	.queue = 20,
	.max_connections = 20,
	.max_header = 2000,
	.idle_seconds = 30,
	.spool_directory = "/tmp",
	.routes = &route,
	.route_count = 1,
	.permit = permit,
};

static int ask(const struct http_server *server, unsigned batch)
{
	char text[80];
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	at.sin_port = htons((uint16_t)strtoul(strrchr(http_server_address(server, 0), ':') + 1, NULL, 10));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
	int len = snprintf(text, sizeof text, "GET /?%u HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", batch);
	assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
	return fd;
}

static void expect(int fd, const char *text)
{
	char answer[1000] = { 0 };
	size_t len = 0;
	for (ssize_t got; (got = read(fd, answer + len, sizeof answer - 1 - len)) > 0;)
		len += (size_t)got;
	if (strstr(answer, text) == NULL)
		print_error("no '%s' in: %s\n", text, answer);
	assert_non_null(strstr(answer, text));
	assert_int_equal(close(fd), 0);
}

static void wait_until_begun(void)
{
	const struct timespec until = { .tv_sec = moment_monotonic() / MOMENT_SECOND + 10 };
	assert_int_equal(sem_clockwait(&begun, CLOCK_MONOTONIC, &until), 0);
}

static void end_batch(unsigned batch)
{
	(void)sem_post(&may_end[batch]);
}

/* Two workers: as long as there are not more requests than workers each is taken alone and at once. */
static void take_one_each(const struct http_server *server, int fd[2])
{
	for (unsigned i = 0; i < 2; i++) {
		fd[i] = ask(server, i);
		wait_until_begun();
	}
}

static void requests_are_dealt_out_evenly_and_none_waits_long_for_others(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct http_server *server;
	assert_ok(&s, http_server_new(&s, &settings, &server));
	assert_ok(&s, http_listen(&s, server, "127.0.0.1:0", NULL));
	assert_ok(&s, http_server_start(&s, server));
	int fd[9];
	take_one_each(server, fd);
	for (size_t i = 2; i < 8; i++)
		fd[i] = ask(server, i < 6 ? 2 : 3);
	(void)usleep(200000); /* they wait, since both workers are at work */

	end_batch(0);
	wait_until_begun(); /* of 7 in all, 4 are this worker's share */
	expect(fd[0], "1 together");
	end_batch(1); /* of 6 in all, 3 would be that one's: the 2 that wait are taken all the same after a while */
	wait_until_begun();
	expect(fd[1], "1 together");
	end_batch(3);
	expect(fd[6], "2 together");
	expect(fd[7], "2 together");

	int64_t asked = moment_monotonic();
	fd[8] = ask(server, 3);
	wait_until_begun(); /* for others that might come with it, it waits for 10 ms */
	assert_true(moment_monotonic() - asked >= 10 * MOMENT_SECOND / 1000);
	end_batch(3);
	expect(fd[8], "1 together");

	end_batch(2); /* all the time the other worker had those four */
	for (size_t i = 2; i < 6; i++)
		expect(fd[i], "4 together");
	http_server_stop(server, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_dealt_out_evenly_and_none_waits_long_for_others),
	};
	(void)sem_init(&begun, 0, 0);
	for (size_t i = 0; i < BATCHES; i++)
		(void)sem_init(&may_end[i], 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
