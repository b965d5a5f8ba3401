/* Runs a fuzz target over every file of the directories given, in builds without libFuzzer. No input at all is a failure. */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL)
		return 0;
	/* An exact allocation, so that the sanitizers see a read past its end. */
	uint8_t *whole = malloc(FILE_MAX);
	size_t size = whole != NULL ? fread(whole, 1, FILE_MAX, file) : 0;
	(void)fclose(file);
	uint8_t *exact = realloc(whole, size > 0 ? size : 1);
	if (exact == NULL)
		return 0;
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 1;
}

static int replay_directory(const char *name)
{
	int count = 0;
	DIR *directory = opendir(name);
	if (directory == NULL) {
		(void)fprintf(stderr, "%s cannot be read\n", name);
		exit(2);
	}
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		char path[4096];
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
		count += replay(path);
	}
	(void)closedir(directory);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;
	for (int i = 1; i < argc; i++)
		count += replay_directory(argv[i]);
	(void)printf("%d inputs\n", count);
	return count > 0 ? 0 : 1;
}
