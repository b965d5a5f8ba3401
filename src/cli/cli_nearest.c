/* What somebody who mistyped a word may have meant: one letter off, or two in longer words, a swap counting as one. */
#include "cli_nearest.h"
#include <ctype.h>

#define WORD_MAX 40

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;
	return ab < c ? ab : c;
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Insertions, deletions, changes and swaps of neighbours that make one word the other (optimal string alignment). */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];
	for (size_t i = 0; i <= a_len; i++)
		d[i][0] = (unsigned)i;
	for (size_t k = 0; k <= b_len; k++)
		d[0][k] = (unsigned)k;
	for (size_t i = 1; i <= a_len; i++)
		for (size_t k = 1; k <= b_len; k++) {
			unsigned change = d[i - 1][k - 1] + !same_letter(a[i - 1], b[k - 1]);
			d[i][k] = least(d[i - 1][k] + 1, d[i][k - 1] + 1, change);
			bool swapped = i > 1 && k > 1 && same_letter(a[i - 1], b[k - 2]) && same_letter(a[i - 2], b[k - 1]);
			if (swapped && d[i - 2][k - 2] + 1 < d[i][k])
				d[i][k] = d[i - 2][k - 2] + 1;
		}
	return d[a_len][b_len];
}

void cli_nearest_try(struct cli_nearest *n, const char *candidate)
{
	size_t len = strlen(candidate);
	if (n->word.len == 0 || n->word.len > WORD_MAX || len > WORD_MAX)
		return;
	unsigned apart = distance((const char *)n->word.data, n->word.len, candidate, len);
	size_t shorter = len < n->word.len ? len : n->word.len;
	bool begins = shorter >= 3 && strncmp((const char *)n->word.data, candidate, shorter) == 0;
	unsigned allowed = n->word.len > 5 ? 2 : n->word.len > 2 ? 1 : 0;
	if (begins)
		apart = apart < 1 ? apart : 1;
	if (apart <= allowed && (n->name == NULL || apart < n->apart)) {
		n->name = candidate;
		n->apart = apart;
	}
}

const char *cli_nearest_question(struct scope *s, const struct cli_nearest *n, const char *before)
{
	return n->name == NULL ? "" : scope_printf(s, " (did you mean %s%s?)", before, n->name);
}
