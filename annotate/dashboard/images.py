"""What admins decide about images: whether they are tasks, when, with which question, and which path is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from html import escape

import gradio as gr
from PIL import Image

from annotate.dashboard.gallery import CLICKED, GALLERY, ON_CARD, PAGE, TICKED, gallery_html, submitted, ticked_images
from annotate.dashboard.project import choices_of
from annotate.dashboard.review_detail import choice_of
from annotate.export.folder import submissions_of
from annotate.quality.agreement import Consensus, consensus
from annotate.store.lookup import ImageState, ListedImage, gold_gone, listed_image, listed_images
from annotate.store.model import MAIN_PROJECT, PRIORITIES, Stored, StoreError
from annotate.store.project import Project
from annotate.store.store import AnnotationStore
from gazevlm_core.images import ImageError
from web.formatting import counted, score, short_digest, short_name
from web.identity import Claim, Gate
from web.markup import note, picture_uri, status
from web.page import Values, remembered
from web.sign_in import Entry

MOST_OFFERED = 200  # submissions to choose a gold path from
LONGEST_SEARCH = 100
ONLY = "This is one annotator's path alone, or none; choose the submission yourself."
FEWEST = 2  # annotators that make a consensus
STATES = [("given out", "open"), ("own images of annotators", "own"), ("closed", "closed"), ("gold", "gold")]
RANKS = ("First in line", "Usual", "Last in line")  # on the buttons, the first in line first
SHOWN_PX, THUMB_PX, KEPT_THUMBS = 480, 150, 1000
CONSENSUS = ("the consensus", "")
NOWHERE = ("another project…", "")
WHAT = (
    "A click shows an image; the buttons are for those that are ticked, or for the one that is shown. What is given "
    "out stands in the order in which annotators get it. An annotator's own image is nobody else's task until it is "
    "given out here: check that it may be shown to others."
)
GOLD = (
    "A gold image has a known path; everybody gets it once, unannounced, which tells how an annotator compares. It is "
    "a usual one again where a submission that the path rests on is withdrawn, removed or rejected."
)


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image as an admin sees it."""

    listed: ListedImage  # the image
    pixels: Image.Image  # of it
    stored: list[Stored]  # its submissions that are neither rejected nor removed; gold may be taken from one
    consensus: Consensus | None  # what gold from the consensus would be; None without submissions
    gold_gone: str = ""  # why it lost its gold path by itself


@dataclass(frozen=True)
class Cards:
    """A page of images."""

    listed: list[ListedImage]
    thumbs: list[str]  # small picture of each, a data URI; "" for none
    skip: int  # how many come before
    total: int  # how many there are


class ImagesService:
    """For admins; NotAllowed for everybody else, StoreError where there is no such image or state."""

    def __init__(self, store: AnnotationStore, gate: Gate) -> None:
        self.store, self.gate = store, gate
        self._kept_thumb: Callable[[str], str] = lru_cache(maxsize=KEPT_THUMBS)(self._new_thumb)

    def page(
        self, claim: Claim, state: ImageState, skip: float = 0, search: str = "", project: str = MAIN_PROJECT
    ) -> Cards:
        """Return images in a state, PAGE at a time, what annotators get next first; behind the last one the last page.

        Args:
            claim: who asks.
            state: of the images.
            skip: how many come before.
            search: part of a name or patient, or what a digest begins with; "" for all.
            project: that they are in.
        """
        self.gate.admit(claim, "read", "admin")
        search, skip = search.strip()[:LONGEST_SEARCH], min(max(0, int(skip)), LARGEST_SKIP)
        where: dict[str, str] = {"search": search, "project": project}
        listed, total = listed_images(self.store, state, PAGE, skip=skip, **where)
        if not listed and total:
            skip = (total - 1) // PAGE * PAGE
            listed, total = listed_images(self.store, state, PAGE, skip=skip, **where)
        return Cards(listed, [self._thumb(one.image.sha256) for one in listed], skip, total)

    def _thumb(self, sha256: str) -> str:
        """Return a picture as a data URI; "" where too many images are being read just now."""
        try:
            return self._kept_thumb(sha256)
        except ImageError:
            return ""

    def _new_thumb(self, sha256: str) -> str:
        return picture_uri(self.store.pixels(sha256), THUMB_PX)

    def view(self, claim: Claim, sha256: str) -> ShownImage:
        """Return one image with its pixels and submissions."""
        self.gate.admit(claim, "read", "admin")
        listed, stored = listed_image(self.store, sha256), self._usable(sha256)[-MOST_OFFERED:]
        gone = gold_gone(self.store, sha256)
        return ShownImage(listed, self.store.pixels(sha256), stored, consensus(stored), gone)

    def set_open(self, claim: Claim, images: Sequence[str], is_open: bool) -> None:
        """Give images out as tasks, an annotator's own ones too, or close them."""
        visitor = self.gate.admit(claim, "administer", "admin")
        for sha256 in self._all_there(images):
            self.store.set_open(sha256, is_open, visitor.pseudonym)

    def set_task(
        self, claim: Claim, images: Sequence[str], *, question: str | None = None, quota: float | None = None,
        priority: int | None = None, project: str | None = None,
    ) -> None:  # fmt: skip
        """Ask something else about images, for another number of annotators, earlier or later, or in another project;
        None leaves a part.

        Raises:
            StoreError: no such image or project, no question, a quota or a priority that is none.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        wanted = None if quota is None else whole_number(quota)
        for sha256 in self._all_there(images):
            self.store.set_task(
                sha256, visitor.pseudonym, question=question, quota=wanted, priority=priority, project=project
            )

    def close_done(self, claim: Claim, least: float | None, project: str = MAIN_PROJECT) -> int:
        """Close all tasks of a project with so many annotations; returns how many."""
        visitor = self.gate.admit(claim, "administer", "admin")
        return self.store.close_done(whole_number(least), visitor.pseudonym, project)

    def projects(self, claim: Claim) -> list[Project]:
        """Return all projects, into which images can be moved."""
        self.gate.admit(claim, "read", "admin")
        return self.store.projects()

    def set_gold(self, claim: Claim, sha256: str, submission_id: str = "") -> None:
        """Make an image a gold image, with the path of a submission or of the consensus.

        Args:
            claim: who asks.
            sha256: of the image.
            submission_id: whose path it is; "" for the consensus of at least two annotators.

        Raises:
            StoreError: no such submission on it, or no consensus.
        """
        visitor = self.gate.admit(claim, "administer", "admin")
        stored = self._usable(sha256)
        makers: tuple[str, ...]
        if submission_id:
            chosen = next((one.annotation for one in stored if one.annotation.submission_id == submission_id), None)
            if chosen is None:
                raise StoreError("This image has no such submission that may be used; choose another one.")
            path, makers = chosen.scanpath, (chosen.annotator,)
        else:
            common = consensus(stored[-MOST_OFFERED:])
            if common is None or common.annotators < FEWEST:
                raise StoreError(ONLY)
            path, makers = common.scanpath, common.among
        self.store.set_gold(sha256, path, visitor.pseudonym, gold_from=makers)

    def clear_gold(self, claim: Claim, sha256: str) -> None:
        """Make a gold image a usual one again."""
        visitor = self.gate.admit(claim, "administer", "admin")
        self.store.set_gold(sha256, None, visitor.pseudonym)

    def _all_there(self, images: Sequence[str]) -> Sequence[str]:
        """Return the images; where one of them is not there, nothing is done with any."""
        if len(images) > PAGE:
            raise StoreError(f"At most {PAGE} images at once; tick fewer.")
        for sha256 in images:
            self.store.image(sha256)
        return images

    def _usable(self, sha256: str) -> list[Stored]:
        return submissions_of(self.store, sha256, ["pending", "accepted"])


LARGEST_COUNT, LARGEST_SKIP = 10_000, 10_000_000  # annotators, images


def whole_number(number: float | None) -> int:
    """Return a number of annotators as it was typed.

    Raises:
        StoreError: it is none.
    """
    exact = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
    if number is None or not exact or not 0 <= number < LARGEST_COUNT:
        raise StoreError("How many annotators is a whole number; change it.")
    return int(number)


def typed_number(text: str) -> float | None:
    """Return a number that was typed; `whole_number` says what is wrong with others."""
    return float(text) if text.strip().isascii() and text.strip().isdigit() else -1.0


class ImagesView:
    """A gallery of images by state, what is done with those that are ticked, and the one that is shown."""

    def __init__(self, service: ImagesService, entry: Entry, chosen: gr.Dropdown) -> None:
        self.service = service
        gr.HTML(note(WHAT))
        with gr.Row(elem_classes="dashboard-line"):
            self.state = gr.Radio(
                STATES, value="open", label="Images", min_width=280, scale=3, elem_id="dashboard-image-state"
            )
            self.search = gr.Textbox(
                label="Find", placeholder="name, patient or digest", max_length=LONGEST_SEARCH, max_lines=1,
                min_width=160, scale=2, elem_id="dashboard-image-search",
            )  # fmt: skip
            self.before = gr.Button("Earlier", min_width=80, scale=0, elem_id="dashboard-image-before")
            self.more = gr.Button("More", min_width=80, scale=0, elem_id="dashboard-image-more")
        self._bulk()
        self.status = gr.HTML(status(""), elem_id="dashboard-image-status")
        with gr.Row(elem_id="dashboard-image-parts"):
            with gr.Column(scale=3, min_width=280):
                self.gallery = gr.HTML(js_on_load=ON_CARD, elem_id=GALLERY, padding=False)
            with gr.Column(scale=2, min_width=260):
                self.picture = gr.HTML(elem_id="dashboard-picture")
                gr.HTML(note(GOLD))
                self.path = gr.Dropdown([CONSENSUS], value="", label="Known path from", elem_id="dashboard-gold-from")
                with gr.Row(elem_classes="dashboard-verdicts"):
                    self.gold = gr.Button("Make it gold", min_width=110, elem_id="dashboard-gold")
                    self.usual = gr.Button("No longer gold", min_width=110, elem_id="dashboard-usual")
        with gr.Row(elem_classes="dashboard-line dashboard-least"):
            self.least = gr.Number(
                label="Close all tasks with at least so many annotations", precision=None, min_width=320, scale=0,
                elem_id="dashboard-close-least",
            )  # fmt: skip
            self.close_all = gr.Button("Close these", min_width=110, scale=0, elem_id="dashboard-close-all")
        self.skip, self.image = remembered(0), remembered("")  # how many come before; digest of the one that is shown
        self.sent = gr.Textbox(visible=False)  # by the page: what is ticked, or what was clicked
        self.where = [chosen, self.state, self.search, self.skip]
        self.one = [self.status, self.picture, self.path, self.image]
        self.shown = [self.gallery, self.skip, self.to, self.state, self.search, *self.one]
        self._connect(entry)

    def _bulk(self) -> None:
        with gr.Row(elem_classes="dashboard-line dashboard-bulk-line"):
            self.offer = gr.Button("Give out", min_width=90, scale=0, elem_id="dashboard-offer")
            self.close = gr.Button("Close", min_width=80, scale=0, elem_id="dashboard-close")
            self.ranks = {
                rank: gr.Button(words, min_width=80, scale=0, elem_id=f"dashboard-rank-{name}")
                for (rank, name), words in zip(PRIORITIES.items(), RANKS, strict=True)
            }
            self.question = gr.Textbox(
                label="Question", show_label=False, container=False, placeholder="Another question for annotators",
                max_length=2000, max_lines=1, min_width=200, scale=3, elem_id="dashboard-task-question",
            )  # fmt: skip
            self.ask = gr.Button("Ask this", min_width=90, scale=0, elem_id="dashboard-task-ask")
            self.quota = gr.Textbox(
                label="Annotators", show_label=False, container=False, placeholder="Annotators", max_length=5,
                max_lines=1, min_width=90, scale=1, elem_id="dashboard-task-quota",
            )  # fmt: skip
            self.want = gr.Button("Want so many", min_width=120, scale=0, elem_id="dashboard-task-want")
            self.to = gr.Dropdown(
                [NOWHERE], value="", label="Project", show_label=False, container=False, filterable=False,
                min_width=140, scale=1, elem_id="dashboard-task-project",
            )  # fmt: skip
            self.move = gr.Button("Move there", min_width=100, scale=0, elem_id="dashboard-task-move")

    def _connect(self, entry: Entry) -> None:
        service = self.service
        entry.on([self.state.input, self.search.submit], self._anew, self.where[:-1], self.shown)
        for button, step in ((self.more, PAGE), (self.before, -PAGE)):
            entry.on(button.click, partial(self._turn, step=step), self.where, self.shown)
        entry.on(self.gallery.click, self._click, [self.sent], self.one, js=CLICKED)

        def change(button: gr.Button, words: str, work: Callable[..., None], *inputs: gr.Textbox | gr.Dropdown) -> None:
            outputs = list(dict.fromkeys([*self.shown, *inputs]))
            entry.on(
                button.click, partial(self._change, work=work, words=words, emptied=inputs),
                [*self.where, self.image, *inputs, self.sent], outputs, js=TICKED,
            )  # fmt: skip

        change(self.offer, "given out", partial(service.set_open, is_open=True))
        change(self.close, "closed", partial(service.set_open, is_open=False))
        for rank, button in self.ranks.items():
            change(button, f"of the priority {PRIORITIES[rank]!r}", partial(service.set_task, priority=rank))
        change(self.ask, "asked about so", lambda claim, images, words: service.set_task(claim, images, question=words),
               self.question)  # fmt: skip
        change(self.want, "wanting so many", lambda claim, images, count: service.set_task(
            claim, images, quota=typed_number(count)), self.quota)  # fmt: skip
        change(self.move, "moved", lambda claim, images, slug: service.set_task(claim, images, project=slug), self.to)
        for button, words, work, more in (
            (self.gold, "A gold image from now on. ", service.set_gold, [self.path]),
            (self.usual, "No longer a gold image. ", service.clear_gold, []),
        ):
            change_one = partial(self._change_one, work=work, words=words)
            entry.on(button.click, change_one, [*self.where, self.image, *more], self.shown)
        entry.on(self.close_all.click, self._close_all, [*self.where, self.image, self.least], self.shown)

    def first(self, claim: Claim, project: str = MAIN_PROJECT) -> Values:
        """Show what is given out in a project to begin with."""
        others = [one for one in self.service.projects(claim) if one.slug != project]
        to = gr.Dropdown([NOWHERE, *choices_of(others)], value="")
        return {**self._anew(claim, project, "open", ""), self.state: "open", self.search: "", self.to: to}

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def _anew(self, claim: Claim, project: str, state: ImageState, search: str | None) -> Values:
        return self._page(claim, project, state, search, 0, "")

    def _turn(
        self, claim: Claim, project: str, state: ImageState, search: str | None, skip: int, *, step: int
    ) -> Values:
        return self._page(claim, project, state, search, skip + step, "")

    def _click(self, claim: Claim, sha256: str | None) -> Values:
        return self._showing(self.service.view(claim, sha256 or ""))

    def _change(
        self, claim: Claim, project: str, state: ImageState, search: str | None, skip: int, shown: str,
        *values: str | None, work: Callable[..., None], words: str, emptied: Sequence[gr.Textbox | gr.Dropdown],
    ) -> Values:  # fmt: skip
        """Change what is ticked, empty what was typed, and show all anew."""
        *typed, ticked = (value or "" for value in values)
        self.service.gate.admit(claim, "read", "admin")
        images = ticked_images(ticked, shown or "")
        work(claim, images, *typed)
        message = f"{counted(len(images), 'image is', 'images are')} {words}. "
        page = self._page(claim, project, state, search, skip, images[0] if len(images) == 1 else shown, message)
        return {**page, **dict.fromkeys(emptied, "")}

    def _change_one(
        self, claim: Claim, project: str, state: ImageState, search: str | None, skip: int, shown: str,
        *values: str | None, work: Callable[..., None], words: str,
    ) -> Values:  # fmt: skip
        """Change the image that is shown, and show all anew."""
        work(claim, shown or "", *(value or "" for value in values))
        return self._page(claim, project, state, search, skip, shown, words)

    def _close_all(
        self, claim: Claim, project: str, state: ImageState, search: str | None, skip: int, shown: str,
        least: float | None,
    ) -> Values:  # fmt: skip
        count = self.service.close_done(claim, least, project)
        return self._page(claim, project, state, search, skip, shown, f"{count:,} tasks are closed. ")

    def _page(
        self, claim: Claim, project: str, state: ImageState, search: str | None, skip: int, shown: str,
        message: str = "",
    ) -> Values:
        """Show a page, and on it one image: the one before, or the first."""
        cards = self.service.page(claim, state, skip, search or "", project)
        current = shown or (cards.listed[0].image.sha256 if cards.listed else "")
        page = gallery_html(cards.listed, cards.thumbs, cards.skip, cards.total, current)
        if current:
            one = self._showing(self.service.view(claim, current), message)
        else:
            one = {self.status: status(message + "There is no such image."), self.picture: "", self.image: "",
                   self.path: gr.Dropdown([CONSENSUS], value="")}  # fmt: skip
        return {self.gallery: page, self.skip: cards.skip, **one}

    def _showing(self, view: ShownImage, done: str = "") -> Values:
        paths = [CONSENSUS, *(choice_of(one) for one in view.stored)]
        return {
            self.status: status(done + _facts(view)),
            self.picture: _picture(view),
            self.path: gr.Dropdown(paths, value=""),
            self.image: view.listed.image.sha256,
        }


def _facts(view: ShownImage) -> str:
    listed, image = view.listed, view.listed.image
    state = "given out" if image.open else ("closed" if listed.offered else "an annotator's own image")
    gold = f"; gold, a path of {len(image.gold)}" if image.gold is not None else ""
    gold = f"; no longer gold, since {view.gold_gone}" if view.gold_gone else gold
    common = view.consensus
    agree = f"; consensus of {common.annotators}, {score(common.score)}" if common is not None else ""
    rank = f", {PRIORITIES[image.priority]} in line" if image.open and image.priority else ""
    quota = "" if image.gold is not None else f"{listed.done} of {image.quota} annotators; "
    count = quota + submitted(listed)
    return f"{short_name(image.name)}: {state}{rank}{gold}; {count}{agree}."


def _picture(view: ShownImage) -> str:
    image = view.listed.image
    alt = escape(f"Image {short_digest(image.sha256)}")
    known = {"patient": image.patient_id, **image.metadata} if image.patient_id else image.metadata
    metadata = "; ".join(f"{name}: {value}" for name, value in known.items() if value)
    size = f"{image.width_px} x {image.height_px} px. Asked: {image.question}" + (f" ({metadata})" if metadata else "")
    return (
        f'<figure class="dashboard-picture"><img src="{picture_uri(view.pixels, SHOWN_PX)}" alt="{alt}">'
        f"<figcaption>{escape(size)}</figcaption></figure>"
    )
