"""The program of an engine process: Sail, until the end of its standard input, which its parent holds open.

Started by its path, with the version of pyspark and the bytes of memory that it may have as its arguments;
importing it would bring all of dqctl's engine.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

_LOOK_EVERY = 0.5  # seconds, in which it grows by 200 MB at most


def _watch(memory: int) -> None:
    """End when this process has taken more than ``memory`` bytes, or the machine would have none for anybody."""
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        size, shared = Path("/proc/self/statm").read_text(encoding="ascii").split()[1:3]
        if (int(size) - int(shared)) * page > memory:
            sys.stderr.write(f"the engine has taken {memory >> 20} MB, which is all that it may have, and ends\n")
            sys.stderr.flush()
            os._exit(1)
        time.sleep(_LOOK_EVERY)


def main() -> None:
    """Say on which port it listens, and serve."""
    # Ctrl-C and a service manager's SIGTERM reach a whole group, but the parent has statements to end. Blocked in
    # all threads to come, since Sail has handlers of its own, which make it stop listening.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    # Where memory runs out, the kernel shall take the process that can be replaced.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    if Path("/proc/self/statm").exists():
        threading.Thread(target=_watch, args=(int(sys.argv[2]),), daemon=True).start()
    # Sail 0.7.2 imports pyspark into its own process to read this one name, half of an engine's start; all else
    # that it would use is for Python functions, which the local workspace does not have.
    pyspark = types.ModuleType("pyspark")
    vars(pyspark)["__version__"] = sys.argv[1]
    sys.modules["pyspark"] = pyspark
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    address = server.listening_address
    if address is None:
        raise OSError("the engine does not listen")
    sys.stdout.write(f"{address[1]}\n")
    sys.stdout.flush()
    os.dup2(2, 1)  # whatever it has to say from now on is for the log
    sys.stdin.buffer.read()
    os._exit(0)  # whatever still runs: nobody is there for its rows


if __name__ == "__main__":
    main()
