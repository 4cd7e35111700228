"""The page of an rwsgi that was installed and not configured yet."""

PAGE = b"""<!doctype html>
<html lang="en"><title>rwsgi works</title>
<h1>rwsgi works</h1>
<p>It serves this page because <code>/etc/rwsgi/app.toml</code> says so: name your own application there, then
<code>systemctl reload rwsgi</code>. See rwsgi.toml(5).</p>
</html>
"""


def application(environ, start_response):
    if environ["PATH_INFO"] != "/":
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "10")])
        return [b"not found\n"]
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))]
    start_response("200 OK", headers)
    return [PAGE]
