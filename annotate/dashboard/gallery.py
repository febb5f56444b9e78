"""Images as cards: looked at by a click, and ticked for what is done with many at once.

What is ticked and what was clicked stands in the page alone; TICKED and CLICKED bring it along with an event.
"""

from collections.abc import Sequence
from html import escape

from annotate.store.lookup import ListedImage
from annotate.store.model import PRIORITIES, StoreError
from gazevlm_core.annotation import is_digest
from web.formatting import counted, short_digest, short_name

PAGE = 24  # cards at a time
GALLERY = "dashboard-gallery"
NOTHING_TICKED = "Tick images first, or click one."
ON_CARD = """element.addEventListener("click", event => {
  const card = event.target.closest("[data-image]"), boxes = [...element.querySelectorAll("[name=task]")];
  if (card) {
    element.querySelectorAll("[aria-current]").forEach(one => one.removeAttribute("aria-current"));
    card.setAttribute("aria-current", "true");
    trigger("click");
  }
  if (event.target.matches("[name=all]")) for (const box of boxes) box.checked = event.target.checked;
  const all = element.querySelector("[name=all]"), count = boxes.filter(box => box.checked).length;
  if (!all) return;
  all.checked = count === boxes.length;
  element.querySelector("output").textContent = count ? `${count} ticked` : "";
});
// other cards may stand where ticked ones were: Gradio keeps the elements
watch("value", () => {
  for (const box of element.querySelectorAll("input")) box.checked = false;
  element.querySelector("output")?.replaceChildren();
});"""
# The last input of an event becomes what is ticked, or what was clicked.
TICKED = f"""(...given) => [...given.slice(0, -1),
  [...document.querySelectorAll("#{GALLERY} [name=task]:checked")].map(box => box.value).join(" ")]"""
CLICKED = f"""(...given) => [...given.slice(0, -1),
  document.querySelector("#{GALLERY} [aria-current]")?.dataset.image ?? ""]"""


def ticked_images(ticked: str, shown: str) -> list[str]:
    """Return what the page says is ticked; where nothing is, the image that is shown.

    Raises:
        StoreError: neither, too many, or what is no digest.
    """
    digests = list(dict.fromkeys(ticked.split() if len(ticked) <= 100 * PAGE else ["too many"])) or [shown]
    if not all(map(is_digest, digests)):
        raise StoreError(NOTHING_TICKED)
    return digests


def gallery_html(listed: Sequence[ListedImage], thumbs: Sequence[str], skip: int, total: int, current: str) -> str:
    """Return the cards of one page.

    Args:
        listed: images of the page.
        thumbs: data URI of each; "" for none.
        skip: how many come before.
        total: how many there are.
        current: digest of the one that is shown.
    """
    if not listed:
        return '<p class="gaze-note">There is no such image.</p>'
    cards = "".join(_card(one, uri, current) for one, uri in zip(listed, thumbs, strict=True))
    return (
        f'<div class="dashboard-gallery-bar"><label><input type="checkbox" name="all"> all of these</label>'
        f"<output></output><span>{skip + 1:,} to {skip + len(listed):,} of {total:,}</span></div>"
        f'<ul class="dashboard-cards">{cards}</ul>'
    )


def submitted(listed: ListedImage) -> str:
    """Return how many submissions there are; how many annotators are counted toward the quota is another number."""
    return counted(listed.submissions, "submission")


def _card(listed: ListedImage, uri: str, current: str) -> str:
    image = listed.image
    name, digest = escape(image.name), image.sha256
    here = ' aria-current="true"' if digest == current else ""
    picture = f'<img src="{uri}" alt="" loading="lazy">' if uri else "<i></i>"
    rank = PRIORITIES[image.priority]
    marks = [*([rank] if image.priority else []), *(["gold"] if image.gold is not None else [])]
    badges = "".join(f'<em class="dashboard-{mark}">{mark}</em>' for mark in marks)
    count = f"<small>{listed.done} of {image.quota}{'' if listed.wanted or not image.open else ', done'}</small>"
    count = f"{'' if image.gold is not None else count}<small>{submitted(listed)}</small>"
    patient = f"<small>patient {escape(short_name(image.patient_id))}</small>" if image.patient_id else ""
    return (
        f'<li><input type="checkbox" name="task" value="{digest}" aria-label="Tick {name}">'
        f'<button type="button" data-image="{digest}" title="{name}, {short_digest(digest)}"{here}>{picture}'
        f"<b>{escape(short_name(image.name))}</b>{count}{patient}</button>{badges}</li>"
    )
