/*
 * hsm_keep.c - copies of token files while a PIN is changed. SoftHSM writes the file of a token in place: empties it, and writes it anew,
 * three times for C_SetPIN. Killed in between, it would leave an empty file, and a token whose keys nobody can decrypt any more.
 */
#include "file.h"
#include "hsm_internal.h"
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_FILE "token.object"
#define COPY       "token.object.before" /* SoftHSM looks at names that end with .object */
#define FILE_MAX   (1u << 20)

static st each_token(struct scope *s, const char *directory, st (*take)(struct scope *s, const char *token))
{
	char **name;
	size_t count;
	st listed = file_list(s, directory, &name, &count);
	if (listed.code == E_NOTFOUND) {
		scope_clear_error(s);
		return OK;
	}
	TRY(listed);
	for (size_t i = 0; i < count; i++)
		if (file_exists(scope_printf(s, "%s/%s/" TOKEN_FILE, directory, name[i])))
			TRY(take(s, scope_printf(s, "%s/%s", directory, name[i])));
	return OK;
}

static st keep(struct scope *s, const char *token)
{
	span content;
	TRY(file_read(s, scope_printf(s, "%s/" TOKEN_FILE, token), FILE_MAX, &content));
	return file_replace(s, scope_printf(s, "%s/" COPY, token), content, 0600);
}

/* Copies that were not finished. */
static st remove_halves(struct scope *s, const char *token)
{
	char **name;
	size_t count;
	TRY(file_list(s, token, &name, &count));
	for (size_t i = 0; i < count; i++) {
		const char *path = scope_printf(s, "%s/%s", token, name[i]);
		if (strncmp(name[i], COPY ".", strlen(COPY ".")) == 0 && unlink(path) != 0)
			return fail_errno(s, E_IO, "%s", path);
	}
	return OK;
}

/* What was cut short is shorter than what it was: the attributes in it keep their lengths. */
static st mend(struct scope *s, const char *token)
{
	struct stat now, before;
	const char *file = scope_printf(s, "%s/" TOKEN_FILE, token), *copy = scope_printf(s, "%s/" COPY, token);
	TRY(remove_halves(s, token));
	if (!file_exists(copy))
		return OK;
	if (stat(copy, &before) != 0 || stat(file, &now) != 0)
		return fail_errno(s, E_IO, "%s", copy);
	if (now.st_size >= before.st_size)
		return unlink(copy) == 0 ? OK : fail_errno(s, E_IO, "%s", copy);
	if (rename(copy, file) != 0)
		return fail_errno(s, E_IO, "putting %s back", copy);
	return file_sync_directory_of(s, file);
}

st hsm_keep_tokens(struct scope *s, const struct hsm *h)
{
	return h->sync_directory == NULL ? OK : each_token(s, h->sync_directory, keep);
}

st hsm_mend_tokens(struct scope *s, const char *directory)
{
	return directory == NULL ? OK : each_token(s, directory, mend);
}
