"""A PostgreSQL cluster of the tests' own, by tests/postgres; each database in it is one test's."""
import itertools
import os
import shutil
import subprocess
import tempfile

HELPER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "postgres")


class Cluster:
    def __init__(self, standby_of=None, prepare=lambda directory: None):
        self.parent = tempfile.mkdtemp(prefix="chancery-pg-")
        prepare(self.parent)
        os.chmod(self.parent, 0o755)
        self.directory = os.path.join(self.parent, "p")
        self.sockets = os.path.join(self.directory, "s")
        self.numbers = itertools.count(1)
        try:
            self.do(*(("standby", standby_of.directory) if standby_of else ("make",)))
        except BaseException:
            self.remove()
            raise

    def do(self, verb, *more):
        done = subprocess.run([HELPER, verb, self.directory, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{verb}: {done.stdout}{done.stderr}"

    def tool(self, program, *arguments, **more):
        return subprocess.run([program, "-h", self.sockets, "-U", "chancery", *arguments], check=True, capture_output=True, text=True,
                              timeout=120, **more).stdout

    def sql(self, database, *statements):
        words = [word for statement in statements for word in ("-c", statement)]
        return self.tool("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, *words)

    def new(self):
        name = f"test{next(self.numbers)}"
        self.tool("createdb", name)
        return name

    def address(self, database):
        return f"host={self.sockets} dbname={database} user=chancery"

    def dump(self, database, path):
        self.tool("pg_dump", "-Fc", "-f", path, database)

    def put_back(self, database, path):
        self.tool("dropdb", "--force", database)
        self.tool("createdb", database)
        self.tool("pg_restore", "-d", database, path)

    def remove(self):
        subprocess.run([HELPER, "remove", self.directory], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        shutil.rmtree(self.parent, ignore_errors=True)
