#include "cli_crl_books.h"
#include "text.h"
#include <stdlib.h>

#define PAGE       1000
#define NUMBER_MAX ((int64_t)1 << 24)
#define LOST_MAX   65536

struct bits {
	uint8_t *octet;
	size_t len;
};

struct book {
	char *ca;
	struct bits stored, logged; /* by number */
	int64_t newest;             /* of the database, when it was read */
	uint64_t count;
};

/* The log has it, and the database had not. */
struct lost {
	size_t book;
	int64_t number;
};

struct cli_crl_books {
	struct book book[CLI_CRL_CAS_MAX];
	size_t books;
	struct lost *lost; /* in the order of the log */
	size_t losts;
	uint64_t restored, removed;
	struct {
		size_t book;
		int64_t number;
	} * twice; /* on record again */
	size_t twices;
};

/* ---- bits ---- */

static bool has(const struct bits *b, int64_t n)
{
	return (size_t)n / 8 < b->len && (b->octet[n / 8] & 1u << n % 8) != 0;
}

static void put(struct bits *b, int64_t n)
{
	size_t need = (size_t)n / 8 + 1;
	if (need > b->len) {
		size_t len = need < 1024 ? 1024 : 2 * need;
		b->octet = heap_grow(b->octet, len);
		memset(b->octet + b->len, 0, len - b->len);
		b->len = len;
	}
	b->octet[n / 8] |= (uint8_t)(1u << n % 8);
}

/* ---- the database ---- */

struct cli_crl_books *cli_crl_books_new(void)
{
	return heap_alloc(sizeof(struct cli_crl_books));
}

void cli_crl_books_free(struct cli_crl_books *b)
{
	for (size_t i = 0; i < b->books; i++) {
		free(b->book[i].ca);
		free(b->book[i].stored.octet);
		free(b->book[i].logged.octet);
	}
	free(b->lost);
	free(b->twice);
	free(b);
}

static st read_page(struct scope *s, struct cli_api *api, struct book *b, uint64_t *after)
{
	AUTO(json_t) *answer = NULL;
	const char *path = scope_printf(s, "/v1/cas/%s/crls?limit=%d&after=%llu", b->ca, PAGE, (unsigned long long)*after);
	TRY(cli_api_call(s, api, "GET", path, NULL, &answer));
	const json_t *one, *rows = json_object_get(answer, "crls"), *next = json_object_get(answer, "next");
	size_t i;
	json_array_foreach(rows, i, one)
	{
		int64_t number = json_integer_value(json_object_get(one, "number"));
		if (number < 0 || number >= NUMBER_MAX)
			return fail(s, E_LIMIT, "CRL %lld of %s: numbers up to %lld are compared", (long long)number, b->ca,
				    (long long)NUMBER_MAX);
		put(&b->stored, number);
		b->newest = number;
		b->count++;
	}
	*after = 0;
	return json_is_string(next) ? decimal_parse(s, span_str(json_string_value(next)), INT64_MAX, after) : OK;
}

/* What is behind number `after`. */
static st read_numbers(struct scope *s, struct cli_api *api, struct book *b, int64_t after)
{
	uint64_t next = (uint64_t)after;
	do {
		AUTO_SCOPE page;
		scope_init(&page, s->source);
		st read = read_page(&page, api, b, &next);
		if (read.code != E_OK)
			return fail(s, read.code, "%s", page.message);
	} while (next != 0);
	return OK;
}

st cli_crl_books_add(struct scope *s, struct cli_api *api, struct cli_crl_books *b, const char *ca)
{
	if (b->books == CLI_CRL_CAS_MAX)
		return fail(s, E_LIMIT, "the ca has more than %d CAs", CLI_CRL_CAS_MAX);
	struct book *book = &b->book[b->books++];
	book->ca = heap_copy_str(ca);
	return read_numbers(s, api, book, 0);
}

/* ---- the log ---- */

static struct book *book_of(struct cli_crl_books *b, span ca)
{
	for (size_t i = 0; i < b->books; i++)
		if (span_is(ca, b->book[i].ca))
			return &b->book[i];
	return NULL;
}

static st see_lost(struct scope *s, struct cli_crl_books *b, size_t book, int64_t number)
{
	if (b->losts == LOST_MAX)
		return fail(s, E_LIMIT, "more than %d CRLs are on record and not in the database, the first is CRL %lld of %s",
			    LOST_MAX, (long long)b->lost[0].number, b->book[b->lost[0].book].ca);
	if (b->losts % 1024 == 0)
		b->lost = heap_grow(b->lost, (b->losts + 1024) * sizeof *b->lost);
	b->lost[b->losts++] = (struct lost){ book, number };
	return OK;
}

static st see_twice(struct scope *s, struct cli_crl_books *b, size_t book, int64_t number)
{
	if (b->twices == LOST_MAX)
		return fail(s, E_LIMIT, "more than %d CRLs are on record twice", LOST_MAX);
	b->twice = heap_grow(b->twice, (b->twices + 1) * sizeof *b->twice);
	b->twice[b->twices].book = book;
	b->twice[b->twices++].number = number;
	return OK;
}

static st see_crl(struct scope *s, struct cli_crl_books *b, const struct audit_envelope *e)
{
	span ca;
	int64_t number;
	TRY(audit_field_text(s, &e->record, "ca", &ca));
	TRY(audit_field_number(s, &e->record, "number", &number));
	struct book *book = book_of(b, ca);
	if (book == NULL)
		return OK;
	size_t at = (size_t)(book - b->book);
	if (number < 0 || number >= NUMBER_MAX)
		return see_lost(s, b, at, number);
	bool again = has(&book->logged, number);
	put(&book->logged, number);
	if (again)
		return see_twice(s, b, at, number);
	return has(&book->stored, number) ? OK : see_lost(s, b, at, number);
}

/* The highest number so far that both have. */
static int64_t common(const struct book *book)
{
	int64_t n = (int64_t)(8 * book->logged.len) - 1;
	while (n >= 0 && !(has(&book->logged, n) && has(&book->stored, n)))
		n--;
	return n;
}

/* The database was put back from a copy, which had none of the newest that the log has until here. A ca enters no CRLs again: new ones take their
 * place. What is missing below one that the copy has is missing all the same. */
static st see_restored(struct cli_crl_books *b, const struct audit_envelope *e)
{
	int64_t newest[CLI_CRL_CAS_MAX];
	size_t kept = 0;
	if (audit_field_of(&e->record, "digest") == NULL) /* of the database; else the log alone */
		return OK;
	for (size_t i = 0; i < b->books; i++)
		newest[i] = common(&b->book[i]);
	for (size_t i = 0; i < b->losts; i++)
		if (b->lost[i].number <= newest[b->lost[i].book])
			b->lost[kept++] = b->lost[i];
	b->restored += b->losts - kept;
	b->losts = kept;
	return OK;
}

st cli_crl_books_see(struct scope *s, struct cli_crl_books *b, const struct audit_envelope *e)
{
	if (e->record.code == AUDIT_CRL_ISSUED)
		return see_crl(s, b, e);
	return e->record.code == AUDIT_BACKUP_RESTORED ? see_restored(b, e) : OK;
}

void cli_crl_books_removed(struct cli_crl_books *b, uint64_t count)
{
	b->removed = count;
}

/* ---- one against the other ---- */

static const char *name_of(struct scope *s, const struct book *book, int64_t number)
{
	return scope_printf(s, "CRL %lld of %s", (long long)number, book->ca);
}

struct finder {
	void (*find)(void *state, const char *about, const char *text);
	void *state;
};

static void find(const struct finder *f, const struct book *book, int64_t number, const char *text)
{
	AUTO_SCOPE s;
	scope_init(&s, NULL);
	f->find(f->state, name_of(&s, book, number), text);
}

/* Records go in the order of their age: above the first that is still there none was let go. */
//= 8.2#LOG-04 what is gone by an operation is no contradiction
static uint64_t count_let_go(const struct book *book, int64_t *out_first)
{
	uint64_t count = 0;
	int64_t n = 0;
	for (; n <= book->newest && !has(&book->logged, n); n++)
		count += has(&book->stored, n);
	*out_first = n;
	return count;
}

static void compare_stored(const struct book *book, int64_t from, const struct cli_outbox *waiting, const struct finder *f)
{
	for (int64_t n = from; n <= book->newest; n++)
		if (has(&book->stored, n) && !has(&book->logged, n) && !cli_outbox_has_crl(waiting, book->ca, n))
			find(f, book, n, "is in the database, and the log does not say that it was issued");
}

static int by_number(const void *a, const void *b)
{
	const struct lost *x = a, *y = b;
	if (x->book != y->book)
		return x->book < y->book ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

st cli_crl_books_compare(struct scope *s, struct cli_api *api, struct cli_crl_books *b, const struct cli_outbox *waiting,
			 void (*find_one)(void *state, const char *about, const char *text), void *state,
			 struct cli_crl_answer *out)
{
	const struct finder f = { find_one, state };
	*out = (struct cli_crl_answer){ .restored = b->restored };
	for (size_t i = 0; i < b->books; i++) {
		struct book *book = &b->book[i];
		int64_t first;
		uint64_t let_go = count_let_go(book, &first);
		bool may_be = let_go <= b->removed - out->let_go;
		out->let_go += may_be ? let_go : 0;
		out->stored += book->count;
		compare_stored(book, may_be ? first : 0, waiting, &f);
		TRY(read_numbers(s, api, book, book->newest)); /* those that came meanwhile */
	}
	if (b->losts > 0)
		qsort(b->lost, b->losts, sizeof *b->lost, by_number);
	for (size_t i = 0; i < b->losts; i++) {
		const struct book *book = &b->book[b->lost[i].book];
		if (b->lost[i].number < 0 || !has(&book->stored, b->lost[i].number))
			find(&f, book, b->lost[i].number, "the log says that it was issued, and the database does not have it");
	}
	for (size_t i = 0; i < b->twices; i++)
		find(&f, &b->book[b->twice[i].book], b->twice[i].number, "its number was given out twice, the log says");
	return OK;
}
