#include "file.h"
#include "text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

st file_read(struct scope *s, const char *path, size_t max, span *out)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(s, errno == ENOENT ? E_NOTFOUND : E_IO, "%s", path);
	struct stat about;
	if (fstat(fd, &about) != 0)
		return fail_errno(s, E_IO, "%s", path);
	size_t room = about.st_size > 0 ? (size_t)about.st_size : 4096;
	if (room > max)
		return fail(s, E_LIMIT, "%s has more than %zu bytes", path, max);
	AUTO_BUF all;
	buf_init(&all, max + 1);
	for (;;) {
		if (!buf_reserve(&all, room > 4096 ? room : 4096) && !buf_reserve(&all, 1))
			return fail(s, E_LIMIT, "%s has more than %zu bytes", path, max);
		ssize_t got = read(fd, all.data + all.len, all.room - all.len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(s, E_IO, "%s", path);
		if (got == 0)
			break;
		all.len += (size_t)got;
		room = 4096;
	}
	if (all.len > max)
		return fail(s, E_LIMIT, "%s has more than %zu bytes", path, max);
	*out = scope_copy(s, buf_span(&all));
	return OK;
}

st file_write_all(struct scope *s, int fd, span bytes)
{
	while (bytes.len > 0) {
		ssize_t done = write(fd, bytes.data, bytes.len);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return fail_errno(s, E_IO, "writing");
		bytes = span_from(bytes, (size_t)done);
	}
	return OK;
}

st file_read_at(struct scope *s, int fd, void *out, size_t len, uint64_t at)
{
	for (size_t have = 0; have < len;) {
		ssize_t got = pread(fd, (char *)out + have, len - have, (off_t)(at + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(s, E_IO, "reading");
		if (got == 0)
			return fail(s, E_IO, "reading: the file ends at byte %llu", (unsigned long long)(at + have));
		have += (size_t)got;
	}
	return OK;
}

st file_sync_directory_of(struct scope *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash == NULL   ? scope_printf(s, ".")
			  : slash == path ? scope_printf(s, "/")
					  : scope_cstr(s, span_of(path, (size_t)(slash - path)));
	AUTO_FD fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		return fail_errno(s, E_IO, "syncing directory %s", directory);
	return OK;
}

static st write_beside(struct scope *s, const char *beside, span bytes, unsigned mode)
{
	AUTO_FD fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", beside);
	if (fchmod(fd, mode) != 0)
		return fail_errno(s, E_IO, "%s", beside);
	TRY(fail_context(s, file_write_all(s, fd, bytes), "%s", beside));
	if (fsync(fd) != 0)
		return fail_errno(s, E_IO, "syncing %s", beside);
	return OK;
}

static char *beside_name(struct scope *s, const char *path)
{
	uint8_t tail[6];
	scope_random(s, tail, sizeof tail);
	return scope_printf(s, "%s.%s.new", path, hex_text(s, SPAN_ARRAY(tail)));
}

st file_replace(struct scope *s, const char *path, span bytes, unsigned mode)
{
	char *beside = beside_name(s, path);
	st written = write_beside(s, beside, bytes, mode);
	if (written.code == E_OK && rename(beside, path) != 0)
		written = fail_errno(s, E_IO, "renaming to %s", path);
	if (written.code != E_OK) {
		(void)unlink(beside);
		return written;
	}
	return file_sync_directory_of(s, path);
}

st file_create(struct scope *s, const char *path, span bytes, unsigned mode)
{
	char *beside = beside_name(s, path);
	st written = write_beside(s, beside, bytes, mode);
	if (written.code == E_OK && link(beside, path) != 0)
		written = fail_errno(s, errno == EEXIST ? E_CONFLICT : E_IO, "%s", path);
	(void)unlink(beside);
	TRY(written);
	return file_sync_directory_of(s, path);
}

st file_exchange(struct scope *s, const char *a, const char *b)
{
	if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) != 0)
		return fail_errno(s, errno == ENOENT ? E_NOTFOUND : E_IO, "exchanging %s and %s", a, b);
	return file_sync_directory_of(s, a);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static st read_names(struct scope *s, DIR *listing, char ***out_names, size_t *out_count)
{
	size_t count = 0, room = 64;
	char **names = scope_alloc(s, room * sizeof *names);
	for (struct dirent *entry;;) {
		errno = 0;
		entry = readdir(listing);
		if (entry == NULL && errno != 0)
			return fail_errno(s, E_IO, "reading");
		if (entry == NULL)
			break;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (count == room) {
			char **larger = scope_alloc(s, 2 * room * sizeof *larger);
			memcpy(larger, names, count * sizeof *names);
			names = larger;
			room *= 2;
		}
		names[count++] = scope_printf(s, "%s", entry->d_name);
	}
	qsort(names, count, sizeof *names, by_name);
	*out_names = names;
	*out_count = count;
	return OK;
}

st file_list(struct scope *s, const char *directory, char ***out_names, size_t *out_count)
{
	DIR *listing = opendir(directory);
	if (listing == NULL)
		return fail_errno(s, errno == ENOENT ? E_NOTFOUND : E_IO, "%s", directory);
	st status = fail_context(s, read_names(s, listing, out_names, out_count), "%s", directory);
	(void)closedir(listing);
	return status;
}

st file_make_directory(struct scope *s, const char *path, unsigned mode)
{
	char *part = scope_printf(s, "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(part, mode) != 0 && errno != EEXIST)
			return fail_errno(s, E_IO, "making directory %s", part);
		*slash = '/';
	}
	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return fail_errno(s, E_IO, "making directory %s", path);
	return OK;
}

st file_open_append(struct scope *s, const char *path, unsigned mode, int *out_fd)
{
	bool new = !file_exists(path);
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode);
	if (fd < 0)
		return fail_errno(s, E_IO, "%s", path);
	if (new)
		TRY(file_sync_directory_of(s, path));
	*out_fd = take_fd(&fd);
	return OK;
}

bool file_exists(const char *path)
{
	struct stat about;
	return stat(path, &about) == 0;
}
