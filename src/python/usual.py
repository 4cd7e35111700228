"""Imports the application and resolves its callable where all is as usual (load.rs).

Every start waits for this. So it imports nothing that Python has not loaded at its own start, and leaves to load.py, which
is made only when it is needed, whatever is not plain: failures, expressions, and signatures that the code does not tell.
"""

import sys

# As it was before the application's folders: what load.py imports is not to come from them.
STANDARD_PATH = list(sys.path)
FUNCTION = type(lambda: None)
CO_VARARGS = 0x04


def set_path(directory, pythonpath):
    """Puts the directory first on sys.path, then the configured paths."""
    wanted = [directory, *pythonpath]
    sys.path[:] = wanted + [entry for entry in sys.path if entry not in wanted]


def is_free(name, target):
    """Whether the application has no module of this name; a folder of other things, without __init__.py, is none."""
    if name in sys.modules or target.split(".")[0] == name:
        return False
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec and find_spec(name, None)
        if spec is not None:
            return spec.origin is None
    return True


def buffer_lines():
    """Makes print() show at once, but a line in one piece: workers share their standard output."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def thoroughly(make):
    """The module load.py."""
    ours, sys.path[:] = sys.path[:], STANDARD_PATH
    try:
        return make()
    finally:
        sys.path[:] = ours


def load(name, expression, make):
    """Returns the WSGI callable that `name:expression` names. `make` makes load.py."""
    try:
        __import__(name)
        module = sys.modules[name]
    except BaseException as error:
        thoroughly(make).import_failed(name, error)
    path = expression.strip().split(".")
    if not all(attribute.isascii() and attribute.isidentifier() for attribute in path):
        return thoroughly(make).resolve(module, name, expression)
    found = module
    for attribute in path:
        try:
            found = getattr(found, attribute)
        except AttributeError:
            return thoroughly(make).resolve(module, name, expression)
    if not surely_accepts_two(found):
        thoroughly(make).check_callable(found, name, ".".join(path))
    return found


def surely_accepts_two(function):
    """Whether this is a function, or has one as its `__call__`, whose code takes two positional arguments."""
    bound = 0
    if type(function) is not FUNCTION:
        bound = 1
        if issubclass(type(function), type):
            return False
        function = next((vars(base)["__call__"] for base in type(function).__mro__ if "__call__" in vars(base)), None)
        if type(function) is not FUNCTION:
            return False
    code = function.__code__
    most = code.co_argcount - bound
    least = most - len(function.__defaults__ or ())
    takes_keywords = code.co_kwonlyargcount > len(function.__kwdefaults__ or ())
    has_two = most >= 2 or code.co_flags & CO_VARARGS
    return bool(least <= 2 and has_two and not takes_keywords)
