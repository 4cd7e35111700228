"""demo_app.py under wsgiref.validate.validator, which checks both the application and the server."""

from wsgiref.validate import validator

from demo_app import application as inner

application = validator(inner)
