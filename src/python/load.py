"""What load.rs leaves over of loading the application: expressions and whatever fails; and the hooks (hooks.rs).

Kept in Python because all that it asks is asked of Python: the import machinery, `ast`, `inspect` and
`traceback`. Every failure is a `LoadFailure`: its kind, one sentence with the remedy, and the traceback of
the application's own error.
"""

import ast
import difflib
import importlib
import inspect
import os
import sys
import traceback
import types

USUAL_NAMES = ("application", "app", "wsgi_app", "wsgi", "api", "create_app", "make_app", "get_wsgi_application")


class LoadFailure(Exception):
    def __init__(self, kind, summary, trace=None):
        super().__init__(summary)
        self.kind = kind
        self.summary = summary
        self.trace = trace


def run_hook(setting, name, path, generation, worker):
    """Calls `name:path`, with a description of the worker if it takes an argument."""
    place = f"{setting} = {name}:{path}"
    try:
        hook = importlib.import_module(name)
        for attribute in path.split("."):
            hook = getattr(hook, attribute)
        arguments = [types.SimpleNamespace(generation=generation, worker=worker, pid=os.getpid())]
        hook(*(arguments if takes(hook, arguments) else []))
    except BaseException as error:
        raise LoadFailure("import", f"{place}: raised {last_line(error)}", trace_of(error)) from None


def takes(function, arguments):
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def import_failed(name, error):
    """Says why importing the application failed."""
    if isinstance(error, ModuleNotFoundError):
        if not own_frames(error) and error.name and (name + ".").startswith(error.name + "."):
            raise LoadFailure("import", missing_module(name, error.name)) from None
        raise LoadFailure("import", missing_dependency(name, error), trace_of(error)) from None
    if isinstance(error, SystemExit):
        summary = f'importing "{name}" called sys.exit({error.code!r}): import must not end the process'
    else:
        summary = f'importing "{name}" raised {last_line(error)}'
    raise LoadFailure("import", summary, trace_of(error)) from None


def missing_module(name, missing):
    summary = f'no module named "{missing}" in {sys.path[0]} (sys.path[0]) or elsewhere on sys.path'
    if name.endswith(".py"):
        dotted = name[: -len(".py")].replace("/", ".").lstrip(".")
        return f"{summary}: the target is a module, not a file: write {dotted}"
    if "/" in name:
        return f'{summary}: the target is a module, not a path: write {name.strip("./").replace("/", ".")}'
    close = difflib.get_close_matches(missing, modules_in(sys.path[0]), n=1)
    if close and "." not in missing:
        return f'{summary}: there is "{close[0]}": write that, or set app.directory to the folder of "{missing}"'
    return f"{summary}: set app.directory to the folder that it is in, or add that to app.pythonpath"


def modules_in(directory):
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    return [entry[: -len(".py")] if entry.endswith(".py") else entry for entry in entries]


def missing_dependency(name, error):
    frames = own_frames(error)
    place = f", which {frames[-1].filename} imports in line {frames[-1].lineno}" if frames else ""
    if sys.prefix != sys.base_prefix:
        remedy = f"install it into the virtualenv {sys.prefix}"
    else:
        remedy = f"install it for {sys.executable}, or set app.virtualenv (no virtualenv is in use)"
    if error.name is None:
        return f'importing "{name}" raised {last_line(error)}'
    return f'importing "{name}" failed: no module named "{error.name}"{place}: {remedy}'


def resolve(module, name, expression):
    path, arguments = parse(expression)
    found = module
    for depth, attribute in enumerate(path):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            holder = ".".join([name, *path[:depth]])
            raise LoadFailure("callable", no_attribute(module, name, holder, attribute, depth)) from None
    written = ".".join(path)
    if arguments is not None:
        return call_factory(found, name, written, *arguments)
    check_callable(found, name, written)
    return found


def check_callable(found, name, written):
    if not callable(found):
        summary = f'{name}:{written} is of type {type(found).__name__}, which is not callable: name a WSGI callable'
        raise LoadFailure("callable", summary)
    check_signature(found, name, written)


def parse(expression):
    """`a.b` -> (["a", "b"], None); `a.b(1, c=2)` -> (["a", "b"], ((1,), {"c": 2}))."""
    refused = LoadFailure(
        "callable",
        f"cannot read the callable {expression!r}: write a name, a.dotted.name, or a factory with literal "
        'arguments such as create_app("production", debug=False)',
    )
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise refused from None
    arguments = None
    if isinstance(node, ast.Call):
        try:
            positional = tuple(ast.literal_eval(argument) for argument in node.args)
            keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        except (ValueError, TypeError):
            raise refused from None
        if None in keywords:
            raise refused
        arguments = (positional, keywords)
        node = node.func
    path = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise refused
    return [node.id, *path], arguments


def no_attribute(module, name, holder, attribute, depth):
    if depth > 0:
        return f'{holder} has no "{attribute}": correct the callable in the target'
    summary = f'module "{name}" has no "{attribute}"'
    names = [other for other in USUAL_NAMES if callable(getattr(module, other, None))]
    if not names:
        public = [other for other in vars(module) if not other.startswith("_")]
        own = [other for other in public if callable(getattr(module, other)) and is_defined_in(module, other)]
        names = difflib.get_close_matches(attribute, own, n=1) or (own if len(own) == 1 else [])
    if not names:
        return f"{summary}, nor another callable that could be meant: name the WSGI callable as {name}:CALLABLE"
    write = names[0]
    if is_factory(getattr(module, write)):
        write += "()"
    return f'{summary}; it has "{names[0]}": write {name}:{write}'


def is_defined_in(module, attribute):
    owner = getattr(getattr(module, attribute), "__module__", None)
    return owner == module.__name__


def call_factory(factory, name, written, positional, keywords):
    if not callable(factory):
        summary = f"{name}:{written} is of type {type(factory).__name__}, which is not callable: write {name}:{written}"
        raise LoadFailure("callable", summary)
    try:
        made = factory(*positional, **keywords)
    except BaseException as error:
        summary = f"the factory {name}:{written}() raised {last_line(error)}"
        raise LoadFailure("import", summary, trace_of(error)) from None
    if not callable(made):
        hint = ': did it forget "return"?' if made is None else ": it must return the WSGI callable"
        summary = f"the factory {name}:{written}() returned {type(made).__name__}, which is not callable{hint}"
        raise LoadFailure("callable", summary)
    check_signature(made, name, written + "()")
    return made


def accepts(function, *arguments):
    """False only when the signature is known and refuses these arguments.

    Wrappers are not followed: a decorator's own signature counts, not that of what it decorates.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except Exception:
        # Unknown to builtins; and looking at annotations may run any code of the application.
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def is_factory(function):
    return not accepts(function, None, None) and accepts(function)


def check_signature(function, name, written):
    if accepts(function, None, None):
        return
    if accepts(function):
        summary = f"{written} takes no (environ, start_response): write {name}:{written}()"
    else:
        signature = inspect.signature(function, follow_wrapped=False)
        names = ", ".join(signature.parameters)
        summary = f"{name}:{written} takes ({names}), not (environ, start_response)"
        if list(signature.parameters)[-3:] == ["scope", "receive", "send"]:
            summary += ": this is an ASGI application; rwsgi serves WSGI"
        else:
            summary += ": name the WSGI callable"
    raise LoadFailure("callable", summary)


def is_ours(filename):
    return (
        filename == __file__
        or filename.startswith("<frozen importlib")
        or filename == importlib.__file__
    )


def own_frames(error):
    """The frames of a traceback that are the application's, outermost first."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not is_ours(frame.filename)]


def trace_of(error):
    """The traceback as text, without the frames of the import machinery and of this file."""
    report = traceback.TracebackException(type(error), error, error.__traceback__)
    seen = []
    pending = [report]
    while pending:
        part = pending.pop()
        if part is None or any(part is other for other in seen):
            continue
        seen.append(part)
        part.stack[:] = [frame for frame in part.stack if not is_ours(frame.filename)]
        pending += [part.__cause__, part.__context__]
    return "".join(report.format()).rstrip("\n")


def last_line(error):
    """`ValueError: why`; for a syntax error with its file and line."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} in {error.filename}, line {error.lineno}: {error.msg}"
    return "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
