"""Who uploaded which file: a file's address, which others may know, is no right to it."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from web.client_address import client_address
from web.identity import NAME_COOKIE, Asked

MOST_NOTED = 10_000
Uploader = tuple[str, str, str]


class Uploaders:
    """Which visitor uploaded what; the latest MOST_NOTED files. Every upload is a file of its own."""

    def __init__(self) -> None:
        self._of: OrderedDict[Path, Uploader] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, paths: Iterable[str], request: Asked) -> None:
        """Files that came with a request."""
        with self._lock:
            for path in paths:
                self._of[Path(path).resolve()] = _uploader(request)
            while len(self._of) > MOST_NOTED:
                self._of.popitem(last=False)

    def owns(self, path: Path, request: Asked) -> bool:
        """Whether the visitor behind a request uploaded this file."""
        with self._lock:
            return self._of.get(path.resolve()) == _uploader(request)

    def delete(self, path: Path, request: Asked) -> None:
        """Delete a visitor's own file; any other stays."""
        if self.owns(path, request):
            with self._lock:
                self._of.pop(path.resolve(), None)
            path.resolve().unlink(missing_ok=True)


def _uploader(request: Asked) -> Uploader:
    """What tells visitors apart: name, signed session and address."""
    plain: Any = getattr(request, "request", request)  # Gradio's own request hides the session
    login = plain.session.get("oauth_info", {}).get("userinfo", {}) if "session" in getattr(plain, "scope", {}) else {}
    return request.cookies.get(NAME_COOKIE, ""), str(login.get("preferred_username", "")), client_address(request)


uploaders = Uploaders()
