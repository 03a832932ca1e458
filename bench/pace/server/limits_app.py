"""Flask-Limiter (PyPI `limits`) with the strategy named by STRATEGY."""

import os, pathlib
import flask, flask_limiter, flask_limiter.util
from access_log import wsgi

BODY = pathlib.Path(os.environ["ANSWER"]).read_text()
app = flask.Flask(__name__)
flask_limiter.Limiter(
    flask_limiter.util.get_remote_address, app=app, strategy=os.environ["STRATEGY"], storage_uri="memory://",
    application_limits=[f"{os.environ['QUOTA']} per {os.environ['WINDOW_S']} second"],
    headers_enabled=os.environ["HEADERS"] == "1",
)


@app.get("/item/<item>")
def item(item):
    return flask.Response(BODY, mimetype="application/json")


application = wsgi(app)
