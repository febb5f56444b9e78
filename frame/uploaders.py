"""Who uploaded which file: a file's address, which others may know, is no right to it."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frame.address import client_address
from frame.identity import NAME_COOKIE, Asked

MOST_NOTED = 10_000
Uploader = tuple[str, str, str]


class Uploaders:
    """Which visitor uploaded what; the latest MOST_NOTED files. The same file of two visitors belongs to both."""

    def __init__(self) -> None:
        self._of: OrderedDict[Path, set[Uploader]] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, paths: Iterable[str], request: Asked) -> None:
        """Files that came with a request."""
        with self._lock:
            for path in paths:
                key = Path(path).resolve()
                self._of.setdefault(key, set()).add(_uploader(request))
                self._of.move_to_end(key)
            while len(self._of) > MOST_NOTED:
                self._of.popitem(last=False)

    def owns(self, path: Path, request: Asked) -> bool:
        """Whether the visitor behind a request uploaded this file."""
        with self._lock:
            return _uploader(request) in self._of.get(path.resolve(), ())

    def delete(self, path: Path, request: Asked) -> None:
        """Delete a visitor's own file, unless it is somebody else's too; any other file stays."""
        key, who = path.resolve(), _uploader(request)
        with self._lock:
            owners = self._of.get(key, set())
            if who not in owners:
                return
            owners.discard(who)
            if not owners:
                del self._of[key]
                key.unlink(missing_ok=True)


def _uploader(request: Asked) -> Uploader:
    """What tells visitors apart: name, signed session and address."""
    plain: Any = getattr(request, "request", request)  # Gradio's own request hides the session
    login = plain.session.get("oauth_info", {}).get("userinfo", {}) if "session" in getattr(plain, "scope", {}) else {}
    return request.cookies.get(NAME_COOKIE, ""), str(login.get("preferred_username", "")), client_address(request)


uploaders = Uploaders()
