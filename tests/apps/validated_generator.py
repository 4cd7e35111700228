"""generator.py under wsgiref.validate.validator, which checks both the application and the server."""

from wsgiref.validate import validator

from generator import application as inner

application = validator(inner)
