/*
 * A PKCS#11 module in front of another one, which "generates" one RSA key that it was given: for a manufacturer whose generator makes weak
 * keys, as Infineon's did (CVE-2017-15361). It signs with that key properly, and says of its attributes what is hoped for. Built by the test,
 * with the numbers of the key in NUMBERS and the path of the real module in REAL.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <string.h>

#include NUMBERS /* static unsigned char modulus[], private_exponent[], prime_1[], prime_2[], exponent_1[], exponent_2[], coefficient[] */

#define MOST 48

static CK_FUNCTION_LIST real, ours;

static CK_ULONG add(CK_ATTRIBUTE *to, CK_ULONG count, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG len)
{
	to[count] = (CK_ATTRIBUTE){ type, value, len };
	return count + 1;
}

/* What was asked for, but for the sizes, which an object that is created does not take. */
static CK_ULONG begin(CK_ATTRIBUTE *to, CK_OBJECT_CLASS *class, const CK_ATTRIBUTE *asked, CK_ULONG asked_count)
{
	static CK_KEY_TYPE rsa = CKK_RSA;
	CK_ULONG count = add(to, 0, CKA_CLASS, class, sizeof *class);
	count = add(to, count, CKA_KEY_TYPE, &rsa, sizeof rsa);
	for (CK_ULONG i = 0; i < asked_count && count < MOST / 2; i++)
		if (asked[i].type != CKA_MODULUS_BITS && asked[i].type != CKA_PUBLIC_EXPONENT)
			to[count++] = asked[i];
	static unsigned char f4[] = { 1, 0, 1 };
	count = add(to, count, CKA_PUBLIC_EXPONENT, f4, sizeof f4);
	return add(to, count, CKA_MODULUS, modulus, sizeof modulus);
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public, CK_ULONG public_count,
		      CK_ATTRIBUTE *private, CK_ULONG private_count, CK_OBJECT_HANDLE *out_public,
		      CK_OBJECT_HANDLE *out_private)
{
	CK_ATTRIBUTE all[MOST];
	CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
	if (mechanism->mechanism != CKM_RSA_PKCS_KEY_PAIR_GEN)
		return real.C_GenerateKeyPair(session, mechanism, public, public_count, private, private_count, out_public,
					      out_private);
	CK_ULONG count = begin(all, &class, public, public_count);
	CK_RV rv = real.C_CreateObject(session, all, count, out_public);
	if (rv != CKR_OK)
		return rv;
	class = CKO_PRIVATE_KEY;
	count = begin(all, &class, private, private_count);
	count = add(all, count, CKA_PRIVATE_EXPONENT, private_exponent, sizeof private_exponent);
	count = add(all, count, CKA_PRIME_1, prime_1, sizeof prime_1);
	count = add(all, count, CKA_PRIME_2, prime_2, sizeof prime_2);
	count = add(all, count, CKA_EXPONENT_1, exponent_1, sizeof exponent_1);
	count = add(all, count, CKA_EXPONENT_2, exponent_2, sizeof exponent_2);
	count = add(all, count, CKA_COEFFICIENT, coefficient, sizeof coefficient);
	return real.C_CreateObject(session, all, count, out_private);
}

/* Generated here and never outside, it says. */
static CK_RV attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *asked, CK_ULONG count)
{
	CK_RV rv = real.C_GetAttributeValue(session, object, asked, count);
	for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
		if (asked[i].pValue != NULL && (asked[i].type == CKA_ALWAYS_SENSITIVE ||
						asked[i].type == CKA_NEVER_EXTRACTABLE || asked[i].type == CKA_LOCAL))
			*(CK_BBOOL *)asked[i].pValue = CK_TRUE;
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	CK_RV (*get)(CK_FUNCTION_LIST **);
	CK_FUNCTION_LIST *from;
	void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
	void *symbol = library != NULL ? dlsym(library, "C_GetFunctionList") : NULL;
	if (symbol == NULL)
		return CKR_GENERAL_ERROR;
	memcpy(&get, &symbol, sizeof get);
	CK_RV rv = get(&from);
	if (rv != CKR_OK)
		return rv;
	real = *from;
	ours = real;
	ours.C_GenerateKeyPair = generate;
	ours.C_GetAttributeValue = attributes;
	*list = &ours;
	return CKR_OK;
}
