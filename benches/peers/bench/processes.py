"""Processes that are started and, whatever happens, ended."""

import ctypes
import os
import signal
import socket
import subprocess
import threading

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Processes:
    """Everything that runs for one measurement."""

    def __init__(self, log):
        self.log = log
        self.running = []

    def start(self, command, cpus, env=None, output=None):
        """Starts a process group on these processors, which ends when we do."""
        def prepare():
            os.sched_setaffinity(0, cpus)
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output or log,
                stderr=log,
                env=env and {**os.environ, **env},
                start_new_session=True,
                preexec_fn=prepare,
            )
        self.running.append(process)
        return process

    def start_listener(self, command, cpus):
        """Starts one of our own programs, which prints its port."""
        process = self.start(command, cpus, output=subprocess.PIPE)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[0]} did not start: see {self.log}")
        return process, int(line)

    def end(self):
        """Kills what was started, newest first, with all descendants."""
        for process in reversed(self.running):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.running:
            process.wait()
            if process.stdout:
                process.stdout.close()
        self.running.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
    return found


_given = set()
_giving = threading.Lock()


def free_port():
    """A port that nobody uses, and that was not given before."""
    with _giving:
        while True:
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                port = one.getsockname()[1]
            if port not in _given:
                _given.add(port)
                return port
