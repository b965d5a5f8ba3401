/*
 * keyd_load.c - signatures through keyd's socket: usage: keyd_load SOCKET LABEL PURPOSE ALGORITHM THREADS SECONDS < content
 * The content is read once and sent again and again; a line with the rate goes to standard output.
 */
#include "key.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct key_client *client;
static const char *label;
static enum key_purpose purpose;
static const struct alg_signature *algorithm;
static uint8_t content[65536];
static size_t content_len;
static volatile bool running = true;

static void *sign_main(void *argument)
{
	unsigned long *count = argument;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	while (running) {
		span signature;
		if (key_sign(&s, client, label, purpose, algorithm, span_of(content, content_len), &signature).code != E_OK) {
			fprintf(stderr, "%s\n", s.message);
			exit(1);
		}
		++*count;
		scope_reset(&s);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 7)
		return 2;
	client = key_client_new(argv[1]);
	label = argv[2];
	purpose = key_purpose_named(span_str(argv[3]));
	algorithm = alg_signature_named(span_str(argv[4]));
	content_len = fread(content, 1, sizeof content, stdin);
	int threads = (int)strtol(argv[5], NULL, 10);
	pthread_t thread[64];
	static unsigned long count[64 * 16];
	if (threads < 1 || threads > 64 || algorithm == NULL)
		return 2;
	int64_t began = moment_monotonic();
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, sign_main, &count[i * 16]) != 0)
			return 1;
	(void)usleep((useconds_t)(atof(argv[6]) * 1e6));
	running = false;
	unsigned long total = 0;
	for (int i = 0; i < threads; i++) {
		(void)pthread_join(thread[i], NULL);
		total += count[i * 16];
	}
	printf("%.0f %lu\n", (double)total * 1e6 / (double)(moment_monotonic() - began), total);
	key_client_free(client);
	return 0;
}
