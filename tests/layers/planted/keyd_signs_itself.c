/* Planted: links, since libcrypto and the C library are keyd's too; the fence of symbols must name each of the four. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

int db_tx(void);
int main(void);

int db_tx(void)
{
	return 0;
}

int main(void)
{
	EVP_PKEY *key = PEM_read_PrivateKey(stdin, NULL, NULL, NULL);
	size_t len = 0;
	(void)key;
	return EVP_DigestSign(NULL, NULL, &len, NULL, 0) + system("true") + db_tx();
}
