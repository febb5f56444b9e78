"""What visitors may leave on the server's disk: how much, for how long, and which file is whose."""

import asyncio
import json
import os
import shutil
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from web.guard import (
    API,
    Asgi,
    Message,
    Receive,
    Scope,
    Send,
    WebRequest,
    address_of,
    client_address,
    header,
    refuse,
    route_of,
)
from web.identity import NAME_COOKIE
from web.settings import DEFAULT_UPLOADS_MB

MB = 2**20
SHARE = 4  # one address: a quarter
LIFE_S, EVERY_S = 3600.0, 600.0
RESERVE_BYTES = 2 * 2**30  # stays free on the disk; annotations need room, too
PER_HOUR = 1200  # files of one address
FORM_BYTES = 64 * 1024  # of a form around its file

MOST_NOTED = 10_000  # files of which it is known whose they are
Uploader = tuple[str, str, str]

NO_LENGTH = "Say how long the upload is (Content-Length, not in chunks), and send it again."
TOO_LARGE = "This file is too large; {megabytes} MB at most."
TOO_MANY = "Too many files came from your address in the last hour; wait a while and try again."
TOO_MUCH = "Your address has uploaded {megabytes} MB in the last hour, which is the limit; wait a while and try again."
NO_ROOM = "The server's disk is almost full, so nothing can be uploaded; tell whoever runs this page."
FULL = "Many people are uploading just now; try again in a few minutes."


class RefusedUpload(ValueError):
    """There is no room for this; the message says what to do.

    Args:
        status: of HTTP.
        text: one sentence.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Upload:
    """One upload."""

    address: str  # who left it
    size: int  # in bytes
    at: float  # monotonic time, seconds
    paths: list[str] | None = None  # where it lies; None while it is on its way, empty where nothing came of it


class UploadFolder:
    """The folder that all uploads and fetched files go to, and who left what in it within the last hour.

    Args:
        folder: of this program alone, since old files in it are deleted, whoever wrote them.
        most_bytes: what visitors may leave in it; what the page itself writes is not counted.
        kept: files that belong to the page itself and never go.
    """

    def __init__(
        self, folder: Path, most_bytes: int = DEFAULT_UPLOADS_MB * MB, kept: Callable[[], Collection[str]] = frozenset
    ) -> None:
        self.folder, self.most_bytes, self.kept = folder, most_bytes, kept
        self._left: list[Upload] = []
        self._lock = threading.Lock()
        self._swept = time.monotonic()

    def reserve(self, address: str, size: int) -> Upload:
        """Keep room for an upload; what others left makes way, the oldest of whoever left most.

        Args:
            address: who asks.
            size: in bytes.

        Raises:
            RefusedUpload: the address left too much or too often, or there is no room.
        """
        if time.monotonic() - self._swept > EVERY_S:
            self.sweep()
        with self._lock:
            own = [left for left in self._of_this_hour() if left.address == address]
            if sum(max(1, len(left.paths or ())) for left in own) >= PER_HOUR:
                raise RefusedUpload(429, TOO_MANY)
            if sum(left.size for left in own) + size > self.most_bytes // SHARE:
                raise RefusedUpload(429, TOO_MUCH.format(megabytes=self.most_bytes // SHARE // MB))
            return self._keep(Upload(address, size, time.monotonic()))

    def reserve_fetched(self, size: int) -> Upload:
        """Keep room for a file that the server fetches; where it comes from is nobody's address.

        Raises:
            RefusedUpload: there is no room.
        """
        with self._lock:
            self._of_this_hour()
            return self._keep(Upload("", size, time.monotonic()))

    def release(self, left: Upload) -> None:
        """Free the room of something that nothing came of; none of it lies there any more."""
        with self._lock:
            self._left = [one for one in self._left if one is not left]

    def size(self) -> int:
        """Return bytes that visitors left."""
        return sum(left.size for left in self._left)

    def _of_this_hour(self) -> list[Upload]:
        """Return what counts still; the rest is forgotten."""
        now = time.monotonic()
        self._left = [left for left in self._left if now - left.at < LIFE_S]
        return self._left

    def _keep(self, left: Upload) -> Upload:
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < RESERVE_BYTES + left.size:
            raise RefusedUpload(507, NO_ROOM)
        while self.size() + left.size > self.most_bytes:
            oldest = self._oldest_of_the_heaviest()
            if oldest is None:
                raise RefusedUpload(503, FULL)
            self._left.remove(oldest)
            still = {path for other in self._left for path in other.paths or ()}  # the same file from elsewhere, too
            for path in {*(oldest.paths or ())} - still:
                Path(path).unlink(missing_ok=True)
        self._left.append(left)
        return left

    def sweep(self, life_s: float = LIFE_S) -> None:
        """Delete files that nobody wrote anew in `life_s` seconds, and folders that have been empty for as long."""
        self._swept = time.monotonic()
        kept = self.kept()
        files, folders = _below(self.folder)
        for entry in files:
            if time.time() - entry.stat().st_ctime > life_s and entry.path not in kept:
                Path(entry.path).unlink(missing_ok=True)
        for entry in reversed(folders):  # the inner ones first
            if time.time() - entry.stat().st_ctime > life_s:
                with suppress(OSError):  # not empty
                    Path(entry.path).rmdir()

    def _oldest_of_the_heaviest(self) -> Upload | None:
        weights: defaultdict[str, int] = defaultdict(int)
        whole = [left for left in self._left if left.paths is not None]
        for left in whole:
            weights[left.address] += left.size
        return min(whole, key=lambda left: (-weights[left.address], left.at), default=None)


def _below(folder: Path) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Return all files below a folder, and its subfolders from the outermost on, that are there when they are looked
    at."""
    files: list[os.DirEntry[str]] = []
    folders: list[os.DirEntry[str]] = []
    waiting = [str(folder)]
    for place in waiting:  # grows
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    entry.stat(follow_symlinks=False)  # kept by the entry
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        folders.append(entry)
                    elif entry.is_file(follow_symlinks=False):
                        files.append(entry)
        except FileNotFoundError:
            continue
    return files, folders


class Uploads:
    """Lets an upload in where there is room for it; stands before the page, as in `web.guard`.

    Args:
        app: the page.
        upload_folder: where uploads go.
        largest: bytes of one upload.
    """

    def __init__(self, app: Asgi, upload_folder: UploadFolder, largest: int) -> None:
        self.app, self.upload_folder, self.largest = app, upload_folder, largest
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 411, 413, 429, 503 or 507 with one sentence."""
        route = route_of(scope)
        # Gradio keeps images that MCP clients write into their requests, too; sizes of others are small
        writes = route.startswith(f"{API}/mcp") and scope.get("body_bytes", 0) > FORM_BYTES
        if route != f"{API}/upload" and not writes:
            await self.app(scope, receive, send)
            return
        # Of chunks a server takes as many as come, whatever length is said beside them
        announced = "" if header(scope, b"transfer-encoding") else header(scope, b"content-length") or ""
        length = str(scope["body_bytes"]) if writes else announced
        if not length.isdecimal():
            await refuse(scope, send, 411, NO_LENGTH)
            return
        if int(length) > self.largest + FORM_BYTES:
            await refuse(scope, send, 413, TOO_LARGE.format(megabytes=self.largest // MB))
            return
        try:
            async with self._lock:
                left = await asyncio.to_thread(self.upload_folder.reserve, address_of(scope), int(length))
        except RefusedUpload as refused:
            await refuse(scope, send, refused.status, str(refused))
            return
        answer = bytearray()

        async def sending(message: Message) -> None:
            answer.extend(message.get("body", b""))
            await send(message)

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        try:
            await self.app({**scope, "headers": plain}, receive, sending)
        finally:
            left.paths = _paths_of(bytes(answer))


def _paths_of(answer: bytes) -> list[str]:
    """Return the files that Gradio says it has kept; none where it refused, and what was written is swept away."""
    try:
        paths = json.loads(answer)
    except ValueError:
        return []
    return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []


# ---- which file is whose --------------------------------------------------------------------------------------------
class Uploaders:
    """Which visitor uploaded what: a file's address, which others may know, is no right to it.

    The latest MOST_NOTED files are known; every upload is a file of its own.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[Path, Uploader] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, paths: Iterable[str], request: WebRequest) -> None:
        """Note files that came with a request."""
        with self._lock:
            for path in paths:
                self._of[Path(path).resolve()] = _uploader(request)
            while len(self._of) > MOST_NOTED:
                self._of.popitem(last=False)

    def owns(self, path: Path, request: WebRequest) -> bool:
        """Return whether the visitor behind a request uploaded this file."""
        with self._lock:
            return self._of.get(path.resolve()) == _uploader(request)

    def delete(self, path: Path, request: WebRequest) -> None:
        """Delete a visitor's own file; any other stays."""
        if self.owns(path, request):
            with self._lock:
                self._of.pop(path.resolve(), None)
            path.resolve().unlink(missing_ok=True)


def _uploader(request: WebRequest) -> Uploader:
    """Return what tells visitors apart: name, signed session and address."""
    plain: Any = getattr(request, "request", request)  # Gradio's own request hides the session
    login = plain.session.get("oauth_info", {}).get("userinfo", {}) if "session" in getattr(plain, "scope", {}) else {}
    return request.cookies.get(NAME_COOKIE, ""), str(login.get("preferred_username", "")), client_address(request)


uploaders = Uploaders()
