/*
 * c_sign.c - how often a token signs: C_SignInit and C_Sign on one P-256 token object, a session for each thread. Plain
 * PKCS#11, none of our code, so that it can stand as reference.
 *
 * usage: c_sign MODULE TOKEN PIN-FD SECONDS ROUNDS THREADS...     (the token is initialised when it is not there)
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LABEL "c_sign"

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_OBJECT_HANDLE key;
static volatile bool running;

static void must(CK_RV rv, const char *what)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "%s: 0x%lx\n", what, (unsigned long)rv);
	exit(1);
}

static double now(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool find_slot(const char *label, bool initialised)
{
	CK_SLOT_ID list[64];
	CK_ULONG count = 64;
	must(p11->C_GetSlotList(CK_TRUE, list, &count), "C_GetSlotList");
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;
		must(p11->C_GetTokenInfo(list[i], &info), "C_GetTokenInfo");
		bool is = (info.flags & CKF_TOKEN_INITIALIZED) != 0;
		if (is == initialised && (!initialised || strncmp((const char *)info.label, label, strlen(label)) == 0)) {
			slot = list[i];
			return true;
		}
	}
	return false;
}

static void make_token(const char *label, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
	CK_UTF8CHAR padded[32];
	CK_SESSION_HANDLE session;
	if (!find_slot(label, false))
		must(CKR_TOKEN_NOT_PRESENT, "no free token");
	memset(padded, ' ', sizeof padded);
	memcpy(padded, label, strlen(label));
	must(p11->C_InitToken(slot, pin, pin_len, padded), "C_InitToken");
	if (!find_slot(label, true))
		must(CKR_TOKEN_NOT_PRESENT, "the new token");
	must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session), "C_OpenSession");
	must(p11->C_Login(session, CKU_SO, pin, pin_len), "C_Login SO");
	must(p11->C_InitPIN(session, pin, pin_len), "C_InitPIN");
	must(p11->C_CloseSession(session), "C_CloseSession");
}

static CK_SESSION_HANDLE open_session(CK_FLAGS more)
{
	CK_SESSION_HANDLE session;
	must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | more, NULL, NULL, &session), "C_OpenSession");
	return session;
}

static void find_or_make_key(CK_SESSION_HANDLE session)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
	char label[] = LABEL;
	CK_ATTRIBUTE wanted[] = { { CKA_CLASS, &class, sizeof class }, { CKA_LABEL, label, strlen(label) } };
	CK_ULONG count = 0;
	must(p11->C_FindObjectsInit(session, wanted, 2), "C_FindObjectsInit");
	must(p11->C_FindObjects(session, &key, 1, &count), "C_FindObjects");
	must(p11->C_FindObjectsFinal(session), "C_FindObjectsFinal");
	if (count == 1)
		return;
	CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, 1 },      { CKA_PRIVATE, &yes, 1 }, { CKA_SENSITIVE, &yes, 1 },
				   { CKA_EXTRACTABLE, &no, 1 }, { CKA_SIGN, &yes, 1 },    { CKA_LABEL, label, strlen(label) } };
	CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, 1 },
				  { CKA_VERIFY, &yes, 1 },
				  { CKA_EC_PARAMS, p256, sizeof p256 },
				  { CKA_LABEL, label, strlen(label) } };
	CK_MECHANISM generate = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	CK_OBJECT_HANDLE ignored;
	must(p11->C_GenerateKeyPair(session, &generate, public, 4, private, 6, &ignored, &key), "C_GenerateKeyPair");
}

static void *sign_main(void *argument)
{
	unsigned long *count = argument;
	CK_SESSION_HANDLE session = open_session(0);
	CK_MECHANISM ecdsa = { CKM_ECDSA, NULL, 0 };
	CK_BYTE digest[32] = { 1 }, signature[64];
	while (running) {
		CK_ULONG len = sizeof signature;
		must(p11->C_SignInit(session, &ecdsa, key), "C_SignInit");
		must(p11->C_Sign(session, digest, sizeof digest, signature, &len), "C_Sign");
		digest[++*count % sizeof digest]++;
	}
	must(p11->C_CloseSession(session), "C_CloseSession");
	return NULL;
}

static double cpu(void)
{
	struct rusage used;
	(void)getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static double rate(int threads, double seconds, double *cpu_us)
{
	pthread_t thread[64];
	unsigned long count[64 * 16] = { 0 }; /* a cache line each */
	running = true;
	double began = now(), used = cpu();
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread[i], NULL, sign_main, &count[i * 16]) != 0)
			exit(1);
	(void)usleep((useconds_t)(seconds * 1e6));
	running = false;
	unsigned long total = 0;
	for (int i = 0; i < threads; i++) {
		(void)pthread_join(thread[i], NULL);
		total += count[i * 16];
	}
	double us = (cpu() - used) * 1e6 / (double)(total > 0 ? total : 1);
	*cpu_us = *cpu_us == 0 || us < *cpu_us ? us : *cpu_us;
	return (double)total / (now() - began);
}

int main(int argc, char **argv)
{
	if (argc < 7) {
		fprintf(stderr, "usage: c_sign MODULE TOKEN PIN-FD SECONDS ROUNDS THREADS...\n");
		return 2;
	}
	CK_UTF8CHAR pin[256];
	ssize_t pin_len = read((int)strtol(argv[3], NULL, 10), pin, sizeof pin);
	void *library = dlopen(argv[1], RTLD_NOW);
	CK_C_GetFunctionList get = NULL;
	if (library != NULL)
		*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (pin_len <= 0 || get == NULL) {
		fprintf(stderr, "no PIN on the descriptor, or no PKCS#11 module at %s\n", argv[1]);
		return 1;
	}
	must(get(&p11), "C_GetFunctionList");
	CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
	must(p11->C_Initialize(&arguments), "C_Initialize");
	if (!find_slot(argv[2], true))
		make_token(argv[2], pin, (CK_ULONG)pin_len);
	CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
	must(p11->C_Login(session, CKU_USER, pin, (CK_ULONG)pin_len), "C_Login");
	find_or_make_key(session);
	for (int i = 6; i < argc; i++) {
		int threads = (int)strtol(argv[i], NULL, 10);
		double best = 0, cpu_us = 0;
		for (int round = 0; round < strtol(argv[5], NULL, 10) && threads > 0 && threads <= 64; round++) {
			double r = rate(threads, atof(argv[4]), &cpu_us);
			best = r > best ? r : best;
		}
		printf("{\"bench\":\"c_sign\",\"key\":\"ec-p256\",\"threads\":%d,\"signatures_per_second\":%.0f,\"cpu_us\":%."
		       "1f}\n",
		       threads, best, cpu_us);
		(void)fflush(stdout);
	}
	must(p11->C_Finalize(NULL), "C_Finalize");
	return 0;
}
