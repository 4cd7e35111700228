"""greet.py under wsgiref.validate.validator, which checks both the application and the server."""

from wsgiref.validate import validator

from greet import application as inner

application = validator(inner)
