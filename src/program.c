/* The main of every program: its module's PROGRAM_MAIN, named by src/meson.build. */
int PROGRAM_MAIN(int argc, char **argv);

int main(int argc, char **argv)
{
	return PROGRAM_MAIN(argc, argv);
}
