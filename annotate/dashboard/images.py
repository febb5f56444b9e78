"""What admins decide about single images: whether they are tasks, and whether their path is known."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import gradio as gr
from PIL import Image

from annotate.dashboard.review_detail import choice_of, picture_uri
from annotate.export.folder import submissions_of
from annotate.quality.agreement import Consensus, consensus
from annotate.store.lookup import ImageState, ListedImage, listed_image, listed_images
from annotate.store.model import Stored, StoreError
from annotate.store.store import AnnotationStore
from web.formatting import score, short_digest, short_name
from web.identity import Claim, Gate
from web.markup import note, status
from web.page import Values, remembered
from web.sign_in import Entry

PAGE = 50
MOST_OFFERED = 200  # submissions to choose a gold path from
ONLY = "This is one annotator's path alone, or none; choose the submission yourself."
FEWEST = 2  # annotators that make a consensus
STATES = [("own images of annotators", "own"), ("given out", "open"), ("closed", "closed"), ("gold", "gold")]
SHOWN_PX = 480
CONSENSUS = ("the consensus", "")
WHAT = (
    "An annotator's own image is nobody else's task until it is offered here: check that it may be shown to others. "
    "A gold image has a known path; it is given to everybody once, unannounced, and tells how an annotator compares."
)
EMPTY = "There is no such image."


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image as an admin sees it."""

    listed: ListedImage  # the image
    pixels: Image.Image  # of it
    stored: list[Stored]  # its submissions that are neither rejected nor removed; gold may be taken from one
    consensus: Consensus | None  # what gold from the consensus would be; None without submissions


class ImagesService:
    """For admins; NotAllowed for everybody else, StoreError where there is no such image or state."""

    def __init__(self, store: AnnotationStore, gate: Gate) -> None:
        self.store, self.gate = store, gate

    def page(self, claim: Claim, state: ImageState, after: str = "") -> list[ListedImage]:
        """Return images in a state, PAGE at a time, by digest."""
        self.gate.admit(claim, "read", "admin")
        return listed_images(self.store, state, after, PAGE)

    def view(self, claim: Claim, sha256: str) -> ShownImage:
        """Return one image with its pixels and submissions."""
        self.gate.admit(claim, "read", "admin")
        listed, stored = listed_image(self.store, sha256), self._usable(sha256)[-MOST_OFFERED:]
        return ShownImage(listed, self.store.pixels(sha256), stored, consensus(stored))

    def set_open(self, claim: Claim, sha256: str, is_open: bool) -> None:
        """Offer an image as a task, an annotator's own one too, or close it."""
        visitor = self.gate.admit(claim, "administer", "admin")
        self.store.set_open(sha256, is_open, visitor.pseudonym)

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

    def _usable(self, sha256: str) -> list[Stored]:
        return submissions_of(self.store, sha256, ["pending", "accepted"])


class ImagesView:
    """A list of images by state, the chosen one, and buttons that change its state."""

    def __init__(self, service: ImagesService, entry: Entry) -> None:
        self.service = service
        gr.HTML(note(WHAT))
        with gr.Row(elem_classes="dashboard-line"):
            self.state = gr.Radio(
                STATES, value="own", label="Images", min_width=280, scale=3, elem_id="dashboard-image-state"
            )
            self.image = gr.Dropdown(label="Image", min_width=240, scale=3, elem_id="dashboard-image")
            self.more = gr.Button("More", min_width=80, scale=0, elem_id="dashboard-image-more")
        self.status = gr.HTML(status(""), elem_id="dashboard-image-status")
        with gr.Row():
            with gr.Column(scale=3, min_width=280):
                self.picture = gr.HTML(elem_id="dashboard-picture")
            with gr.Column(scale=2, min_width=260):
                with gr.Row(elem_classes="dashboard-verdicts"):
                    self.offer = gr.Button("Offer as a task", min_width=110, elem_id="dashboard-offer")
                    self.close = gr.Button("Close", min_width=90, elem_id="dashboard-close")
                self.path = gr.Dropdown([CONSENSUS], value="", label="Known path from", elem_id="dashboard-gold-from")
                with gr.Row(elem_classes="dashboard-verdicts"):
                    self.gold = gr.Button("Make it gold", min_width=110, elem_id="dashboard-gold")
                    self.usual = gr.Button("No longer gold", min_width=110, elem_id="dashboard-usual")
        self.last = remembered("")  # digest of the last image that is listed
        self.one = [self.status, self.picture, self.path]
        self.shown = [self.image, self.more, self.last, *self.one]
        self._connect(entry)

    def _connect(self, entry: Entry) -> None:
        entry.on(self.state.input, self._page, [self.state], self.shown)
        entry.on(self.more.click, self._page, [self.state, self.last], self.shown)
        entry.on(self.image.input, self._view, [self.image], self.one)
        service = self.service
        for button, words, change, more in (
            (self.offer, "Given out from now on. ", lambda claim, image: service.set_open(claim, image, True), []),
            (self.close, "No longer given out. ", lambda claim, image: service.set_open(claim, image, False), []),
            (self.gold, "A gold image from now on. ", service.set_gold, [self.path]),
            (self.usual, "No longer a gold image. ", service.clear_gold, []),
        ):
            entry.on(button.click, self._changing(change, words), [self.image, *more], self.one)

    def first(self, claim: Claim) -> Values:
        """Show the annotators' own images to begin with."""
        return self._page(claim, "own")

    # ---- handlers ---------------------------------------------------------------------------------------------------
    def _view(self, claim: Claim, sha256: str | None) -> Values:
        return self._showing(self.service.view(claim, sha256 or ""))

    def _changing(self, change: Callable[..., None], words: str) -> Callable[..., Values]:
        """A handler that changes the chosen image, shows it anew and says what was done."""

        def handle(claim: Claim, *values: str | None) -> Values:
            sha256, *more = (value or "" for value in values)
            change(claim, sha256, *more)
            return self._showing(self.service.view(claim, sha256), words)

        return handle

    def _page(self, claim: Claim, state: ImageState, after: str = "") -> Values:
        listed = self.service.page(claim, state, after)
        more = {self.more: gr.Button("More" if len(listed) == PAGE else "From the start")}
        if not listed:
            nothing = {self.image: gr.Dropdown([], value=None), self.status: status(EMPTY), self.picture: ""}
            return {**more, **nothing, self.last: "", self.path: gr.Dropdown([CONSENSUS], value="")}
        first = listed[0].image.sha256
        return {
            **more,
            **self._showing(self.service.view(claim, first), f"{len(listed)} listed. "),
            self.image: gr.Dropdown([(_choice(one), one.image.sha256) for one in listed], value=first),
            self.last: listed[-1].image.sha256 if len(listed) == PAGE else "",
        }

    def _showing(self, view: ShownImage, done: str = "") -> Values:
        paths = [CONSENSUS, *(choice_of(one) for one in view.stored)]
        return {
            self.status: status(done + _facts(view)),
            self.picture: _picture(view),
            self.path: gr.Dropdown(paths, value=""),
        }


def _choice(listed: ListedImage) -> str:
    image = listed.image
    return f"{short_name(image.name)}, {short_digest(image.sha256)}, {listed.submissions} submissions"


def _facts(view: ShownImage) -> str:
    listed, image = view.listed, view.listed.image
    state = "given out" if image.open else ("closed" if listed.offered else "an annotator's own image")
    gold = f"; gold, a path of {len(image.gold)}" if image.gold is not None else ""
    common = view.consensus
    agree = f"; consensus of {common.annotators}, {score(common.score)}" if common is not None else ""
    return f"{short_name(image.name)}: {state}{gold}; {listed.submissions} submissions of {image.quota} wanted{agree}."


def _picture(view: ShownImage) -> str:
    image = view.listed.image
    alt = escape(f"Image {short_digest(image.sha256)}")
    size = f"{image.width_px} x {image.height_px} px. Asked: {image.question}"
    return (
        f'<figure class="dashboard-picture"><img src="{picture_uri(view.pixels, SHOWN_PX)}" alt="{alt}">'
        f"<figcaption>{escape(size)}</figcaption></figure>"
    )
