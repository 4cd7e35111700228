"""A site that does what sites do: files, a database, programs, names, sockets. The test puts its release above."""

import json
import os
import socket
import sqlite3
import subprocess
import tempfile


def outcome(action):
    try:
        return action() or "done"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def write(path):
    with open(path, "w") as file:
        file.write("x")


def database():
    with sqlite3.connect(os.path.join(os.environ["STATE_DIRECTORY"], "test.sqlite3")) as connection:
        connection.execute("create table if not exists visits (at real)")
        connection.execute("insert into visits values (1)")


def temporary():
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")


def program():
    subprocess.run(["/bin/echo", "x"], check=True, stdout=subprocess.DEVNULL)


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        socket.create_connection(listener.getsockname()).close()


def doings():
    return {
        "user": outcome(lambda: str(os.getuid())),
        "variables": outcome(lambda: str(sorted({"FDSTORE", "NOTIFY_SOCKET", "LISTEN_FDS"} & set(os.environ)))),
        "state": outcome(lambda: write(os.path.join(os.environ["STATE_DIRECTORY"], "upload"))),
        "logs": outcome(lambda: write(os.path.join(os.environ["LOGS_DIRECTORY"], "site.log"))),
        "database": outcome(database),
        "temporary": outcome(temporary),
        "program": outcome(program),
        "name": outcome(lambda: socket.getaddrinfo("localhost", 80) and None),
        "tcp": outcome(tcp),
        "unix": outcome(lambda: socket.socketpair()[0].close()),
        "processors": outcome(lambda: str(os.cpu_count())),
        "own code": outcome(lambda: write(__file__)),
        "system": outcome(lambda: write("/etc/rwsgi-test")),
        "settings of others": outcome(lambda: open("/etc/shadow").read()),
        "kernel": outcome(lambda: write("/proc/sys/kernel/hostname")),
        "namespace": outcome(lambda: subprocess.run(["/usr/bin/unshare", "-U", "true"], check=True) and None),
    }


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/doings":
        body = json.dumps(doings())
    elif path == "/pid":
        body = str(os.getpid())
    else:
        body = RELEASE  # noqa: F821
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]
