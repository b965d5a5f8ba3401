/*
 * Replies of keyd to its clients: a peer on a socket answers whatever is asked with these bytes. The first octet chooses what is asked.
 * Nothing is taken that points outside of the answer, and who asked for signatures has an outcome for each.
 */
#include "fuzz_peer.h"
#include "key_protocol.h"

static const uint16_t kinds[] = { KEY_KIND_STATUS,     KEY_KIND_LIST,         KEY_KIND_FIND,         KEY_KIND_GENERATE,
				  KEY_KIND_SIGN,       KEY_KIND_STREAM_BEGIN, KEY_KIND_STREAM_END,   KEY_KIND_LOG_HEAD,
				  KEY_KIND_CHECKPOINT, KEY_KIND_COSIGN,       KEY_KIND_TOKEN_CREATE, KEY_KIND_ENTRY,
				  KEY_KIND_CHANGE,     KEY_KIND_CHALLENGE,    KEY_KIND_OPEN,         KEY_KIND_EXECUTE,
				  KEY_KIND_STRAYS };

static void ask_descriptions(struct scope *s, struct key_client *c)
{
	struct key_info info, *list;
	size_t count;
	if (key_find(s, c, "a", &info).code == E_OK)
		check(key_generate(s, c, &info, &info).code == E_OK);
	scope_clear_error(s);
	if (key_list(s, c, &list, &count).code == E_OK)
		for (size_t i = 0; i < count; i++)
			check(key_label_check(s, list[i].label).code == E_OK);
}

static void ask_status(struct scope *s, struct key_client *c)
{
	struct key_status status;
	if (key_status(s, c, &status).code == E_OK)
		for (size_t i = 0; i < status.token_count; i++)
			check(strlen(status.tokens[i].label) <= KEY_LABEL_MAX);
}

static void ask_signatures(struct scope *s, struct key_client *c)
{
	struct scope each[3];
	struct key_item item[3];
	const struct alg_signature *algorithm = alg_signature_named(SPAN_LITERAL("ecdsa-sha256"));
	for (size_t i = 0; i < 3; i++) {
		scope_init(&each[i], s->source);
		item[i] = (struct key_item){ .scope = &each[i],
					     .label = "a",
					     .purpose = KEY_FOR_OCSP,
					     .algorithm = algorithm,
					     .content = SPAN_LITERAL("x") };
	}
	key_sign_all(c, item, 3);
	for (size_t i = 0; i < 3; i++) {
		check(item[i].outcome.code == E_OK ? item[i].signature.len > 0 : each[i].message[0] != 0);
		scope_done(&each[i]);
	}
}

static void ask_entries(struct scope *s, struct key_client *c)
{
	struct key_entry entry;
	if (key_entry(s, c, "a", &entry).code == E_OK)
		check(entry.state < KEY_STATE_COUNT && entry.info.type != NULL);
	scope_clear_error(s);
	if (key_change(s, c, "a", KEY_SUSPENDED, "why", &entry).code == E_OK)
		check(entry.state < KEY_STATE_COUNT);
}

static void ask_log(struct scope *s, struct key_client *c)
{
	uint64_t size;
	uint8_t root[32] = { 0 };
	span signature;
	(void)key_log_head(s, c, "a", &size, root).code;
	scope_clear_error(s);
	(void)key_sign_checkpoint(s, c, "a", "log.test/a", 1, root, (span){ 0 }, &signature).code;
	scope_clear_error(s);
	(void)key_cosign_checkpoint(s, c, "a", "copy.test/a", "log.test/a", 1, root, (span){ 0 }, &signature).code;
}

static void ask_operations(struct scope *s, struct key_client *c)
{
	struct key_challenge challenge;
	struct key_opening opening;
	const char *words;
	const span share = SPAN_LITERAL("share");
	(void)key_challenge(s, c, &challenge).code;
	scope_clear_error(s);
	if (key_open_operation(s, c, SPAN_LITERAL("operation"), &opening).code == E_OK)
		check(opening.count <= KEY_SHARES_MAX);
	scope_clear_error(s);
	if (key_execute(s, c, SPAN_LITERAL("operation"), &share, 1, &words).code == E_OK)
		check(strlen(words) <= KEY_OPERATION_MAX);
}

static void ask_strays(struct scope *s, struct key_client *c)
{
	struct key_stray *stray;
	size_t count;
	if (key_strays(s, c, &stray, &count).code != E_OK)
		return;
	check(count <= KEY_STRAYS_MAX);
	for (size_t i = 0; i < count; i++)
		check(strlen(stray[i].token) <= KEY_LABEL_MAX && strlen(stray[i].label) <= KEY_LABEL_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const asks[])(struct scope *, struct key_client *) = { ask_descriptions, ask_status,  ask_signatures,
									     ask_log,          ask_entries, ask_operations,
									     ask_strays };
	static struct key_client *client;
	if (client == NULL)
		client = key_client_new(fuzz_peer_socket(kinds, sizeof kinds / sizeof kinds[0]));
	if (size < 1 || data[0] >= sizeof asks / sizeof asks[0])
		return 0;
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	fuzz_peer_answers(span_of(data + 1, size - 1));
	asks[data[0]](&s, client);
	return 0;
}
