"""What is asked: the model, the question with its presets, and the settings; as components and as a link."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from diagnose.catalogue import Catalogue, Choice
from diagnose.service import EXAMPLES
from diagnose.tab import markup
from gazevlm_core import __version__
from gazevlm_core.findings import presence_question
from gazevlm_core.options import (
    DEFAULT_NUM_PATHS,
    DEFAULT_PATH_TEMPERATURE,
    DEFAULT_QUESTION,
    DiagnoseOptions,
    PathChoice,
)
from gazevlm_core.scanpath import Fixation
from gazevlm_core.words import LONGEST_QUESTION, check_question
from web.markup import notice
from web.page import Values

TEMPERATURES = ("path_temperature", "text_temperature", "second_temperature")
MOST_WALKS, HOTTEST, LARGEST_SEED, LONGEST_NAME = 256, 2.0, 2**31 - 1, 200
SAME = "the same"  # shown for the second model where there is none
REPORT, WHAT_ELSE = "a report", "what else?"
PATH_WORDS = [
    ("what several tries agree on", PathChoice.CONSENSUS.value),
    ("the most typical of several tries", PathChoice.MEDOID.value),
    ("the likeliest next place, each time", PathChoice.ARGMAX.value),
    ("one try", PathChoice.SAMPLE.value),
]
ON_CHIP = """element.addEventListener("click", event => {
  const chip = event.target.closest("[data-preset]");
  if (chip) trigger("click", { preset: chip.dataset.preset });
});"""


# ---- presets --------------------------------------------------------------------------------------------------------
def _what_else(probabilities: Mapping[str, float], earlier: Sequence[str]) -> str:
    """Ask for the most probable finding that nobody has mentioned yet; ValueError where there is none."""
    if not probabilities:
        raise ValueError("There is no answer about this image yet; ask for a report first.")
    mentioned = " ".join(earlier).lower()
    left = {name: value for name, value in probabilities.items() if name.lower() not in mentioned}
    if not left:
        raise ValueError("Every finding that this model knows has been mentioned; ask in your own words.")
    return presence_question(max(left, key=left.__getitem__))


# What the chips offer before the findings: a question, or how to make one of the latest answer's probabilities
# (finding -> probability) and of all questions and answers about the image so far.
PRESETS: dict[str, str | Callable[[Mapping[str, float], Sequence[str]], str]] = {
    REPORT: DEFAULT_QUESTION,
    WHAT_ELSE: _what_else,
}


def presets(finding_names: Sequence[str], known_questions: Sequence[str] = ()) -> list[str]:
    """Return what a model can be asked for: PRESETS, then each finding.

    Args:
        finding_names: of its finding head.
        known_questions: the only ones that it answers; none where it answers any.
    """
    each = [one for one in map(presence_question, finding_names) if not known_questions or one in known_questions]

    def offered(question: object) -> bool:
        if callable(question):
            return bool(each)
        return question == DEFAULT_QUESTION or not known_questions or question in known_questions

    return [*(label for label, question in PRESETS.items() if offered(question)), *each]


def preset_question(preset: str, probabilities: Mapping[str, float], earlier: Sequence[str]) -> str:
    """Return the question behind a preset.

    Args:
        preset: from `presets`.
        probabilities: finding -> probability, of the latest answer about this image; empty where there is none.
        earlier: questions and answers about this image so far.

    Raises:
        ValueError: "what else?" before any answer, or when every finding has been mentioned.
    """
    question = PRESETS.get(preset, preset)
    return question(probabilities, earlier) if callable(question) else question


# ---- settings, and a link that holds them ---------------------------------------------------------------------------
@dataclass(frozen=True)
class Asking:
    """A question with its settings: the same ones give the same path and the same words.

    Raises:
        ValueError: what is wrong, in one sentence.
    """

    question: str  # in the user's words
    example: int | None = None  # number of the drawn example; None for an upload, which no link can hold
    model: str = ""  # name of what answers, as in the catalogue, which alone knows the names; "" for the usual one
    path: str = PathChoice.CONSENSUS.value  # a PathChoice
    walks: int = DEFAULT_NUM_PATHS  # behind a consensus or medoid path
    path_temperature: float = DEFAULT_PATH_TEMPERATURE  # of the walks; 0 is the arg-max walk
    path_seed: int = 0  # of the walks
    text_temperature: float = 0.0  # 0 is greedy
    text_seed: int = 0  # of sampled words
    second_model: str = ""  # what else answers, beside the first; "" for the same one
    second_temperature: float | None = None  # of the second path; None for the same as the first

    def __post_init__(self) -> None:
        check_question(self.question)
        if self.example is not None:
            _check_number("example", self.example, 0, len(EXAMPLES) - 1, integer=True)
        for name in ("model", "second_model"):
            if not isinstance(getattr(self, name), str) or len(getattr(self, name)) > LONGEST_NAME:
                raise ValueError(f"The {name.replace('_', ' ')} must be a name; choose one.")
        if self.path not in list(PathChoice):
            raise ValueError(f"The path must be one of {', '.join(PathChoice)}; choose one.")
        _check_number("number of walks", self.walks, 1, MOST_WALKS, integer=True)
        for name in TEMPERATURES:
            if getattr(self, name) is not None or name != "second_temperature":
                _check_number(name.replace("_", " "), getattr(self, name), 0, HOTTEST)
        for name in ("path_seed", "text_seed"):
            _check_number(name.replace("_", " "), getattr(self, name), 0, LARGEST_SEED, integer=True)

    def second(self) -> "Asking | None":
        """Return the same question in the second way; None where there is nothing to compare."""
        if not self.second_model and self.second_temperature is None:
            return None
        temperature = self.path_temperature if self.second_temperature is None else self.second_temperature
        other = replace(self, model=self.second_model or self.model, path_temperature=temperature)
        return replace(other, second_model="", second_temperature=None)

    def options(self) -> DiagnoseOptions:
        """Return the same for the engine."""
        return DiagnoseOptions(
            path=PathChoice(self.path),
            walks=self.walks,
            path_temperature=float(self.path_temperature),
            path_seed=self.path_seed,
            text_temperature=float(self.text_temperature),
            text_seed=self.text_seed,
        )


def to_query(asking: Asking) -> str:
    """Return the part of a link behind "?"; what is not known is left out."""
    return urlencode({name: value for name, value in asdict(asking).items() if value not in (None, "")})


def how_of(
    asking: Asking, example: int | None, look_at: Iterable[Fixation] = (), *, finished: bool = True
) -> dict[str, Any]:
    """Return what gives an answer again: question, model and settings, version, day, and for a drawn example the link.

    Args:
        asking: what was asked.
        example: number of the drawn example; None for an upload.
        look_at: the path, where it was changed by hand, which no link can hold.
        finished: whether the answer is complete; of one that is not "stopped" is true, and this gives all of it.
    """
    beside = {"example", "second_model", "second_temperature"}
    used = {name: value for name, value in asdict(asking).items() if name not in beside}
    places = [[one.x, one.y, one.duration_ms] for one in look_at]
    link: dict[str, Any] = {} if example is None else {"link": f"?{to_query(replace(asking, example=example))}"}
    if places:
        link = {"look_at": places}
    stopped = {} if finished else {"stopped": True}
    return {**used, **link, **stopped, "version": __version__, "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def from_query(query: Mapping[str, str], default_question: str) -> Asking:
    """Read a link; other keys in it are passed over.

    Raises:
        ValueError: a value that cannot be used, in one sentence.
    """
    kinds = dict.fromkeys(("question", "model", "path", "second_model"), str) | dict.fromkeys(TEMPERATURES, float)
    values: dict[str, str | int | float] = {"question": default_question}
    for field in fields(Asking):
        text = query.get(field.name)
        if text is None:
            continue
        try:
            values[field.name] = kinds.get(field.name, int)(text)
        except ValueError:
            raise ValueError(f"The {field.name.replace('_', ' ')} must be a number; change it.") from None
    return Asking(**values)  # type: ignore[arg-type]


def _check_number(name: str, value: object, low: float, high: float, *, integer: bool = False) -> None:
    fits = isinstance(value, int if integer else (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high:  # type: ignore[operator]
        kind = "whole number" if integer else "number"
        raise ValueError(f"The {name} must be a {kind} from {low:g} to {high:g}; change it.")


USUAL = Asking(DEFAULT_QUESTION)


def asking_of(example: int | None, question: str, settings: Sequence[Any]) -> Asking:
    """Return the checked values of a question and of the settings, all or the first of them.

    Raises:
        ValueError: what is wrong, in one sentence.
    """
    names = [field.name for field in fields(Asking)][2 : 2 + len(settings)]
    # a slider's integers may come as floats
    exact: list[Any] = [int(value) if isinstance(value, float) and value.is_integer() else value for value in settings]
    values = dict(zip(names, exact, strict=True))
    if "second_temperature" in values:
        values["second_temperature"] = _temperature(values["second_temperature"])
    return Asking(question, example, **values)


def _temperature(text: str | None) -> float | None:
    """Return what was typed; nothing is None. Raises ValueError for words."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        raise ValueError("The second temperature must be a number; change it.") from None


# ---- components -----------------------------------------------------------------------------------------------------
def answer_settings() -> list[gr.components.Component]:
    """Return one component per setting of `Asking` that decides an answer, from the path to the seed of the words."""
    seed: dict[str, Any] = {"precision": 0, "minimum": 0, "maximum": LARGEST_SEED}
    return [
        gr.Radio(PATH_WORDS, value=USUAL.path, label="Path that is shown"),
        gr.Slider(1, MOST_WALKS, USUAL.walks, step=1, label="Tries to choose the most typical from"),
        gr.Slider(0, HOTTEST, USUAL.path_temperature, step=0.05, label="How varied the tries are (temperature)"),
        gr.Number(USUAL.path_seed, label="Seed of the tries: the same one gives the same path", **seed),
        gr.Slider(0, HOTTEST, USUAL.text_temperature, step=0.05, label="How varied the words are; 0: the likeliest"),
        gr.Number(USUAL.text_seed, label="Seed of the words: the same one gives the same answer", **seed),
    ]


class AskingForm:
    """Model, question, settings and what to compare with; `settings` are the values of `Asking` behind the example."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def notice_line(self) -> None:
        """Make the line on what the page is not, and what the chosen model has seen."""
        words = notice(self.catalogue.find("").gaze.trained_on)
        self.notice = gr.HTML(words, elem_id="notice", elem_classes="gaze-notice-line")

    def question_box(self) -> None:
        """Make the box for the question."""
        self.question = gr.Textbox(
            DEFAULT_QUESTION, label="Question", placeholder="Ask about this image", lines=2, max_lines=4,
            max_length=LONGEST_QUESTION, show_label=False, container=False, min_width=120, elem_id="question",
        )  # fmt: skip

    def choices(self) -> None:
        """Make what may be left alone: presets, the model with its badges, what to compare with, and the settings."""
        choices = self.catalogue.choices()
        usual, names = next(iter(choices.values())), list(choices)
        self.preset = gr.HTML(_chips_of(usual), js_on_load=ON_CHIP, elem_id="preset")
        with gr.Row(elem_id="ask-more"):
            self._more(usual, names)
        self.picked = [self.notice, self.model, self.badges, self.second_model, self.second_badges, self.preset]

    def _more(self, usual: Choice, names: list[str]) -> None:
        self.model = gr.Dropdown(
            names, value=usual.name, label="Model", filterable=False, min_width=150, elem_id="model"
        )  # fmt: skip
        with gr.Accordion("Compare", open=False, elem_id="compare"):
            self.second_model = gr.Dropdown(
                [(SAME, ""), *names], value="", label="with another model or adapter",
                filterable=False, elem_id="second-model",
            )  # fmt: skip
            self.second_badges = gr.HTML(elem_id="second-badges")
            self.second_temperature = gr.Textbox(  # an empty gr.Number becomes 0 when it is first shown
                label="with more or less varied paths: a temperature (empty: the same)", max_length=10, elem_id="second"
            )
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            settings = answer_settings()
            self.badges = gr.HTML(markup.badges(usual.facts()), elem_id="badges")
            self.make_link = gr.Button("Make a link to this", elem_id="make-link", size="sm")
            self.link = gr.Textbox(
                label="Link",
                info="Holds model, question, settings and a drawn example; an upload is not part of it.",
                interactive=False, visible=False, buttons=["copy"], elem_id="link",
            )  # fmt: skip
        self.settings: list[Any] = [self.model, *settings, self.second_model, self.second_temperature]

    def refreshed(self, model: str, second: str) -> Values:
        """Return values of `picked` for the models that there are now; one that has gone gives way to the usual one."""
        choices = self.catalogue.choices()
        model = model if model in choices else next(iter(choices))
        second = second if second in choices else ""
        chosen = choices[model]
        others = [(SAME, ""), *((name, name) for name in choices)]
        return {
            self.model: gr.Dropdown(list(choices), value=model),
            self.notice: notice(chosen.gaze.trained_on),
            self.badges: markup.badges(chosen.facts()),
            self.second_model: gr.Dropdown(others, value=second),
            self.second_badges: markup.badges(choices[second].facts()) if second else "",
            self.preset: _chips_of(chosen),
        }


def _chips_of(choice: Choice) -> str:
    """Return what can be asked, as buttons."""
    finding_of = {presence_question(name): f"{name}?" for name in choice.gaze.finding_names}
    offered = presets(choice.gaze.finding_names, choice.gaze.known_questions)
    return markup.chips({preset: finding_of.get(preset, preset) for preset in offered})
