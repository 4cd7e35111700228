"""Dies of a signal while it is imported, as a broken C extension does."""

import os
import signal

os.kill(os.getpid(), signal.SIGSEGV)
