/* etc/founding: the step that is under way and the options with which the founding began, so that it goes on by itself. */
#include "cli_init.h"
#include "file.h"
#include <stdio.h>
#include <unistd.h>

#define STATE_MAX 16384

static char *marker(struct scope *s, const struct cli *c)
{
	return cli_path(s, c, "etc/founding");
}

bool cli_init_begun(struct scope *s, const struct cli *c)
{
	return file_exists(marker(s, c));
}

st cli_init_mark(struct scope *s, const struct cli *c, const struct cli_init *want, const char *step)
{
	AUTO_BUF out;
	buf_init(&out, STATE_MAX);
	bool fits = buf_append(&out, span_str(scope_printf(s, "step: %s\n", step)));
	for (size_t i = 0; i < c->given_count; i++)
		fits = fits && buf_append(&out, span_str(scope_printf(s, "option: %s %s\n", c->given[i].option->name,
								      c->given[i].value)));
	if (!fits || !buf_append(&out, span_str(want->tokens)))
		return fail(s, E_LIMIT, "the options are too long");
	return file_replace(s, marker(s, c), buf_span(&out), 0644);
}

st cli_init_unmark(struct scope *s, const struct cli *c)
{
	if (unlink(marker(s, c)) != 0)
		return fail_errno(s, E_IO, "%s", marker(s, c));
	return file_sync_directory_of(s, marker(s, c));
}

static st take_option(struct scope *s, struct cli *c, const char *line)
{
	const char *space = strchr(line, ' ');
	if (space == NULL)
		return fail(s, E_INPUT, "%s has a line that is no option: %s", marker(s, c), line);
	for (size_t i = 0; i < c->command->option_count; i++) {
		const struct cli_option *option = &c->command->options[i];
		if (strlen(option->name) != (size_t)(space - line) || strncmp(option->name, line, strlen(option->name)) != 0)
			continue;
		if (c->given_count == CLI_VALUES_MAX)
			return fail(s, E_LIMIT, "too many options");
		if (cli_get(c, option->name) == NULL) {
			c->given[c->given_count].option = option;
			c->given[c->given_count++].value = space + 1;
		}
		return OK;
	}
	return fail(s, E_INPUT, "%s names an option that there is not: %s", marker(s, c), line);
}

st cli_init_resume(struct scope *s, struct cli *c, const char **out_step, const char **out_tokens)
{
	span file;
	*out_step = NULL;
	*out_tokens = "";
	if (!cli_init_begun(s, c))
		return fail(s, E_STATE, "no founding is under way in %s: --continue goes on with one that was interrupted",
			    c->home);
	TRY(file_read(s, marker(s, c), STATE_MAX, &file));
	char *rest = scope_cstr(s, file);
	for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
		if (strncmp(line, "step: ", 6) == 0)
			*out_step = line + 6;
		if (strncmp(line, "token: ", 7) == 0)
			*out_tokens = scope_printf(s, "%s%s\n", *out_tokens, line);
		if (strncmp(line, "option: ", 8) == 0)
			TRY(take_option(s, c, line + 8));
	}
	return *out_step != NULL ? OK : fail(s, E_INPUT, "%s names no step", marker(s, c));
}
