"""Single images on the page: listed by state, seen, offered, closed, made gold."""

from html import escape

import gradio as gr

from annotate.dashboard.admin.images.part import PAGE, ImageView
from annotate.dashboard.review.markup import choice_of, picture_uri
from annotate.dashboard.service import DashboardService
from annotate.dashboard.words import brief, score, shown_name
from annotate.store.lookup import ImageState, ListedImage
from web.identity import Claim
from web.markup import note, status
from web.page import QUIET, Values, remembered, told
from web.sign_in import Entry

STATES = [("own images of annotators", "own"), ("given out", "open"), ("closed", "closed"), ("gold", "gold")]
SHOWN_PX = 480
CONSENSUS = ("the consensus", "")
WHAT = (
    "An annotator's own image is nobody else's task until it is offered here: look whether it may be shown to others. "
    "A gold image has a known path; it is given to everybody once, unannounced, and tells how an annotator compares."
)
EMPTY = "There is no such image."


class ImagesView:
    """Components and handlers.

    Args:
        service: of the tab.
        entry: who asks.
    """

    def __init__(self, service: DashboardService, entry: Entry) -> None:
        self.part, self.entry = service.images, entry
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
        self._connect()

    def _connect(self) -> None:
        token, image = self.entry.token, self.image
        shown = [self.image, self.more, self.last, self.status, self.picture, self.path]
        self.state.input(self._begin, [token, self.state], shown, **QUIET)
        self.more.click(self._more, [token, self.state, self.last], shown, **QUIET)
        one = [self.status, self.picture, self.path]
        image.input(self._open, [token, image], one, **QUIET)
        self.offer.click(self._offer, [token, image], one, **QUIET)
        self.close.click(self._close, [token, image], one, **QUIET)
        self.gold.click(self._gold, [token, image, self.path], one, **QUIET)
        self.usual.click(self._usual, [token, image], one, **QUIET)

    def first(self, claim: Claim) -> Values:
        """Own images to begin with; for admins."""
        return self._page(claim, "own", "")

    # ---- handlers ---------------------------------------------------------------------------------------------------
    @told
    def _begin(self, token: str, state: ImageState, request: gr.Request) -> Values:
        return self._page(self.entry.claim(request, token), state, "")

    @told
    def _more(self, token: str, state: ImageState, last: str, request: gr.Request) -> Values:
        return self._page(self.entry.claim(request, token), state, last)

    @told
    def _open(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        return self._showing(self.part.view(self.entry.claim(request, token), sha256 or ""))

    @told
    def _offer(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.part.set_open(claim, sha256 or "", True)
        return self._showing(self.part.view(claim, sha256 or ""), "Given out from now on. ")

    @told
    def _close(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.part.set_open(claim, sha256 or "", False)
        return self._showing(self.part.view(claim, sha256 or ""), "No longer given out. ")

    @told
    def _gold(self, token: str, sha256: str | None, submission_id: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.part.set_gold(claim, sha256 or "", submission_id or "")
        return self._showing(self.part.view(claim, sha256 or ""), "A gold image from now on. ")

    @told
    def _usual(self, token: str, sha256: str | None, request: gr.Request) -> Values:
        claim = self.entry.claim(request, token)
        self.part.clear_gold(claim, sha256 or "")
        return self._showing(self.part.view(claim, sha256 or ""), "No longer a gold image. ")

    # ---- what is shown ----------------------------------------------------------------------------------------------
    def _page(self, claim: Claim, state: ImageState, after: str) -> Values:
        listed = self.part.page(claim, state, after)
        more = {self.more: gr.Button("More" if len(listed) == PAGE else "From the start")}
        if not listed:
            nothing = {self.image: gr.Dropdown([], value=None), self.status: status(EMPTY), self.picture: ""}
            return {**more, **nothing, self.last: "", self.path: gr.Dropdown([CONSENSUS], value="")}
        first = listed[0].image.sha256
        return {
            **more,
            **self._showing(self.part.view(claim, first), f"{len(listed)} listed. "),
            self.image: gr.Dropdown([(_choice(one), one.image.sha256) for one in listed], value=first),
            self.last: listed[-1].image.sha256 if len(listed) == PAGE else "",
        }

    def _showing(self, view: ImageView, done: str = "") -> Values:
        paths = [CONSENSUS, *(choice_of(one) for one in view.stored)]
        return {
            self.status: status(done + _facts(view)),
            self.picture: _picture(view),
            self.path: gr.Dropdown(paths, value=""),
        }


def _choice(listed: ListedImage) -> str:
    image = listed.image
    return f"{shown_name(image.name)}, {brief(image.sha256)}, {listed.submissions} submissions"


def _facts(view: ImageView) -> str:
    listed, image = view.listed, view.listed.image
    state = "given out" if image.open else ("closed" if listed.offered else "an annotator's own image")
    gold = f"; gold, a path of {len(image.gold)}" if image.gold is not None else ""
    common = view.consensus
    agree = f"; consensus of {common.annotators}, {score(common.score)}" if common is not None else ""
    return f"{shown_name(image.name)}: {state}{gold}; {listed.submissions} submissions of {image.quota} wanted{agree}."


def _picture(view: ImageView) -> str:
    image = view.listed.image
    alt = escape(f"Image {brief(image.sha256)}")
    size = f"{image.width_px} x {image.height_px} px. Asked: {image.question}"
    return (
        f'<figure class="dashboard-picture"><img src="{picture_uri(view.pixels, SHOWN_PX)}" alt="{alt}">'
        f"<figcaption>{escape(size)}</figcaption></figure>"
    )
