"""slowapi with its headers switched on: they, Retry-After among them, are on 200 answers too."""

import os, pathlib
import fastapi, slowapi, slowapi.errors, slowapi.util
from access_log import asgi

BODY = pathlib.Path(os.environ["ANSWER"]).read_text()
limiter = slowapi.Limiter(slowapi.util.get_remote_address, headers_enabled=True, strategy="moving-window")
app = fastapi.FastAPI()
app.state.limiter = limiter
app.add_exception_handler(slowapi.errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler)


# One scope for all items: slowapi counts per path otherwise.
@app.get("/item/{item}")
@limiter.shared_limit(f"{os.environ['QUOTA']} per {os.environ['WINDOW_S']} second", scope="all")
async def item(request: fastapi.Request, item: str):
    return fastapi.Response(BODY, media_type="application/json")


application = asgi(app)
