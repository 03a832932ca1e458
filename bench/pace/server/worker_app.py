"""One worker's work: SERVICE_MS of waiting, for every request, wanted or not."""

import os, pathlib, time

BODY = pathlib.Path(os.environ["ANSWER"]).read_bytes()
SERVICE_S = float(os.environ["SERVICE_MS"]) / 1000


def application(environ, start_response):
    time.sleep(SERVICE_S)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))])
    return [BODY]
