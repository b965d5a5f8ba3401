/* Planted: tsa reaching for a database. Must not link. */
int db_tx(void *db);
int main(void);

int main(void)
{
	return db_tx(0);
}
