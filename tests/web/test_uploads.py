"""What visitors may leave on the disk, and what the server fetches for them."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest

from gazevlm_core.images import MAX_BYTES
from tests.web.served import Served, serving_small
from web import fetch as fetching
from web import uploads
from web.fetch import FetchError, fetch
from web.uploads import LIFE_S, MB, PER_HOUR, SHARE, RefusedUpload, UploadFolder


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving_small() as up:
        yield up


@pytest.fixture
def upload_folder(served: Served) -> Iterator[UploadFolder]:
    """The page's, with what it is afterwards given back."""
    one = served.page.app.upload_folder
    most, one._left = one.most_bytes, []
    yield one
    one.most_bytes, one._left = most, []


def upload(served: Served, size: int, name: str = "a.bin", address: str = "127.0.0.1") -> httpx.Response:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address), base_url=served.url, timeout=30) as client:
        return client.post("gradio_api/upload", files={"files": (name, name.encode().ljust(size, b"."))})


def test_uploads_go_to_a_folder_of_this_program_alone(served: Served, upload_folder: UploadFolder) -> None:
    (path,) = upload(served, 10).json()
    assert Path(path).is_relative_to(upload_folder.folder)
    assert upload_folder.folder == Path(os.environ["GRADIO_TEMP_DIR"])
    assert upload_folder.folder.name != "gradio", "which all of Gradio's programs share"


def test_one_address_may_leave_its_share_and_the_others_go_on(served: Served, upload_folder: UploadFolder) -> None:
    upload_folder.most_bytes = SHARE * MB
    answers = [upload(served, MB // 2, f"{number}.bin") for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[-1].text.startswith("Your address has uploaded 1 MB in the last hour, which is the limit")
    assert upload(served, MB // 2, "o.bin", "127.0.0.2").status_code == 200


def test_an_upload_is_bounded_by_what_it_says_and_must_say_it(served: Served) -> None:
    assert upload(served, MAX_BYTES + MB).status_code == 413
    with httpx.Client(base_url=served.url) as client:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = client.post("gradio_api/upload", content=iter([b"--x"]), headers=kind)
    assert (answer.status_code, answer.text) == (411, uploads.NO_LENGTH)


def test_chunks_are_refused_whatever_length_is_said_beside_them(served: Served, upload_folder: UploadFolder) -> None:
    body = form({"files": b"." * 3 * MB})
    said = ("Content-Length: 10", "Transfer-Encoding: chunked", "Connection: close")
    with sending(served, *said) as line:
        with suppress(ConnectionError):  # it may be closed before all of it was taken
            line.sendall(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        with suppress(ConnectionError):
            assert line.recv(100).startswith(b"HTTP/1.1 411 ")
    assert upload_folder._left == []


def form(files: dict[str, bytes], names: str = "a.bin") -> bytes:
    """A form with a file in each field."""
    head = 'Content-Disposition: form-data; name="{}"; filename="{}"\r\n\r\n'
    parts = (b"--x\r\n" + head.format(field, names).encode() + content for field, content in files.items())
    return b"\r\n".join([*parts, b"--x--\r\n"])


def sending(served: Served, *lines: str) -> socket.socket:
    """A connection on which the head of an upload was sent."""
    host = urlsplit(served.url)
    line = socket.create_connection((str(host.hostname), int(host.port or 80)), timeout=30)
    kind = "Content-Type: multipart/form-data; boundary=x"
    head = ["POST /gradio_api/upload HTTP/1.1", f"Host: {host.netloc}", kind, *lines]
    line.sendall("\r\n".join([*head, "", ""]).encode())
    return line


def files_of(upload_folder: UploadFolder) -> set[Path]:
    return {path for path in upload_folder.folder.rglob("*") if path.is_file()}


def test_of_an_upload_that_breaks_off_nothing_stays(served: Served, upload_folder: UploadFolder) -> None:
    before = files_of(upload_folder)
    with sending(served, f"Content-Length: {4 * MB}") as line:
        line.sendall(form({"files": b"." * MB})[:-10])
        while files_of(upload_folder) == before:
            time.sleep(0.01)
    while upload_folder._left[0].paths is None:
        time.sleep(0.01)
    assert files_of(upload_folder) == before


def test_of_a_form_what_is_not_used_goes(served: Served, upload_folder: UploadFolder) -> None:
    before = files_of(upload_folder)
    with httpx.Client(base_url=served.url, timeout=30) as client:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        whole = form({"files": b"used", "others": b"not"})
        (path,) = client.post("gradio_api/upload", content=whole, headers=kind).json()
        assert files_of(upload_folder) - before == {Path(path)}
        bad = form({"files": b"before a bad one"}).replace(b"--x--", b"--x") + form({"files": b"bad"}, "..")[5:]
        assert client.post("gradio_api/upload", content=bad, headers=kind).status_code == 400
    assert files_of(upload_folder) - before == {Path(path)}


def test_each_file_of_a_form_counts(
    served: Served, upload_folder: UploadFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PER_HOUR", 20)
    with httpx.Client(base_url=served.url, timeout=30) as client:
        many = [("files", (f"{number}.bin", b"%d" % number)) for number in range(19)]
        assert len(client.post("gradio_api/upload", files=many).json()) == 19
    assert [upload(served, 10, f"{number}.bin").status_code for number in range(2)] == [200, 429]


def test_the_disks_last_room_is_kept(
    served: Served, upload_folder: UploadFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = uploads.RESERVE_BYTES + 1000
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    answer = upload(served, 2000)
    assert (answer.status_code, answer.text) == (507, uploads.NO_ROOM)
    free += MB
    assert upload(served, 2000).status_code == 200


def leave(upload_folder: UploadFolder, address: str, name: str, size: int) -> Path:
    left = upload_folder.reserve(address, size)
    path = upload_folder.folder / address / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    left.paths = [str(path)]
    return path


def test_when_it_is_full_the_oldest_of_whoever_left_most_makes_way(tmp_path: Path) -> None:
    upload_folder = UploadFolder(tmp_path, 100)
    light = leave(upload_folder, "light", "a", 10)
    heavy = [leave(upload_folder, "heavy", f"{number}", 8) for number in range(3)]
    others = [leave(upload_folder, f"other{number}", "a", 20) for number in range(3)]
    more = leave(upload_folder, "light", "b", 10)
    assert [path.exists() for path in (light, *others, more)] == [True] * 5
    assert [path.exists() for path in heavy] == [False, True, True]
    assert upload_folder.size() == 96
    coming = [upload_folder.reserve(f"new{number}", 25) for number in range(4)]
    assert upload_folder.size() == 100
    with pytest.raises(RefusedUpload, match="uploading just now"):
        upload_folder.reserve("another", 1)  # what is on its way does not make way
    coming[0].paths = []  # nothing came of it
    upload_folder.reserve("another", 1)


def test_old_files_go_whoever_wrote_them_but_not_the_pages_own(tmp_path: Path) -> None:
    kept, old = tmp_path / "kept", tmp_path / "below" / "old"
    old.parent.mkdir()
    for path in (kept, old):
        path.touch()
    upload_folder = UploadFolder(tmp_path, kept=lambda: {str(kept)})
    upload_folder.sweep()
    assert old.exists()
    assert LIFE_S <= 3600
    time.sleep(0.05)
    upload_folder.sweep(0.01)
    assert (kept.exists(), old.exists()) == (True, False)
    time.sleep(0.05)
    upload_folder.sweep(0.01)
    assert not old.parent.exists(), "nor do empty folders stay"


def test_an_address_may_upload_so_often(tmp_path: Path) -> None:
    upload_folder = UploadFolder(tmp_path)
    for _ in range(PER_HOUR):
        upload_folder.reserve("a", 0).paths = []
    with pytest.raises(RefusedUpload, match="Too many files came from your address"):
        upload_folder.reserve("a", 0)
    upload_folder.reserve("b", 0)


class OtherServer(BaseHTTPRequestHandler):
    """A server of the web: a file, one that is too long, one whose length is said nowhere, one elsewhere."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        body = b"." * (10 if self.path.startswith("/small") else 2000)
        self.send_response(200)
        self.send_header("Connection", "close")
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address; it counts as public."""
    validate = fetching._public

    async def public(host: str) -> str:
        return "127.0.0.1" if host == "public.test" else await validate(host)

    monkeypatch.setattr(fetching, "_public", public)
    server = HTTPServer(("127.0.0.1", 0), OtherServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://public.test:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_of_the_web_is_fetched_within_bounds(other_server: str, tmp_path: Path) -> None:
    upload_folder = UploadFolder(tmp_path)
    path = asyncio.run(fetch(f"{other_server}/small file.png", tmp_path, upload_folder, 1000))
    assert Path(path).read_bytes() == b"." * 10
    assert Path(path).name == "smallfile.png"
    refused = {"long": "too large", "endless": "too large", "missing": "404", "inside": "cannot be fetched"}
    for name, words in refused.items():
        with pytest.raises(FetchError, match=words):
            asyncio.run(fetch(f"{other_server}/{name}", tmp_path, upload_folder, 1000))
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [Path(path)], "nothing of the others is left"
    assert [left.size for left in upload_folder._left] == [10]
    for number, address in enumerate(("small%2F..", "small/%2e%2e", "small/" + "\U0001d7d8" * 100)):
        place = tmp_path / f"{number}"  # names that lead elsewhere, or are too long for a disk
        assert Path(asyncio.run(fetch(f"{other_server}/{address}", place, upload_folder, 1000))).is_relative_to(place)


def test_what_was_fetched_is_forgotten_after_an_hour_though_nobody_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_folder = UploadFolder(tmp_path)
    upload_folder.reserve_fetched(1)
    monkeypatch.setattr(uploads, "LIFE_S", 0.0)
    upload_folder.reserve_fetched(2)
    assert upload_folder.size() == 2


@pytest.mark.parametrize("address", [
    "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://0.0.0.0/", "http://10.0.0.1/",
    "http://[::ffff:127.0.0.1]/", "http://100.64.0.1/", "http://localhost/", "file:///etc/passwd", "ftp://example.org/a",
    "http:///a", "http://[fd00::1]/",
])  # fmt: skip
def test_nothing_inside_is_fetched(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(host: str) -> list[str]:
        return []

    monkeypatch.setattr(fetching.safehttpx, "async_resolve_hostname_google", nowhere)
    with pytest.raises(FetchError, match="cannot be fetched"):
        asyncio.run(fetch(address, tmp_path, UploadFolder(tmp_path), 1000))


def test_gradio_fetches_through_it(served: Served) -> None:
    from gradio_client import Client

    file = {"path": "http://127.0.0.1:1/a", "url": "http://127.0.0.1:1/a", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(Exception, match="This address cannot be fetched; give one of a public server"):
        Client(served.url, verbose=False).predict(file, api_name="/file")
