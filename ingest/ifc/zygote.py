"""A process that has loaded the IFC parser and kernels and waits; each file gets a copy of it by fork.

Loading them takes a third of a second, opening a small file some milliseconds: a fork starts with everything loaded.
It never opens a file of a user, so no file can harm it. Started by `start`; messages:

    ("open", path) and one file descriptor -> a child serves that file on it (`ingest.ifc.worker`)
    ("fate", pid, wait)                    -> how that child ended, as `os.waitpid` tells
    silence for IDLE_S, or the other end hangs up -> it ends
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any

IDLE_S = 120.0

_START = """
import sys, types
package = types.ModuleType("ingest")
package.__path__ = [sys.argv[2]]
sys.modules["ingest"] = package
from ingest.ifc import zygote
zygote.main()
"""
"""Without the package's own `__init__`: it loads libraries of other formats, whose threads make a fork unsafe."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Wait for files until nobody asks any more."""
    connection = Connection(int(sys.argv[1]))
    # the kernels write debug text to standard output and error; only Python's own tracebacks are let through
    sys.stderr = os.fdopen(os.dup(2), "w")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    from ingest.ifc import kernels as ifc_kernels
    from ingest.ifc import worker as ifc_worker

    ifc_kernels.warm()
    children: set[int] = set()
    while connection.poll(IDLE_S) or any(map(_runs, children)):
        if not connection.poll(0):
            continue
        try:
            request = connection.recv()
        except EOFError:
            return
        if request[0] == "fate":
            connection.send(fate(*request[1:]))
        else:
            path = request[1]
            children = {each for each in children if _runs(each)}
            children.add(child := adopt(connection, partial(ifc_worker.serve, path=path)))
            connection.send(child)


def adopt(connection: Connection, work: Callable[[Connection], None]) -> int:
    """Take a descriptor from the connection and let a forked child work on it; returns the child's process id."""
    descriptor = recv_handle(connection)
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(descriptor)
        return child
    code = 1
    try:
        _end_with_parent(parent)
        connection.close()
        work(Connection(descriptor))
        code = 0
    except (BrokenPipeError, EOFError, ConnectionResetError):
        code = 0  # nobody listens any more
    except BaseException as error:  # noqa: BLE001  the copy ends here, whatever it was
        sys.stderr.write(f"IFC worker: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(code)


def _runs(child: int) -> bool:
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _end_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def fate(child: int, wait: bool) -> int | None:
    """Exit code of a child, negative for a signal; None when it still runs or is not ours."""
    try:
        ended, status = os.waitpid(child, 0 if wait else os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None


def start(environment: dict[str, str]) -> tuple[Any, Connection]:
    """Start the waiting process; returns it and the connection to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(theirs.fileno()), str(Path(__file__).resolve().parents[1])],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    return process, Connection(ours.detach())
