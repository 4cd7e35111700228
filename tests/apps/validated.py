"""Other applications under wsgiref.validate.validator, which checks both sides of the interface.

every() serves all modules of this directory, chosen by the first segment of the path.
"""

from importlib import import_module
from wsgiref.util import shift_path_info
from wsgiref.validate import validator


def validated(module, name="application"):
    application = getattr(import_module(module), name)
    return validator(application() if name == "main" else application)


def every():
    made = {}

    def application(environ, start_response):
        name = shift_path_info(environ)
        if name not in made:
            made[name] = validated(name)
        return made[name](environ, start_response)

    return validator(application)
