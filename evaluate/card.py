"""The model card of the embedded checkpoint, from the JSON of `gazevlm evaluate`.

    gazevlm evaluate --dataset phantom --n 1000 --seed 4242 --reference FP32_FOLDER --json > results.json
    gazevlm evaluate --dataset nih --root NIH --split held-out --json > nih.json
    python -m evaluate.card --results results.json --films nih.json --recipe recipe.json --model models/gazevlm-nano
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evaluate.tables import (
    bar_table,
    facts_of,
    faithfulness_by_head,
    faithfulness_tables,
    model_name,
    phantom_long_tables,
    quantisation_table,
    tables_of,
)
from gazevlm_core.datasets.registry import ADAPTERS
from gazevlm_core.datasets.trained_on import PROVENANCE_FILE
from gazevlm_core.evaluation.checkpoint_scores import scores_of, write_scores
from gazevlm_core.evaluation.read_report import read_report
from gazevlm_core.evaluation.report import DatasetReport, PhantomReport
from web.markup import Table, markdown

if TYPE_CHECKING:
    from phantoms.calibration import CalibrationRow

CALIBRATION_PHANTOMS = 300
CALIBRATION_SIDE_PX = 256  # readings do not depend on it
FRONT_MATTER = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
language: en
tags:
  - medical-imaging
  - radiology
  - chest-x-ray
  - eye-tracking
  - scanpath
  - vision-language-model
  - qwen2.5-vl
  - synthetic-data
---"""
WHAT = """A Qwen2.5-VL of about four million parameters that shows where it looks before it speaks. Gaze tokens
`<st>` stand between question and answer; each points at the image patch that is fixated next. The places of this path
that are looked at longest are cut from the image at its own resolution and stand behind the gaze tokens as glimpses.
Finding head and words read gaze states and glimpses: another path gives another answer, as measured below. The language
model is stored in NF4, the vision tower and the embeddings in float16, the gaze heads in float32.

**A research demo, not for medical use.**"""
DATA = """Drawn phantom chest radiographs: line integrals through an analytic chest, with findings of known side and
severity (down to barely visible), templated reports, and scanpaths of simulated readers whose statistics were fitted to
those of real radiologists (below). Half of them are drawn as other machines and hospitals might (domain R). Hiatal
hernia and one reader ("apices and angles") were held back: the checkpoint has seen neither."""
FILM_DATA = """Beside them, radiographs of patients: their findings, and words made of their labels, which are noisy.
Nobody knows how a radiologist looked at these, so gaze on them is learned from phantoms alone. Patients are split by a
hash; `provenance.json` holds whom the checkpoint has seen, and `gazevlm evaluate` leaves them out. With thanks to:

{credits}"""
NO_FILMS = "No image of a patient was used."
LIMITS = """- Not a medical device, not for medical use. On radiographs of patients, a finding or a kind of film that
  is not scored above means nothing.
- Frontal views of the kinds of finding that the generator draws; English, in the wording of its templates.
- The readers are simulated. A second reading by the same simulated reader is the ceiling of the scanpath scores.
- A scanpath is no explanation of an answer. How far the answer rests on it is measured above.
- It answers the questions that it was taught, which `config.json` lists, and no others."""
TWINS = """Compare twins of one recipe with each other. Those with and without glimpses began from the same weights (the
base) and learned from the same examples in the same order, for `steps` steps; this checkpoint went on from the first of
them, before its learning rate fell, for `release steps` more. {earlier}"""
EARLIER_TWINS = """Ordered gaze, no gaze supervision (the same tokens and no pointer loss) and plain placeholders (the
pointer does not know which patch was fixated before) were trained from nothing by the base's recipe, on the same
examples in the same order, for fewer steps than the base."""
_EARLIER = "Trained from nothing by the base's recipe, for fewer steps and as long as its two like."
_PAIR = "Trained from the base on the same examples in the same order as its like."
TWIN_CARDS = {
    "base": "the release before it, which takes no glimpses: what it went on from. Trained from nothing on phantoms.",
    "glimpses": f"trained with glimpses for as few steps as the one without. {_PAIR}",
    "no-glimpses": f"without glimpses: its answers read the gaze states and the whole image alone. {_PAIR}",
    "fine": f"that sees the whole image as finely as glimpses are, and takes none. {_PAIR}",
    "short": f"with ordered gaze and without glimpses. {_EARLIER}",
    "no-gaze": f"without gaze supervision: the same tokens and no pointer loss, so it shows no scanpath. {_EARLIER}",
    "plain": f"with plain placeholders: its pointer does not know which patch was fixated before. {_EARLIER}",
}
EARLIER = ("short", "no-gaze", "plain")

FAITHFULNESS = """Counterfactuals on drawn phantoms: other paths, glimpses of the same patient without a finding, places
blurred, other orders. [What each number means](../../docs/explanation/faithfulness.md). Attention and shares of a
pooling are no proof; these are interventions."""
NOT_MEASURED = "Not measured (`gazevlm evaluate --faithfulness`)."
NO_TWINS = "No twin was scored beside this checkpoint."


def write_model_card(
    report: PhantomReport, calibration_rows: Sequence["CalibrationRow"], recipe: Mapping[str, Any], folder: Path,
    films: Sequence[DatasetReport] = (),
) -> Path:  # fmt: skip
    """Write README.md of a checkpoint folder, which may hold a provenance.json that names data sets.

    Args:
        report: of `gazevlm evaluate` for this checkpoint.
        calibration_rows: from `phantoms.calibration.calibration_table`.
        recipe: hyper-parameters by name, as `phantoms.nano` writes them; none where unknown.
        folder: of the checkpoint.
        films: of `gazevlm evaluate` on radiographs.

    Returns:
        Path of the card.
    """
    path, provenance = folder / "README.md", folder / PROVENANCE_FILE
    credits = json.loads(provenance.read_text(encoding="utf-8")).get("credits", {}) if provenance.is_file() else {}
    path.write_text(render_model_card(report, calibration_rows, recipe, films, credits), encoding="utf-8")
    return path


def write_twin_card(twin: str, folder: Path, own_name: str) -> Path:
    """Write README.md of a twin's folder: what it is for, and where its scores are.

    Args:
        twin: one of TWIN_CARDS.
        folder: of the twin.
        own_name: of the checkpoint that it is a twin of.
    """
    text = (
        f"{FRONT_MATTER}\n\n# {folder.name}\n\nA twin of [{own_name}](../{own_name}/README.md), {TWIN_CARDS[twin]} "
        f"It is there for the comparison alone; its scores stand beside those of {own_name}.\n\n"
        "**A research demo, not for medical use.**\n"
    )
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def render_model_card(
    report: PhantomReport, calibration_rows: Sequence["CalibrationRow"], recipe: Mapping[str, Any],
    films: Sequence[DatasetReport] = (), credits: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Return the card's text; arguments as in `write_model_card`, and whom to thank for the data, by data set."""
    bars = report.bars
    missed, unmeasured = sum(bar.met is False for bar in bars), sum(bar.met is None for bar in bars)
    first, last = report.phantom_seeds
    verdict = f"{len(bars) - missed - unmeasured} of {len(bars)} bars are met"
    verdict += f", {missed} missed" if missed else ""
    verdict += f", {unmeasured} not measured" if unmeasured else ""
    scored = (
        f"`gazevlm evaluate --dataset phantom --n {report.n} --seed {report.seed} --domain {report.domain}`"
        f" on phantoms {first} to {last}, which training has not seen. Brackets are {report.confidence:.0%} "
        f"bootstrap intervals over images ({report.resamples} resamples)."
    )
    thanks = "\n".join(f"- {credit}" for credit in (credits or {}).values())
    earlier = EARLIER_TWINS if any(role in report.scores for role in EARLIER) else ""
    statistics = [[row.statistic, f"{row.real:.3g}", f"{row.simulated:.3g}"] for row in calibration_rows]
    sections = {
        "Data": f"{DATA}\n\n{FILM_DATA.format(credits=thanks) if thanks else NO_FILMS}",
        "Recipe": markdown(Table("", ["setting", "value"], _recipe_rows(recipe, report.model))),
        "Scores": "\n\n".join([scored, *map(markdown, phantom_long_tables(report))]),
        **{_film_title(film): _film_scores(film) for film in films},
        "How far the path is believed": "\n\n".join(
            [FAITHFULNESS, *(markdown(table, 3) for table in faithfulness_tables(faithfulness_by_head(report)))]
        ) if report.faithfulness else NOT_MEASURED,
        "Twins": TWINS.format(earlier=earlier).rstrip() if len(report.scores) > 1 else NO_TWINS,
        "Quantisation": "Full precision less quantised, on the same images, in pairs.\n\n"
        + markdown(quantisation_table(report)),
        "Bars": f"{verdict}.\n\n" + markdown(bar_table(report)),
        "Readers": "Simulated readings beside those of radiologists (whole readings: Saab et al., MICCAI 2021; "
        "durations and dwell maps: GazeSearch release).\n\n"
        + markdown(Table("", ["statistic", "real", "simulated"], statistics)),
        "Limits": LIMITS,
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{FRONT_MATTER}\n\n# {report.model}\n\n{WHAT}\n\n{body}\n"


def _film_title(report: DatasetReport) -> str:
    return f"Scores on {report.dataset}, split {report.split}"


def _film_scores(report: DatasetReport) -> str:
    """Return what was measured on radiographs of patients whom the checkpoint has not seen."""
    name = next((name for name, adapter in ADAPTERS.items() if adapter.name == report.dataset), report.dataset)
    scored = f"`gazevlm evaluate --dataset {name} --root FOLDER --split {report.split}`: {report.records} radiographs."
    return "\n\n".join([scored, *facts_of(report)[1:], *(markdown(table, 3) for table in tables_of(report))])


def _recipe_rows(recipe: Mapping[str, Any], own_name: str) -> list[list[str]]:
    """Return what a recipe says by name; a checkpoint that goes on from one in its own folder has replaced that."""
    rows = {name.replace("_", " "): _text(value) for name, value in recipe.items()}
    if Path(str(recipe.get("base", ""))).name == own_name:
        rows["base"] = f"{own_name} as it was before"
    return [[name, value] for name, value in rows.items()]


def _text(value: object) -> str:
    if isinstance(value, dict):
        value = [f"{name} {one}" for name, one in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def own_reports(results: Path, films: Sequence[Path], name: str) -> tuple[PhantomReport, list[DatasetReport]]:
    """Return the reports that a card is made of.

    Raises:
        BadParameter: one of another kind, of another model or of an adapter, or two of the same images.
    """
    report, others = read_report(results), [(path, read_report(path)) for path in films]
    if not isinstance(report, PhantomReport):
        raise typer.BadParameter(f"{results}: these are not the scores of {name} on phantoms")
    measured = [one for _, one in others if isinstance(one, DatasetReport)]
    if len(measured) < len(others):
        raise typer.BadParameter("--films takes the JSON of `gazevlm evaluate --dataset NAME`")
    scored: list[tuple[Path, PhantomReport | DatasetReport]] = [(results, report), *zip(films, measured, strict=True)]
    for path, one in scored:
        if one.model != name or one.adapter is not None:
            raise typer.BadParameter(f"{path}: these are the scores of {model_name(one)}, not of {name}")
    twice = [title for title, count in Counter(map(_film_title, measured)).items() if count > 1]
    if twice:
        raise typer.BadParameter(f"--films has two reports for “{twice[0]}”; give one")
    return report, measured


def main(
    results: Annotated[Path, typer.Option(help="JSON of `gazevlm evaluate --json`.", exists=True, dir_okay=False)],
    model: Annotated[Path, typer.Option(help="Folder of the checkpoint.", exists=True, file_okay=False)],
    films: Annotated[
        list[Path] | None, typer.Option(help="JSON of the same on radiographs; may be given several times.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="JSON of the hyper-parameters, as a training writes it.", dir_okay=False)
    ] = None,
) -> None:
    """Write the model card of the embedded checkpoint."""
    from evaluate.command import twin_sources
    from phantoms.calibration import calibration_table
    from phantoms.make import make_phantom
    from phantoms.readers import READERS, simulate_reading

    report, measured = own_reports(results, films or (), model.resolve().name)
    start = report.phantom_seeds[0]
    phantoms = [make_phantom(seed, size_px=CALIBRATION_SIDE_PX) for seed in range(start, start + CALIBRATION_PHANTOMS)]
    readings = [(phantom, simulate_reading(phantom, reader, 0)) for phantom in phantoms for reader in READERS]
    settings = json.loads(recipe.read_text(encoding="utf-8")) if recipe else {}
    typer.echo(str(write_model_card(report, calibration_table(readings), settings, model, measured)))
    typer.echo(str(write_scores(model, scores_of(report))))
    for twin, folder in twin_sources(str(model)).items():
        if twin in report.scores:  # the others keep the cards that they have
            typer.echo(str(write_twin_card(twin, Path(folder), model.resolve().name)))
            typer.echo(str(write_scores(Path(folder), scores_of(report, twin))))


if __name__ == "__main__":
    typer.run(main)
