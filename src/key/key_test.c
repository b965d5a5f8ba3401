#include "key_protocol.h"
#include "unit.h"
#include "wire_frame.h"
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct key_info sample(void)
{
	static const uint8_t oid[] = { 0x2a, 3, 4 };
	struct key_info info = { .label = "issuing",
				 .token = "issuing",
				 .purposes = KEY_FOR_CERTIFICATE | KEY_FOR_CRL,
				 .backup = KEY_BACKUP_WRAPPED,
				 .spki = SPAN_LITERAL("spki"),
				 .created = 17,
				 .usable = true,
				 .missing = "LOCAL" };
	info.type = alg_key_named(span_str("ec-p256"));
	info.limits = (struct key_limits){ .issuer = SPAN_LITERAL("name"),
					   .ca = true,
					   .policies = { SPAN_ARRAY(oid) },
					   .policy_count = 1,
					   .validity_days = 365,
					   .rate = 10,
					   .accuracy_ms = 1000,
					   .origin = "log.example/1" };
	return info;
}

static void a_description_of_a_key_survives_writing_and_reading(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF b;
	buf_init(&b, 4096);
	struct wr w = wr_into(&b);
	struct key_info in = sample(), out;
	key_info_write(&w, &in);
	struct rd r = rd_of(buf_span(&b));
	assert_ok(&s, key_info_read(&s, &r, &out));
	assert_ok(&s, rd_end(&s, &r, "test"));
	assert_string_equal(out.label, in.label);
	assert_ptr_equal(out.type, in.type);
	assert_int_equal(out.purposes, in.purposes);
	assert_int_equal(out.backup, KEY_BACKUP_WRAPPED);
	assert_true(span_equal(out.limits.issuer, in.limits.issuer));
	assert_true(out.limits.ca);
	assert_int_equal(out.limits.policy_count, 1);
	assert_true(span_equal(out.limits.policies[0], in.limits.policies[0]));
	assert_int_equal(out.limits.validity_days, 365);
	assert_int_equal(out.limits.accuracy_ms, 1000);
	assert_string_equal(out.limits.origin, in.limits.origin);
	assert_string_equal(out.missing, "LOCAL");
	for (size_t cut = 0; cut < b.len; cut++) {
		r = rd_of(span_first(buf_span(&b), cut));
		assert_int_not_equal(key_info_read(&s, &r, &out).code, E_OK);
		scope_reset(&s);
	}
}

static struct key_entry sample_entry(int64_t usage_ends)
{
	struct key_entry entry = { .info = sample(),
				   .state = KEY_SUSPENDED,
				   .since = 18,
				   .recorded = 5,
				   .offered = 7,
				   .counted_recorded = 100,
				   .counted = 102,
				   .at_least = true,
				   .checks = "n*Q=O",
				   .attributes = "TOKEN=1" };
	entry.info.usage_ends = usage_ends;
	entry.device = (struct key_device){
		.scheme = "FIPS 140-3", .level = "3", .certificate = "4711", .copies = "site B", .expires = 19
	};
	return entry;
}

static void a_row_of_the_inventory_survives_writing_and_reading(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	for (int64_t ends = 0; ends <= 20; ends += 20) {
		AUTO_BUF b;
		buf_init(&b, 4096);
		struct wr w = wr_into(&b);
		struct key_entry in = sample_entry(ends), out;
		key_entry_write(&w, &in);
		struct rd r = rd_of(buf_span(&b));
		assert_ok(&s, key_entry_read(&s, &r, &out));
		assert_int_equal(out.info.usage_ends, ends);
		assert_int_equal(out.state, KEY_SUSPENDED);
		assert_int_equal(out.since, 18);
		assert_int_equal(out.recorded + 10 * out.offered + out.counted_recorded + 10 * out.counted,
				 5 + 70 + 100 + 1020);
		assert_true(out.at_least);
		assert_string_equal(out.checks, "n*Q=O");
		assert_string_equal(out.device.copies, "site B");
		assert_int_equal(out.device.expires, 19);
		for (size_t cut = 0; cut < b.len; cut++) {
			r = rd_of(span_first(buf_span(&b), cut));
			assert_int_not_equal(key_entry_read(&s, &r, &out).code, E_OK);
			scope_reset(&s);
		}
	}
}

static void a_change_without_a_reason_or_to_no_state_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *label, *to, *reason;
		bool good;
	} rows[] = { { "issuing", "suspended", "ceremony 7", true },
		     { "issuing", "suspended", "", false },
		     { "issuing", "asleep", "ceremony 7", false },
		     { "../keys", "suspended", "ceremony 7", false } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		AUTO_BUF b;
		buf_init(&b, 4096);
		struct wr w = wr_into(&b);
		wr_str(&w, rows[i].label);
		wr_str(&w, rows[i].to);
		wr_str(&w, rows[i].reason);
		struct rd r = rd_of(buf_span(&b));
		struct key_change_request out;
		assert_int_equal(key_change_request_read(&s, &r, &out).code, rows[i].good ? E_OK : E_INPUT);
	}
}

static void labels_are_fit_for_file_names(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	static const char *const good[] = { "a", "ocsp-issuing", "TSU_2.x", "0" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_ok(&s, key_label_check(&s, good[i]));
	static const char *const bad[] = { "",         ".",
					   "..",       "-a",
					   "a/b",      "a b",
					   "\xc3\xa4", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_fails(&s, E_INPUT, key_label_check(&s, bad[i]));
}

static void purposes_have_names_both_ways(void **state)
{
	(void)state;
	for (unsigned bit = KEY_FOR_CERTIFICATE; bit <= KEY_FOR_REQUEST; bit <<= 1)
		assert_int_equal(key_purpose_named(span_str(key_purpose_name((enum key_purpose)bit))), bit);
	assert_int_equal(key_purpose_named(span_str("everything")), 0);
}

static void a_request_with_an_unknown_algorithm_is_refused(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF b;
	buf_init(&b, 4096);
	struct wr w = wr_into(&b);
	wr_u16(&w, 1);
	wr_raw(&w, SPAN_LITERAL("0123456789abcdef"));
	wr_str(&w, "issuing");
	wr_str(&w, "rsa-md5");
	wr_u32(&w, KEY_FOR_CERTIFICATE);
	wr_bytes(&w, SPAN_LITERAL("tbs"));
	wr_bytes(&w, (span){ 0 });
	struct rd r = rd_of(buf_span(&b));
	struct key_sign_request *request = scope_new(&s, struct key_sign_request);
	assert_fails(&s, E_CRYPTO, key_sign_request_read(&s, &r, request));
}

static void items_of_one_frame_keep_their_order_and_their_askers(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	AUTO_BUF b;
	buf_init(&b, 4096);
	struct wr w = wr_into(&b);
	struct key_sign_item in[2] = { { SPAN_LITERAL("0123456789abcdef"), "tsu", KEY_FOR_TIME_STAMP, alg_signature_at(0),
					 SPAN_LITERAL("info"), SPAN_LITERAL("attributes") } };
	in[1] = (struct key_sign_item){ SPAN_LITERAL("fedcba9876543210"), "ocsp", KEY_FOR_OCSP, alg_signature_at(1),
					SPAN_LITERAL("answer"),           { 0 } };
	wr_u16(&w, 2);
	key_sign_item_write(&w, &in[0]);
	key_sign_item_write(&w, &in[1]);
	struct rd r = rd_of(buf_span(&b));
	struct key_sign_request *out = scope_new(&s, struct key_sign_request);
	assert_ok(&s, key_sign_request_read(&s, &r, out));
	assert_int_equal(out->count, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_true(span_equal(out->item[i].tx, in[i].tx) && span_equal(out->item[i].content, in[i].content));
		assert_true(span_equal(out->item[i].signed_attributes, in[i].signed_attributes));
		assert_string_equal(out->item[i].label, in[i].label);
		assert_int_equal(out->item[i].purpose, in[i].purpose);
		assert_ptr_equal(out->item[i].algorithm, in[i].algorithm);
	}
	for (size_t cut = 0; cut < b.len; cut++) {
		AUTO_SCOPE aside;
		scope_init(&aside, NULL);
		r = rd_of(span_first(buf_span(&b), cut));
		assert_int_not_equal(key_sign_request_read(&aside, &r, out).code, E_OK);
	}
}

static void a_frame_without_items_or_with_too_many_is_refused(void **state)
{
	(void)state;
	static const uint16_t counts[] = { 0, KEY_ITEMS_MAX + 1 };
	for (size_t i = 0; i < 2; i++) {
		AUTO_SCOPE s;
		scope_init(&s, NULL);
		const uint8_t count[2] = { (uint8_t)(counts[i] >> 8), (uint8_t)counts[i] };
		struct rd r = rd_of(SPAN_ARRAY(count));
		struct key_sign_request *out = scope_new(&s, struct key_sign_request);
		assert_fails(&s, E_INPUT, key_sign_request_read(&s, &r, out));
	}
}

/* A keyd that answers two items well, and adds an octet when it is asked for a third. */
static st answer_two(struct scope *s, struct wire_peer *peer, struct rd *body, struct wr *reply)
{
	(void)peer;
	struct key_sign_request *request = scope_new(s, struct key_sign_request);
	TRY(key_sign_request_read(s, body, request));
	const struct key_sign_outcome good = { E_OK, SPAN_LITERAL("signature") };
	key_sign_outcome_write(reply, &good);
	key_sign_outcome_write(reply, &good);
	if (request->count == 3) {
		key_sign_outcome_write(reply, &good);
		wr_u8(reply, 0);
	}
	return OK;
}

static void an_answer_with_more_in_it_than_was_asked_for_signs_nothing(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char directory[] = "/tmp/chancery-key-XXXXXX";
	assert_non_null(mkdtemp(directory));
	const char *path = scope_printf(&s, "%s/s", directory);
	const struct wire_route route = {
		.kind = KEY_KIND_SIGN, .name = "sign", .max_body = WIRE_BODY_MAX, .handle = answer_two
	};
	const struct wire_service service = { .routes = &route, .route_count = 1, .max_connections = 4 };
	struct wire_server *server;
	assert_ok(&s, wire_serve(&s, path, (gid_t)-1, &service, &server));
	struct key_client *client = key_client_new(path);
	for (size_t count = 2; count <= 3; count++) {
		struct scope each[3];
		struct key_item item[3];
		for (size_t i = 0; i < count; i++) {
			scope_init(&each[i], NULL);
			item[i] = (struct key_item){ .scope = &each[i],
						     .label = "a",
						     .purpose = KEY_FOR_OCSP,
						     .algorithm = alg_signature_at(0),
						     .content = SPAN_LITERAL("x") };
		}
		key_sign_all(client, item, count);
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(item[i].outcome.code == E_OK, count == 2);
			assert_int_equal(item[i].signature.len > 0, count == 2);
			scope_done(&each[i]);
		}
	}
	key_client_free(client);
	wire_server_stop(server, 1000);
	assert_int_equal(rmdir(directory), 0);
}

/* A keyd that answers its first request, takes the second and closes the connection on it, and waits whether it comes again. */
struct breaking_off {
	int listener;
	unsigned requests;
};

static void answer_first(struct breaking_off *b, int fd)
{
	uint8_t request[4096], room[64], head[WIRE_REQUEST_HEAD];
	struct buf body = { .data = room, .room = sizeof room, .cap = sizeof room };
	struct wr w = wr_into(&body);
	const struct key_sign_outcome good = { E_OK, SPAN_LITERAL("signature") };
	key_sign_outcome_write(&w, &good);
	size_t len = wire_frame_head(WIRE_REPLY, KEY_KIND_SIGN, NULL, body.len, head);
	while (recv(fd, request, sizeof request, 0) > 0 && b->requests++ == 0)
		if (send(fd, head, len, MSG_NOSIGNAL) != (ssize_t)len ||
		    send(fd, body.data, body.len, MSG_NOSIGNAL) != (ssize_t)body.len)
			return;
}

static void *break_off(void *argument)
{
	struct breaking_off *b = argument;
	struct pollfd next = { .fd = b->listener, .events = POLLIN };
	while (poll(&next, 1, 300) > 0) {
		AUTO_FD fd = accept(b->listener, NULL, NULL);
		answer_first(b, fd);
	}
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

static void what_keyd_may_have_signed_is_not_asked_for_again(void **state)
{
	(void)state;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	char directory[] = "/tmp/chancery-key-XXXXXX";
	assert_non_null(mkdtemp(directory));
	const char *path = scope_printf(&s, "%s/s", directory);
	struct breaking_off b = { .listener = listen_at(path) };
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, break_off, &b), 0);
	struct key_client *client = key_client_new(path);
	span signature;
	const struct alg_signature *algorithm = alg_signature_at(0);
	assert_ok(&s, key_sign(&s, client, "a", KEY_FOR_CERTIFICATE, algorithm, SPAN_LITERAL("x"), &signature));
	assert_fails(&s, E_UNAVAILABLE,
		     key_sign(&s, client, "a", KEY_FOR_CERTIFICATE, algorithm, SPAN_LITERAL("y"), &signature));
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(b.requests, 2);
	key_client_free(client);
	assert_int_equal(close(b.listener), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_description_of_a_key_survives_writing_and_reading),
		cmocka_unit_test(a_row_of_the_inventory_survives_writing_and_reading),
		cmocka_unit_test(a_change_without_a_reason_or_to_no_state_is_refused),
		cmocka_unit_test(labels_are_fit_for_file_names),
		cmocka_unit_test(purposes_have_names_both_ways),
		cmocka_unit_test(items_of_one_frame_keep_their_order_and_their_askers),
		cmocka_unit_test(a_frame_without_items_or_with_too_many_is_refused),
		cmocka_unit_test(an_answer_with_more_in_it_than_was_asked_for_signs_nothing),
		cmocka_unit_test(a_request_with_an_unknown_algorithm_is_refused),
		cmocka_unit_test(what_keyd_may_have_signed_is_not_asked_for_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
