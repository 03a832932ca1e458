"""One line per answer on stdout: seconds, path, status, service time. For WSGI and for ASGI."""

import sys, time


def write(started, path, status):
    service = time.perf_counter() - started
    sys.stdout.write(f"{time.time():.3f}\t{path}\t{status}\t{service:.4f}\n")
    sys.stdout.flush()


def wsgi(app):
    def logged(environ, start_response):
        started, seen = time.perf_counter(), []

        def start(status, *rest):
            seen[:] = [status.split()[0]]
            return start_response(status, *rest)

        answer = app(environ, start)
        write(started, environ["PATH_INFO"], seen[0])
        return answer

    return logged


def asgi(app):
    async def logged(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        started, seen = time.perf_counter(), [0]

        async def note(message):
            if message["type"] == "http.response.start":
                seen[0] = message["status"]
            await send(message)

        await app(scope, receive, note)
        write(started, scope["path"], seen[0])

    return logged
