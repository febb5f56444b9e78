"""Export of the store as one archive, and import of such an archive.

The archive is fetched from a place whose name nobody can guess. One that comes back may come from anybody: it is
unpacked inside one folder, plain files alone, within bounds, or not at all.
"""

import secrets
import shutil
import stat
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from annotate.export.folder import MANIFEST, Which, export_store, files_below
from annotate.export.formats import NAMES as FORMATS
from annotate.export.formats import formats
from annotate.export.importer import Imported, import_folder
from annotate.store.archives import READABLE, SourceError, open_archive
from annotate.store.model import StoreError
from annotate.store.project import LONGEST_LICENCE
from annotate.store.store import AnnotationStore
from gazevlm_core.images import MAX_BYTES
from web.identity import Claim, Gate
from web.markup import heading, note, status
from web.page import Values, run_busily
from web.sign_in import Entry

MOST_UNPACKED_BYTES = 4 * 2**30
MOST_RATIO, RATIO_FROM_BYTES = 100, 256 * 2**20  # unpacked over packed, beyond the size at which it matters
MOST_DEPTH, LONGEST_NAME = 4, 200
CHUNK = 2**20
DAMAGED = "This is not a zip archive, or it is damaged; download the export again."
HOSTILE = "The archive contains {name!r}, which no export has; nothing was unpacked."
TOO_LARGE = "The archive is too large to unpack here; unpack it yourself and use `gazevlm annotations import`."
PACKED = (".png", ".parquet", ".jpg")  # hardly get any smaller
NO_UPLOAD = "Choose the zip archive of an export first."
NO_ROOM = "The server's disk is full ({reason}); free some space and try again. Nothing was left behind."
KEPT_S = 3600.0  # after that the archive is removed from the server
OF_PROJECT = "accepted of project"
WHICH = [("everything: a full copy, also of what was rejected or removed", "all"),
         ("accepted submissions: for publishing", "accepted"),
         ("those of the project that is chosen above", OF_PROJECT)]  # fmt: skip
NAMES = "Write people's names beside their pseudonyms. Not for publishing."
UPLOAD_MB = MAX_BYTES // 2**20
WHAT = (
    "Annotators are pseudonyms unless you ask for names. The archive can be downloaded for an hour under a link that "
    "only you get; whoever has the link can download it too."
)
BACK = (
    "Imports an exported archive, all of it or nothing: images, submissions with their receipts and verdicts, skips "
    "and the audit log. What is here already stays as it is."
)
BUILDING, READING = "Writing the archive…", "Checking the archive…"


@dataclass(frozen=True)
class Archive:
    """An export as one file."""

    path: Path  # of it
    counts: dict[str, Any]  # what it holds, as its export.json says.


class ExportsService:
    """For admins; NotAllowed for everybody else. Works in subfolders of `folder` that nobody else can read."""

    def __init__(self, store: AnnotationStore, gate: Gate, folder: Path) -> None:
        self.store, self.gate, self._folder = store, gate, folder

    def export(
        self, claim: Claim, target: Path, *, which: Which = "all", project: str = "",
        formats: Collection[str] = tuple(FORMATS), licence: str = "", names: bool = False,
    ) -> Archive:  # fmt: skip
        """Write the store as a zip archive.

        Args:
            claim: who asks.
            target: new folder, which takes the archive; nobody should be able to list it.
            which, project, formats, licence, names: as in `export_store`.

        Raises:
            StoreError: a wrong choice, or no room; nothing is left behind.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        if which not in ("all", "accepted"):
            raise StoreError("Choose whether all submissions are exported, or the accepted ones.")
        licence = licence.strip()
        if len(licence) > LONGEST_LICENCE or not licence.isprintable():
            raise StoreError(f"A licence has up to {LONGEST_LICENCE} characters, such as cc-by-4.0; change it.")
        name = f"annotations-{which}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        with self._work_folder() as work:
            done = export_store(
                self.store, work / name, which=which, project=project, names=bool(names), formats=formats,
                licence=licence,
            )  # fmt: skip
            packed = work / f"{name}.zip"
            _pack(done.folder, packed)
            target.mkdir(parents=True, mode=0o700)
            path = Path(shutil.move(packed, target / packed.name))
        self.store.write_audit(visitor.pseudonym, "exported", which, names=bool(names), formats=sorted(formats),
                               **({"project": project} if project else {}))  # fmt: skip
        return Archive(path, done.counts)

    def import_archive(self, claim: Claim, upload: Path | None) -> Imported:
        """Import the archive of an export: all of it, or nothing where a line of it is bad.

        It leaves no entry in the audit log, which comes back itself: the store is the same again.

        Raises:
            StoreError: no archive, one that may not be unpacked, no export, or a bad line.
        """
        self.gate.admit(claim, "upload", "admin")
        if upload is None or not upload.is_file():
            raise StoreError(NO_UPLOAD)
        with self._work_folder() as work:
            return import_folder(self.store, unpack(upload, work / "unpacked"))

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """A folder that nobody else can read, and that is gone afterwards."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="work-", dir=self._folder, ignore_cleanup_errors=True) as work:
                yield Path(work)
        except OSError as error:
            raise StoreError(NO_ROOM.format(reason=error.strerror or type(error).__name__)) from None


def _pack(folder: Path, target: Path) -> None:
    """Write a folder as a zip archive, with a folder of its name inside."""
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in files_below(folder):
            how = zipfile.ZIP_STORED if path.suffix in PACKED else zipfile.ZIP_DEFLATED
            archive.write(path, Path(folder.name) / path.relative_to(folder), how)


class ExportsView:
    """An archive out on the left, one back in on the right."""

    def __init__(self, service: ExportsService, entry: Entry, chosen: gr.Dropdown) -> None:
        self.service, self.chosen = service, chosen
        with gr.Row():
            with gr.Column(min_width=300):
                self._out()
            with gr.Column(min_width=300):
                self._back()
        self._connect(entry)

    def _out(self) -> None:
        gr.HTML(heading("Export") + note(WHAT))
        self.which = gr.Radio(WHICH, value="all", label="What", elem_id="dashboard-export-which")
        self.formats = gr.CheckboxGroup(
            [(one.title, name) for name, one in formats().items()], value=list(FORMATS), label="Formats",
            elem_id="dashboard-export-formats",
            info="Only with JSON lines or parquet can it be imported again.",
        )  # fmt: skip
        self.licence = gr.Textbox(
            label="Licence", placeholder="such as cc-by-4.0; empty: none is named", max_length=LONGEST_LICENCE,
            max_lines=1, elem_id="dashboard-export-licence",
        )  # fmt: skip
        self.names = gr.Checkbox(label=NAMES, elem_id="dashboard-export-names")
        self.build = gr.Button("Write the archive", variant="primary", elem_id="dashboard-export-go")
        self.out_status = gr.HTML(status(""), elem_id="dashboard-export-status")
        self.file = gr.File(label="Archive", interactive=False, elem_id="dashboard-export-file")

    def _back(self) -> None:
        gr.HTML(heading("Import an export") + note(BACK))
        self.upload = gr.File(
            label=f"Zip archive of an export, up to {UPLOAD_MB} MB; larger: gazevlm annotations import",
            file_types=[".zip"], height=140, elem_id="dashboard-back-file",
        )  # fmt: skip
        self.take = gr.Button("Import it", elem_id="dashboard-back-go")
        self.back_status = gr.HTML(status(""), elem_id="dashboard-back-status")

    def _connect(self, entry: Entry) -> None:
        for button, line, words, work, inputs, output in (
            (self.build, self.out_status, BUILDING, self._export,
             [self.chosen, self.which, self.formats, self.licence, self.names], self.file),
            (self.take, self.back_status, READING, self._import, [self.upload], self.upload),
        ):  # fmt: skip
            run_busily(
                button.click, [button], line, words, entry.handler(work), [entry.token, *inputs], [line, output],
                concurrency_limit=1,
            )  # fmt: skip

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def _export(
        self, claim: Claim, chosen: str, which: Any, formats: list[str], licence: str, names: bool  # noqa: ANN401
    ) -> Values:
        target = Path(self.file.GRADIO_CACHE) / f"export-{secrets.token_hex(24)}"  # 192 bits that nobody guesses
        which, project = ("accepted", chosen) if which == OF_PROJECT else (which, "")
        done = self.service.export(
            claim, target, which=which, project=project, formats=formats, licence=licence, names=names
        )
        removal = threading.Timer(KEPT_S, shutil.rmtree, (target,), {"ignore_errors": True})
        removal.daemon = True
        removal.start()
        words = f"{done.counts['submissions']:,} submissions on {done.counts['images']:,} images."
        return {self.out_status: status(words), self.file: str(done.path)}

    def _import(self, claim: Claim, upload: str | None) -> Values:
        path = Path(upload) if upload else None
        done = self.service.import_archive(claim, path)
        if path is not None:
            path.unlink(missing_ok=True)
        return {self.back_status: status(_imported(done)), self.upload: None}


def _imported(done: Imported) -> str:
    kinds = sorted(done.added | done.known)
    parts = [f"{done.added[kind]:,} new and {done.known[kind]:,} known {kind}" for kind in kinds]
    return f"Imported: {'; '.join(parts)}." if parts else "There was nothing in it."


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an export into an empty folder.

    Args:
        archive: a zip archive of an export, with or without one folder around it.
        folder: takes it; what was begun stays there on an error, so give one that is thrown away.

    Returns:
        where export.json lies.

    Raises:
        SourceError: no archive of an export, names that lead elsewhere, links, or more than it may hold.
        OSError: the disk takes no more.
    """
    try:
        with open_archive(archive) as opened:
            infos = [info for info in opened.infolist() if not info.is_dir()]
            places = _checked(infos, archive.stat().st_size)
            for info, place in zip(infos, places, strict=True):
                _write(opened, info, folder / place)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError):
        raise SourceError(DAMAGED) from None
    return folder / _root(places)


def _checked(infos: list[zipfile.ZipInfo], packed_bytes: int) -> list[PurePosixPath]:
    """Return where each file goes, below the folder; SourceError for what no export holds."""
    total = sum(info.file_size for info in infos)
    if total > MOST_UNPACKED_BYTES or (total > RATIO_FROM_BYTES and total > MOST_RATIO * packed_bytes):
        raise SourceError(TOO_LARGE)
    places: list[PurePosixPath] = []
    seen: set[str] = set()
    for info in infos:
        place = _place(info)
        folded = str(place).casefold()  # a disk may not tell upper from lower case
        if folded in seen:
            raise SourceError(HOSTILE.format(name=info.filename[:60]))
        seen.add(folded)
        places.append(place)
    return places


def _place(info: zipfile.ZipInfo) -> PurePosixPath:
    name, mode = info.filename, info.external_attr >> 16
    place = PurePosixPath(name)
    plain = name.isprintable() and len(name) <= LONGEST_NAME and not set('\\:*?"<>|') & set(name)
    inside = not place.is_absolute() and 0 < len(place.parts) <= MOST_DEPTH and ".." not in place.parts
    file = stat.S_IFMT(mode) in (0, stat.S_IFREG)  # no link, device or pipe
    if not (plain and inside and file):
        raise SourceError(HOSTILE.format(name=name[:60]))
    if info.compress_type not in READABLE or info.flag_bits & 1:
        raise SourceError(DAMAGED)
    return place


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write one file; never more bytes than its entry declares, which were counted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(info) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, CHUNK)
    except (FileExistsError, NotADirectoryError):
        raise SourceError(HOSTILE.format(name=info.filename[:60])) from None
    if path.stat().st_size != info.file_size:
        raise SourceError(DAMAGED)


def _root(places: list[PurePosixPath]) -> PurePosixPath:
    roots = sorted((place.parent for place in places if place.name == MANIFEST), key=lambda place: len(place.parts))
    if not roots or len(roots[0].parts) > 1:
        raise SourceError(f"There is no {MANIFEST} in the archive, so it is no export; choose another file.")
    return roots[0]
