"""The model card of the embedded checkpoint, from the JSON of `gazevlm evaluate`.

    gazevlm evaluate --dataset phantom --n 1000 --seed 4242 --reference FP32_FOLDER --json > results.json
    python -m evaluate.card --results results.json --model models/gazevlm-nano
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evaluate.rows import markdown
from evaluate.tables import bar_table, believed_by_head, faithfulness_tables, phantom_long_tables, quantisation_table
from gazevlm_core.evaluation.checkpoint_scores import scores_of, write_scores
from gazevlm_core.evaluation.read_report import read_report
from gazevlm_core.evaluation.report import PhantomReport
from web.markup import Table

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
WHAT = """A Qwen2.5-VL of about four million parameters, trained from nothing, that shows where it looks before it
speaks. Gaze tokens `<st>` stand between question and answer; each points at the image patch that is fixated next, a
finding head gives one probability per finding, and the answer comes out of the same pass. Words and probabilities
read the gaze states and the whole image; the path that is drawn is decoded from the same states and not fed back. The
language model is stored in NF4, the vision tower and the embeddings in float16, the gaze heads in float32.

**Synthetic phantoms only, not for medical use.**"""
DATA = """Drawn phantom chest radiographs: line integrals through an analytic chest, with findings of known side and
severity (down to barely visible), templated reports, and scanpaths of simulated readers whose statistics were fitted to
those of real radiologists (below). No image of a patient was used. Hiatal hernia and one reader ("apices and angles")
were held back: the checkpoint has seen neither."""
LIMITS = """- Synthetic phantoms only: on real radiographs its words, probabilities and scanpaths are out of domain and
  mean nothing clinical. Not a medical device, not for medical use.
- Frontal views of the kinds of finding that the generator draws; English, in the wording of its templates.
- The readers are simulated. A second reading by the same simulated reader is the ceiling of the scanpath scores.
- A scanpath shows where gaze states point. It is no explanation of the answer: other paths come with the same
  words.
- It answers the questions that it was taught, which `config.json` lists, and no others."""
TWINS = """The twins were trained from nothing by one recipe on the same examples in the same order, for `steps` steps:
one with ordered gaze ("as short"), one without gaze supervision (the same tokens and no pointer loss), and the plain
placeholder form, which does not tell the pointer which patch was fixated before. Compare those three with each other.
This checkpoint went on from the first of them for `release steps` more."""
TWIN_CARDS = {
    "short": "as it was after as many steps as the other twins had",
    "no-gaze": "trained without gaze supervision: the same tokens and no pointer loss, so it shows no scanpath",
    "plain": "with plain placeholders: its pointer is not told which patch was fixated before",
}

BELIEVED = """Counterfactuals on drawn phantoms: other paths, glimpses of the same patient without a finding, places
blurred, other orders. [What each number means](../../docs/explanation/faithfulness.md). Attention and shares of a
pooling are no proof; these are interventions."""
NOT_MEASURED = "Not measured (`gazevlm evaluate --faithfulness`)."
NO_TWINS = "No twin was scored beside this checkpoint."


def write_model_card(
    report: PhantomReport, calibration_rows: Sequence["CalibrationRow"], recipe: Mapping[str, Any], folder: Path
) -> Path:
    """Write README.md of a checkpoint folder.

    Args:
        report: of `gazevlm evaluate` for this checkpoint.
        calibration_rows: from `phantoms.calibration.calibration_table`.
        recipe: hyper-parameters by name, e.g. `asdict(phantoms.nano.Recipe())`.
        folder: of the checkpoint.

    Returns:
        Path of the card.
    """
    path = folder / "README.md"
    path.write_text(render_model_card(report, calibration_rows, recipe), encoding="utf-8")
    return path


def write_twin_card(twin: str, folder: Path, own_name: str) -> Path:
    """Write README.md of a twin's folder: what it is for, and where its scores are.

    Args:
        twin: one of TWIN_CARDS.
        folder: of the twin.
        own_name: of the checkpoint that it is a twin of.
    """
    text = (
        f"{FRONT_MATTER}\n\n# {folder.name}\n\nA twin of [{own_name}](../{own_name}/README.md), {TWIN_CARDS[twin]}. "
        "Trained from nothing by the same recipe on the same examples, and there for the comparison alone; its scores "
        f"stand beside those of {own_name}.\n\n**Synthetic phantoms only, not for medical use.**\n"
    )
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def render_model_card(
    report: PhantomReport, calibration_rows: Sequence["CalibrationRow"], recipe: Mapping[str, Any]
) -> str:
    """Return the card's text; arguments as in `write_model_card`."""
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
    sections = {
        "Data": DATA,
        "Recipe": _table(
            ["setting", "value"], [[name.replace("_", " "), _text(value)] for name, value in recipe.items()]
        ),
        "Scores": "\n\n".join([scored, *map(markdown, phantom_long_tables(report))]),
        "How far the path is believed": "\n\n".join(
            [BELIEVED, *(markdown(table, 3) for table in faithfulness_tables(believed_by_head(report)))]
        ) if report.faithfulness else NOT_MEASURED,
        "Twins": TWINS if len(report.scores) > 1 else NO_TWINS,
        "Quantisation": "Full precision less quantised, on the same images, in pairs.\n\n"
        + markdown(quantisation_table(report)),
        "Bars": f"{verdict}.\n\n" + markdown(bar_table(report)),
        "Readers": "Simulated readings beside those of radiologists (whole readings: Saab et al., MICCAI 2021; "
        "durations and dwell maps: GazeSearch release).\n\n"
        + _table(
            ["statistic", "real", "simulated"],
            [[row.statistic, f"{row.real:.3g}", f"{row.simulated:.3g}"] for row in calibration_rows],
        ),
        "Limits": LIMITS,
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"{FRONT_MATTER}\n\n# {report.model}\n\n{WHAT}\n\n{body}\n"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown(Table("", heads, rows))


def main(
    results: Annotated[Path, typer.Option(help="JSON of `gazevlm evaluate --json`.", exists=True, dir_okay=False)],
    model: Annotated[Path, typer.Option(help="Folder of the checkpoint.", exists=True, file_okay=False)],
) -> None:
    """Write the model card of the embedded checkpoint."""
    from dataclasses import asdict

    from evaluate.command import twin_sources
    from phantoms.calibration import calibration_table
    from phantoms.make import make_phantom
    from phantoms.nano import Recipe
    from phantoms.readers import READERS, simulate_reading

    report = read_report(results)
    if not isinstance(report, PhantomReport) or report.model != model.resolve().name:
        raise typer.BadParameter(f"these are not the scores of {model.resolve().name}")
    start = report.phantom_seeds[0]
    phantoms = [make_phantom(seed, size_px=CALIBRATION_SIDE_PX) for seed in range(start, start + CALIBRATION_PHANTOMS)]
    readings = [(phantom, simulate_reading(phantom, reader, 0)) for phantom in phantoms for reader in READERS]
    typer.echo(str(write_model_card(report, calibration_table(readings), asdict(Recipe()), model)))
    typer.echo(str(write_scores(model, scores_of(report))))
    for twin, folder in twin_sources(str(model)).items():
        typer.echo(str(write_twin_card(twin, Path(folder), model.resolve().name)))
        if twin in report.scores:
            typer.echo(str(write_scores(Path(folder), scores_of(report, twin))))


if __name__ == "__main__":
    typer.run(main)
