/*
 * Load for a server that closes after each answer, as `openssl ocsp` does (wrk does not get along with it): a connection, a POST
 * with a fresh nonce, the answer to its end, again. usage: post_closing PORT THREADS SECONDS REQUEST-FILE NONCE-OFFSET
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in server = { .sin_family = AF_INET };
static unsigned char request[8192], message[8192];
static size_t request_len, head_len, nonce_at;
static double seconds;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int once(unsigned char *mine)
{
	unsigned char answer[8192];
	size_t have = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (getrandom(mine + head_len + nonce_at, 32, 0) != 32)
		abort();
	int good = connect(fd, (struct sockaddr *)&server, sizeof server) == 0 &&
		   write(fd, mine, head_len + request_len) == (ssize_t)(head_len + request_len);
	for (ssize_t got = 1; good && got > 0 && have<sizeof answer; have += got> 0 ? (size_t)got : 0)
		got = read(fd, answer + have, sizeof answer - have);
	close(fd);
	return good && have > 300 && memcmp(answer + 8, " 200", 4) == 0;
}

static void *run(void *arg)
{
	unsigned char mine[sizeof message];
	memcpy(mine, message, sizeof mine);
	long count = 0;
	for (double end = now() + seconds; now() < end;)
		count += once(mine);
	*(long *)arg = count;
	return NULL;
}

int main(int argc, char **argv)
{
	FILE *file = argc == 6 ? fopen(argv[4], "rb") : NULL;
	if (file == NULL)
		return 2;
	request_len = fread(request, 1, 4096, file);
	fclose(file);
	server.sin_port = htons((unsigned short)atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int threads = atoi(argv[2]);
	seconds = atof(argv[3]);
	nonce_at = (size_t)atoi(argv[5]);
	head_len = (size_t)snprintf(
		(char *)message, sizeof message,
		"POST / HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/ocsp-request\r\nContent-Length: %zu\r\n\r\n",
		request_len);
	memcpy(message + head_len, request, request_len);
	pthread_t thread[64];
	long count[64] = { 0 }, all = 0;
	for (int i = 0; i < threads && i < 64; i++)
		pthread_create(&thread[i], NULL, run, &count[i]);
	for (int i = 0; i < threads && i < 64; i++) {
		pthread_join(thread[i], NULL);
		all += count[i];
	}
	printf("%ld\n", all);
	return 0;
}
