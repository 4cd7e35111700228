"""Gives the logs something to tell, by path: writes, raises, takes its time, and forks in three ways; else answers the id."""

import multiprocessing
import os
import subprocess
import time
import traceback


def say(errors, text):
    errors.write(text + "\n")


def by_fork(errors):
    pid = os.fork()
    if pid == 0:
        say(errors, "said by a fork")
        os._exit(0)
    os.waitpid(pid, 0)


def by_multiprocessing(errors):
    process = multiprocessing.get_context("fork").Process(target=say, args=(errors, "said by a Process"))
    process.start()
    process.join()


def application(environ, start_response):
    errors = environ["wsgi.errors"]
    path = environ["PATH_INFO"]
    if path == "/odd":
        say(errors, 'odd \x1b[31m \x00 \u0085 \udcff é 日本 "quoted" \\ \t\nand a second line')
    elif path == "/printed":
        try:
            raise KeyError("printed")
        except KeyError:
            errors.write(traceback.format_exc())
    elif path == "/raises":
        raise ValueError("raised")
    elif path == "/slow":
        time.sleep(0.3)
    elif path == "/stuck":
        while True:
            time.sleep(0.05)
    elif path == "/fork":
        by_fork(errors)
    elif path == "/multiprocessing":
        by_multiprocessing(errors)
    elif path == "/subprocess":
        subprocess.run(["true"], check=True)
    elif path == "/dies":
        say(errors, "last words")
        os._exit(9)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["rwsgi.request_id"].encode()]
