/*
 * What keyd keeps and is given in files: the first octet chooses description of a key, count of OCSP answers, last tree head, PINs on a
 * descriptor, PIN in a file, state of a key, state of operations, or plan of a key; the rest is the file. What is taken keeps to the limits.
 */
#include "fuzz_directory.h"
#include "keyd_control.h"
#include <sys/mman.h>
#include <unistd.h>

#define LABEL "k"

static struct keyd_conf conf = { .zone = "fuzz" };

static void keyd_init(struct keyd *d)
{
	*d = (struct keyd){ .conf = &conf };
	check(pthread_rwlock_init(&d->registry, NULL) == 0);
}

static void description(struct scope *s, span file)
{
	struct keyd d;
	keyd_init(&d);
	fuzz_forget("ocsp/" LABEL);
	fuzz_forget("life/" LABEL);
	fuzz_forget("planned/" LABEL);
	fuzz_file("keys/" LABEL, file);
	if (keyd_load_keys(s, &d).code == E_OK) {
		check(d.keys != NULL && d.keys->next == NULL && strcmp(d.keys->info.label, LABEL) == 0);
		check(d.keys->info.type != NULL && d.keys->info.spki.len > 0);
		struct key_info shown;
		keyd_describe(&d, d.keys, &shown);
		check(d.keys->checks != NULL && d.keys->attributes != NULL && keyd_life_state(d.keys, 0) == KEY_ACTIVE);
	} else
		check(d.keys == NULL && s->message[0] != 0);
	keyd_free_keys(&d);
	(void)pthread_rwlock_destroy(&d.registry);
}

static void ocsp_count(struct scope *s, span file)
{
	struct keyd d;
	struct keyd_key key = { .info = { .label = LABEL, .purposes = KEY_FOR_OCSP } };
	keyd_init(&d);
	fuzz_file("ocsp/" LABEL, file);
	if (file.len == 0)
		fuzz_forget("ocsp/" LABEL);
	if (keyd_ocsp_load(s, &d, &key).code != E_OK)
		check(key.ocsp.total == 0 && !key.ocsp.gap);
	else if (file.len > 0)
		check(file.len == 51 && key.ocsp.gap == (file.data[2] == 0));
	(void)pthread_rwlock_destroy(&d.registry);
}

static void life(struct scope *s, span file)
{
	struct keyd d;
	struct keyd_key key = { .info = { .label = LABEL, .purposes = KEY_FOR_LOG } };
	keyd_init(&d);
	keyd_life_init(&key.life);
	fuzz_file("life/" LABEL, file);
	if (keyd_life_load(s, &d, &key).code == E_OK) {
		enum key_state state = keyd_life_state(&key, 0);
		check(file.len == 46 && state > KEY_PLANNED && state < KEY_STATE_COUNT);
		check(key.life.recorded == key.life.offered);
	} else
		check(s->message[0] != 0);
	keyd_life_free(&key.life);
	(void)pthread_rwlock_destroy(&d.registry);
}

static void head(struct scope *s, span file)
{
	struct keyd d;
	struct keyd_key key = { .info = { .label = LABEL, .purposes = KEY_FOR_LOG } };
	uint64_t size;
	uint8_t root[32];
	keyd_init(&d);
	check(pthread_mutex_init(&key.ocsp.lock, NULL) == 0);
	d.keys = &key;
	fuzz_file("heads/" LABEL, file);
	if (file.len == 0) /* the first start: there is none */
		fuzz_forget("heads/" LABEL);
	if (keyd_log_head(s, &d, LABEL, &size, root).code == E_OK && file.len > 0)
		check(file.len == 42 && memcmp(root, file.data + 10, 32) == 0);
	(void)pthread_mutex_destroy(&key.ocsp.lock);
	(void)pthread_rwlock_destroy(&d.registry);
}

static st take(struct scope *s, void *state, const char *token, span pin)
{
	TRY(key_label_check(s, token));
	check(pin.len > 0 && pin.len <= 255 && memchr(pin.data, '\n', pin.len) == NULL);
	++*(size_t *)state;
	return OK;
}

static void pins_on_descriptor(struct scope *s, span file)
{
	size_t count = 0;
	const struct keyd_pin_taker taker = { .take = take, .state = &count };
	int fd = memfd_create("pins", 0);
	check(fd >= 0 && write(fd, file.data, file.len) == (ssize_t)file.len && lseek(fd, 0, SEEK_SET) == 0);
	check(keyd_pin_fd_option(s, scope_printf(s, "%d", fd)).code == E_OK);
	if (keyd_read_pins(s, &(struct conf_list){ 0 }, &taker).code != E_OK)
		check(s->message[0] != 0);
	check(2 * count <= file.len);
}

static void pin_in_file(struct scope *s, span file)
{
	static const char *token[] = { LABEL, "none" };
	size_t count = 0;
	const struct keyd_pin_taker taker = { .take = take, .state = &count };
	fuzz_file("pins/" LABEL, file);
	check(keyd_pin_directory_option(s, scope_printf(s, "%s/pins", fuzz_directory())).code == E_OK);
	st status = keyd_read_pins(s, &(struct conf_list){ .item = token, .count = 2 }, &taker);
	check(count == (status.code == E_OK));
	check(keyd_pin_directory_option(s, NULL).code == E_OK);
}

/* Nobody here has the identity key that it must be signed with. */
static void operations(struct scope *s, span file)
{
	struct keyd d;
	struct keyd_control control = { .instance = "keyd/fuzz" };
	struct keyd_control_state state;
	bool found;
	keyd_init(&d);
	d.control = &control;
	fuzz_file("control", file);
	if (file.len == 0)
		fuzz_forget("control");
	check((keyd_control_load(s, &d, &state, &found).code == E_OK) == (file.len == 0));
	(void)pthread_rwlock_destroy(&d.registry);
}

static void plan(struct scope *s, span file)
{
	struct keyd d;
	keyd_init(&d);
	fuzz_file("planned/" LABEL, file);
	if (keyd_load_planned(s, &d).code == E_OK) {
		struct key_entry shown;
		check(d.planned != NULL && d.planned->next == NULL && keyd_find_planned(&d, LABEL) == d.planned);
		keyd_planned_describe(s, &d, d.planned, &shown);
		check(shown.state == KEY_PLANNED && shown.info.type != NULL && strlen(shown.operation) <= KEY_OPERATION_ID);
	} else
		check(d.planned == NULL && s->message[0] != 0);
	keyd_free_planned(&d);
	(void)pthread_rwlock_destroy(&d.registry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const files[])(struct scope *, span) = { description, ocsp_count, head,       pins_on_descriptor,
							       pin_in_file, life,       operations, plan };
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	if (conf.state == NULL) {
		conf.state = fuzz_directory();
		fuzz_make_directory("keys");
		fuzz_make_directory("ocsp");
		fuzz_make_directory("heads");
		fuzz_make_directory("pins");
		fuzz_make_directory("life");
		fuzz_make_directory("planned");
	}
	if (size >= 1 && data[0] < sizeof files / sizeof files[0])
		files[data[0]](&s, span_of(data + 1, size - 1));
	return 0;
}
