/*
 * Bodies of the ca's HTTP API: any bytes, into a table with every type of member. Texts that are taken end where they end. What JSON
 * reads is answered as JSON that reads as the same.
 */
#include "ca_json.h"
#include "fuzz.h"

struct body {
	const char *word;
	int64_t number, moment;
	bool flag;
	const char *const *names;
};
static const struct ca_member members[] = {
	CA_MEMBER(CA_MEMBER_TEXT, body, word, .required = true),
	CA_MEMBER(CA_MEMBER_INTEGER, body, number),
	CA_MEMBER(CA_MEMBER_TIME, body, moment),
	CA_MEMBER(CA_MEMBER_BOOLEAN, body, flag),
	CA_MEMBER(CA_MEMBER_TEXTS, body, names),
};

static json_t *load(span text)
{
	return json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
}

static void answer(struct scope *s, span text)
{
	struct http_reply reply = { 0 };
	json_t *root = load(text), *again;
	if (root == NULL)
		return;
	check(ca_json_reply(s, &reply, 200, json_incref(root)).code == E_OK);
	again = load(reply.body);
	check(again != NULL && json_equal(root, again));
	json_decref(again);
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	struct body body = { 0 };
	span text = span_of(data, size);
	if (CA_JSON_READ(&s, text, members, &body).code == E_OK) {
		check(body.word != NULL);
		size_t count = 0;
		while (body.names != NULL && body.names[count] != NULL)
			count += strlen(body.names[count]) <= size;
		check(count <= 32);
	} else
		check(s.message[0] != 0);
	scope_clear_error(&s);
	answer(&s, text);
	return 0;
}
