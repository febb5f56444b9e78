"""A report at a glance: its answer in one sentence, and each score between chance and another reader.

A place on that line is (score - chance) / (other end - chance), so that 0 is chance and 1 the other end, whichever way
the score is better. Scores in which another reader is no better than chance have no such line, and are named instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from evaluate.rows import text
from evaluate.tables import TWINS, metrics_of, model_name, runs_of, variants_of
from gazevlm_core.evaluation.floors import UNIFORM, UNIFORM_PATCHES
from gazevlm_core.evaluation.report import (
    AUROC_NAME,
    BITS_NAME,
    SOURCES,
    DatasetPaths,
    DatasetReport,
    Difference,
    ExperimentReport,
    Metric,
    ModelScores,
    PathReport,
    PhantomReport,
    Report,
    Run,
    Score,
)
from gazevlm_core.metrics.labels import CHANCE
from gazevlm_core.metrics.registry import SEQUENCE
from web.formatting import counted
from web.formatting import score as number
from web.markup import Cell, Table

NO_MISTAKE = 1.0  # the other end of AUROC: there is no reader to compare with
AREA = "AUROC of the findings"
NO_LINE = "has nowhere to go: another reader is no better than chance"
GAZE_WORDS = {"original": "gaze in its order", "shuffled": "shuffled gaze", "random": "random gaze", "none": "no gaze"}
ORDER, PLACES = "Learning in which order people look", "learning where people look"
FORETOLD, TOLD_APART = "foretelling a reader's next patch", "telling findings apart"
# What was compared -> what was learned, what it may help, and how a difference is written.
EFFECTS = {
    (BITS_NAME, "original", "shuffled"): (ORDER, FORETOLD, "{} bits"),
    (AUROC_NAME, "original", "shuffled"): (ORDER, TOLD_APART, "AUROC {}"),
    (AUROC_NAME, "original", "none"): (PLACES, TOLD_APART, "AUROC {}"),
}
HELPS, HARMS = "helps", "harms"
NO_DIFFERENCE, UNKNOWN = "makes no visible difference to", "cannot be judged yet for"
CHANCES = (UNIFORM, UNIFORM_PATCHES)
Lines = dict[str, dict[str, "Dot"]]  # whose scores -> score -> where it lies


@dataclass(frozen=True)
class Dot:
    """A score on its line.

    Args:
        score: with its interval, where it has one.
        chance: what guessing gets.
        end: what another reader gets; without mistakes for findings.
        floors: name -> what something that knows less gets.
        higher_is_better: False for distances.
    """

    score: Score
    chance: float
    end: float
    floors: Mapping[str, Score] = field(default_factory=dict)
    higher_is_better: bool = True

    @property
    def drawn(self) -> bool:
        """Whether the other end is better than chance."""
        return self.end > self.chance if self.higher_is_better else self.end < self.chance

    def place(self, value: float) -> float:
        """Return where a value of this score lies: 0 is chance, 1 the other end."""
        return (value - self.chance) / (self.end - self.chance)

    @property
    def at(self) -> float:
        """Where the score lies."""
        return self.place(self.score.value or 0.0)

    @property
    def ends(self) -> tuple[float, float]:
        """Where its interval begins and ends."""
        low, high = sorted(self.place(value) for value in self.score.interval or [self.score.value or 0.0] * 2)
        return low, high


def lines_of(report: Report) -> Lines:
    """Return every score of a report that lies between chance and something better, by whose it is; the first is the
    report's own."""
    if isinstance(report, ExperimentReport):
        end, several = next(iter(report.domains.values())).other_reader, len(variants_of(report)) > 1
        return {
            f"{GAZE_WORDS[run.order]}, {run.variant}" if several else GAZE_WORDS[run.order]: {
                **_area(AREA, run.auroc),
                **(_dot(SEQUENCE, run.sequence, run.floors, end, higher=True) if run.sequence else {}),
            }
            for run in _largest_runs(report)
        }
    if isinstance(report, PhantomReport):
        own = model_name(report)
        return {own if role == "model" else TWINS[role]: _phantom(one) for role, one in report.scores.items()}
    if isinstance(report, DatasetReport):
        dots: dict[str, Dot] = {}
        for source, words in SOURCES.items():
            labels = getattr(report.scores, source)
            dots |= {} if labels is None else _area(f"{AREA}, {words}", labels.macro_auroc)
        paths = report.scores.scanpath
        return {model_name(report): {**dots, **(_paths(paths.metrics) if isinstance(paths, DatasetPaths) else {})}}
    return {"these paths": _paths(report.metrics)}


def _phantom(scores: ModelScores) -> dict[str, Dot]:
    """Return the scores of one model on phantoms; the sequence score is that on its own grid, as in the tables."""
    dots: dict[str, Dot] = {}
    for source, words in SOURCES.items():
        known = getattr(scores, source)
        dots |= {} if known is None else _area(f"{AREA}, {words}", known.all_severities.macro)
    if scores.paths is None:
        return dots
    one = scores.paths.sequence_score
    own = _dot(SEQUENCE, one, one.floors, one.other_reader, higher=True)
    return {**dots, **own, **_paths(metrics_of(scores.paths))}


def _area(name: str, score: Score | None) -> dict[str, Dot]:
    return {} if score is None or score.value is None else {name: Dot(score, CHANCE, NO_MISTAKE)}


def _paths(metrics: Mapping[str, Metric]) -> dict[str, Dot]:
    dots: dict[str, Dot] = {}
    for name, one in metrics.items():
        dots |= _dot(name, one, one.floors, one.ceiling_other_reader, higher=one.better == "higher")
    return dots


def _dot(
    name: str, own: Score, floors: Mapping[str, Score | float | None], end: Score | float | None, *,
    higher: bool,
) -> dict[str, Dot]:  # fmt: skip
    """Return a score of paths; nothing where it, chance or another reader was not measured."""
    known = {floor: score for floor, value in floors.items() if (score := _score(value)).value is not None}
    chance, other = next((known.pop(floor).value for floor in CHANCES if floor in known), None), _score(end).value
    if own.value is None or chance is None or other is None:
        return {}
    return {name: Dot(own if isinstance(own, Score) else Score(value=own.value), chance, other, known, higher)}


def _score(value: Score | float | None) -> Score:
    return value if isinstance(value, Score) else Score(value=value)


def any_drawn(lines: Lines) -> bool:
    """Return whether there is anything to draw."""
    return any(dot.drawn for dots in lines.values() for dot in dots.values())


def named_lines(reports: Mapping[str, Report]) -> Lines:
    """Return the lines of several reports by name; those of one alone keep their short names."""
    if len(reports) == 1:
        return lines_of(next(iter(reports.values())))
    return {f"{name}: {whose}": dots for name, report in reports.items() for whose, dots in lines_of(report).items()}


def side_by_side(lines: Lines) -> Table | None:
    """Return all scores with one column for each line; None where there are none."""
    names = list(dict.fromkeys(name for dots in lines.values() for name in dots))
    rows: list[Sequence[Cell]] = []
    for name in names:
        known = [dots.get(name) for dots in lines.values()]
        first = next(dot for dot in known if dot is not None)
        cells = [text(dot.score) if dot else "-" for dot in known]
        better = "higher is better" if first.higher_is_better else "lower is better"
        rows.append([(name, better), number(first.chance), *cells, number(first.end)])
    heads = ["score", "chance", *lines, "another reader"]
    notes = ["Chance and another reader are those of the first column; of AUROC the other end is 1, no mistake."]
    return Table("Every score, side by side", heads, rows, notes, folded=True) if rows else None


# ---- in one sentence ------------------------------------------------------------------------------------------------
def headline(report: Report) -> str:
    """Return the answer of a report in one sentence."""
    if isinstance(report, ExperimentReport):
        return _experiment_answer(report)
    dots = next(iter(lines_of(report).values()))
    areas = [_area_words(dot, name) for name, dot in dots.items() if name.startswith(AREA)]
    parts = areas[:1]
    parts += [("its path " if areas else "") + _path_words(dots[SEQUENCE])] if SEQUENCE in dots else []
    if not parts:
        return "No score of this report has both chance and another reader beside it."
    joined = "; ".join(parts)
    return f"The path {joined}." if isinstance(report, PathReport) or not areas else f"{model_name(report)} {joined}."


def _area_words(dot: Dot, name: str) -> str:
    source = name.removeprefix(AREA).lstrip(", ")
    return f"tells findings apart with AUROC {text(dot.score)} ({source}; 0.5 is guessing, 1 no mistake)"


def _path_words(dot: Dot) -> str:
    """Return how far a path gets, and whether that is more than something that knows less gets."""
    best = max(dot.floors, key=lambda floor: dot.floors[floor].value or 0.0, default="")
    beside = ""
    if best:  # as in the tables, an interval that touches the other, or none, shows no difference
        own, other = dot.score.interval, dot.floors[best].interval
        above = own is not None and other is not None and own[0] > other[1]
        beside = f"{'above' if above else 'not clearly above'} {best} ({number(dot.floors[best].value)})"
    words = f"goes {dot.at:.0%} of the way from chance to another reader" if dot.drawn else NO_LINE
    words += f" ({SEQUENCE} {text(dot.score)})"
    return ", ".join(filter(None, (words, beside)))


def _effects(report: ExperimentReport) -> dict[tuple[str, str, str], list[Difference]]:
    """Return each effect in every variant of the model, from most training images, on images drawn as in training."""
    differences = sorted(next(iter(report.domains.values())).differences, key=lambda one: one.images)
    found = {(one.score, one.first, one.second, one.variant): one for one in differences}  # with the most images
    told = {pair: [found[key] for variant in variants_of(report) if (key := (*pair, variant)) in found]
            for pair in EFFECTS}  # fmt: skip
    return {pair: effects for pair, effects in told.items() if effects}


def _experiment_answer(report: ExperimentReport) -> str:
    """Return one sentence with every effect; what is behind it is told by `details`."""
    clauses: dict[str, list[str]] = {}
    for pair, effects in _effects(report).items():
        subject, helped, _ = EFFECTS[pair]
        outcomes = dict.fromkeys(map(_outcome, effects))
        parts = [f"{next(iter(outcomes))} {helped}"]
        if len(outcomes) > 1:  # each variant speaks for itself
            (first, *others) = effects
            parts = [f"{_outcome(first)} {helped} {first.variant}"]
            parts += [f"{_outcome(one)} it {one.variant}" for one in others]
        clauses.setdefault(subject, []).append(" but ".join(parts))
    if not clauses:
        return "Nothing was compared in this experiment yet."
    answer = "; ".join(f"{subject} {' and '.join(told)}" for subject, told in clauses.items())
    return f"{answer[0].upper()}{answer[1:]}."


def details(report: Report) -> list[str]:
    """Return what the answer rests on, a sentence for each effect; nothing where the answer has its numbers itself."""
    told = _effects(report) if isinstance(report, ExperimentReport) else {}
    sizes = {_size(one) for effects in told.values() for one in effects}
    sentences = []
    for pair, effects in told.items():
        subject, helped, unit = EFFECTS[pair]
        numbers = [f"{one.variant} {unit.format(text(one))}" for one in effects]
        if len(sizes) > 1:
            numbers = [f"{words} ({_size(one)})" for words, one in zip(numbers, effects, strict=True)]
        sentences.append(f"{subject[0].upper()}{subject[1:]}, for {helped}: {', '.join(numbers)}.")
    return [*sentences, f"From {sizes.pop()}."] if len(sizes) == 1 else sentences


def _outcome(difference: Difference) -> str:
    """Return what a difference says by its interval; of one seed, or few images, there is none."""
    if difference.interval is None:
        return UNKNOWN
    low, high = difference.interval
    return HELPS if low > 0 else HARMS if high < 0 else NO_DIFFERENCE


def _size(difference: Difference) -> str:
    return f"{counted(difference.images, 'image')}, {counted(len(difference.by_seed), 'seed')}"


def _largest_runs(report: ExperimentReport) -> Iterator[Run]:
    """Return the runs of the first domain and variant with the most images, one for each order."""
    runs = runs_of(next(iter(report.domains.values())), variants_of(report)[0])
    most = max((run.images for run in runs), default=0)
    return (run for run in runs if run.images == most)
