"""A person at a terminal: types answers at a pseudo-terminal when what was waited for is shown."""
import os
import pty
import select
import signal
import termios
import time

from installation import within


class Terminal:
    def __init__(self, program, *words, env=None):
        self.shown, self.read_to = "", 0
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(program, [str(program), *map(str, words)], env or dict(os.environ))

    def look(self, seconds=0.1):
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        try:
            part = os.read(self.terminal, 65536) if ready else b""
        except OSError:
            return False
        self.shown += part.decode().replace("\r\n", "\n")
        return not ready or part != b""

    def wait_for(self, text, seconds=60):
        until = time.monotonic() + seconds
        while text not in self.shown[self.read_to:]:
            assert self.look() and time.monotonic() < until, f"'{text}' did not come:\n{self.shown}"
        self.read_to = self.shown.index(text, self.read_to) + len(text)

    def answer(self, prompt, text):
        self.wait_for(prompt)
        within(5, lambda: not self.echoes())
        os.write(self.terminal, text.encode())

    def echoes(self):
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    def end(self, seconds=60):
        """Its exit code, when it comes to its end in time."""
        until = time.monotonic() + seconds
        while self.look():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
