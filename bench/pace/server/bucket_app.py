"""The token bucket of PyPI's `token-bucket` in a Flask application."""

import math, os, pathlib
import flask, token_bucket
from access_log import wsgi

BODY = pathlib.Path(os.environ["ANSWER"]).read_text()
RATE, BURST = float(os.environ["RATE"]), int(os.environ["BURST"])
limiter = token_bucket.Limiter(RATE, BURST, token_bucket.MemoryStorage())
app = flask.Flask(__name__)


@app.get("/item/<item>")
def item(item):
    if limiter.consume("all"):
        return flask.Response(BODY, mimetype="application/json")
    headers = {"Retry-After": str(math.ceil(1 / RATE))} if os.environ["RETRY_AFTER"] == "1" else {}
    return flask.Response("slow down", 429, headers)


application = wsgi(app)
