"""The page to play with a model: static files."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

FILES = Path(__file__).parents[1] / "page"
HEADERS = {
    # The page shows texts that nobody checked: only its own files may run or be asked for.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " object-src 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Asked again each time, and answered 304: an upgrade never mixes old modules with new ones.
    "Cache-Control": "no-cache",
}


class PageFiles(StaticFiles):
    """Static files with the headers of the page."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """As starlette's, with `HEADERS`."""
        response = super().file_response(*args, **options)
        response.headers.update(HEADERS)
        return response


async def page(_: Request) -> Response:
    """The page itself."""
    return FileResponse(FILES / "index.html", headers=HEADERS)


routes = [Route("/", page), Mount("/page", PageFiles(directory=FILES))]
