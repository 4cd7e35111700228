"""class_iter.py under wsgiref.validate.validator, which checks both the application and the server."""

from wsgiref.validate import validator

from class_iter import application as inner

application = validator(inner)
