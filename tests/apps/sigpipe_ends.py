"""Has SIGPIPE end the process, as scripts do; answers with a large file (`/file`), large blocks (`/blocks`) or the process id."""

import os
import signal
import tempfile

large = tempfile.NamedTemporaryFile()
large.truncate(64 << 20)


def application(environ, start_response):
    # Here and not at the import, after which a worker sets up its signals. With one thread this is the main thread.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    if environ["PATH_INFO"] == "/file":
        return environ["wsgi.file_wrapper"](open(large.name, "rb"), 65536)
    if environ["PATH_INFO"] == "/blocks":
        return (b"x" * 100_000 for _ in range(200))
    return [str(os.getpid()).encode()]
