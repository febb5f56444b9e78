"""`make bench`: prints a table of ratios and writes benchmarks/results.json.

    python -m benchmarks.run [--repeats 5] [--wide-layers 2]
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.measure import Figure, import_seconds, interleaved_medians, peak_megabytes, run_python

if TYPE_CHECKING:
    from PIL import Image
    from torch.nn import Module

    from gazevlm_core.inference import GazeEngine

RESULTS = Path(__file__).with_name("results.json")
ANSWER_TOKENS, GLIMPSES = 64, 6
LARGE_PX, VIEWER_PX, SMALL_PX = 2000, 4000, 500
TEXT_LAYERS_3B, VISION_LAYERS_3B = 36, 32  # published depth of Qwen2.5-VL-3B
AT_LEAST = {
    "multimatch_speed_ratio": 20.0, "qlora_speedup": 1.5, "store_submissions_share_of_commits_1": 0.25,
    "store_submissions_share_of_commits_50": 0.25,
}  # fmt: skip
BARS = {
    "gaze_overhead_nano": 1.10, "gaze_overhead_3b_width": 1.10, "glimpse_overhead_nano": 1.25,
    "glimpse_overhead_3b_width": 1.25, "changed_path_answer_nano": 0.5, "changed_path_answer_3b_width": 0.5,
    "import_gazevlm_core_s": 0.3, "qlora_peak_memory_ratio": 1.0, "cold_start_over_imports": 1.15,
}  # fmt: skip


def gaze_figures(source: str, suffix: str, repeats: int, side_px: int) -> list[Figure]:
    """What looking costs on a checkpoint; see `overheads`."""
    from PIL import Image

    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.model.pointer import GazeHeads
    from phantoms.make import make_phantom

    engine = GazeEngine.load(source)
    if not engine.gaze_config.gaze_trained:  # of random weights all are as good
        gaze = replace(engine.gaze_config, gaze_trained=True, num_glimpses=GLIMPSES, repeats=False, use_offsets=True)
        engine.model.config.gaze_config = gaze
        engine.model.gaze_heads = GazeHeads(engine.model.config.text_config.hidden_size, gaze)
    image = Image.fromarray(make_phantom(0, size_px=side_px).image).convert("RGB")
    figures = overheads(engine, image, suffix, repeats)
    if engine.gaze_config.num_glimpses:
        figures += steering_figures(engine, image, suffix, repeats)
    if suffix == "nano":
        speedup = _batch_speedup(engine, repeats)
        figures.append(Figure("batch8_speedup", speedup, "eight singles over one batch of eight"))
    return figures


def overheads(
    engine: "GazeEngine", image: "Image.Image", suffix: str, repeats: int, *, tokens: int = ANSWER_TOKENS
) -> list[Figure]:
    """What looking costs on one model: overhead, time to the path, the walks' share of the pass; and what questions
    about one image gain by sharing it."""
    import torch

    from gazevlm_core.findings import FINDING_NAMES, presence_question
    from gazevlm_core.model.outputs import PrefillOutput
    from gazevlm_core.model.path_sampling import choose_path
    from gazevlm_core.options import DEFAULT_NUM_PATHS, DEFAULT_QUESTION

    model, exact = engine.model, {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}

    def one_pass(gaze: bool) -> PrefillOutput:
        return engine.prefill(engine.encode_images([image]), [DEFAULT_QUESTION], gaze=gaze)

    def path_of(prefilled: PrefillOutput, num_paths: int = DEFAULT_NUM_PATHS) -> None:
        choose_path(model.pointer_field(prefilled, 0), num_paths=num_paths)

    def with_gaze() -> None:
        prefilled = one_pass(gaze=True)
        path_of(prefilled)
        model.continue_text(prefilled, **exact)

    def with_glimpses() -> None:
        prefilled, _ = engine.prefill_with_paths(engine.encode_images([image]), [DEFAULT_QUESTION])
        model.continue_text(prefilled, **exact)

    done, glimpses = one_pass(gaze=True), engine.gaze_config.num_glimpses
    encoded = engine.encode_images([image] * (16 if suffix == "nano" else 1))  # as evaluated
    asked = [presence_question(name) for name in FINDING_NAMES] * len(encoded)
    once = [one for one in encoded for _ in FINDING_NAMES]
    apart = [replace(one) for one in once]
    with torch.no_grad():
        medians = interleaved_medians(
            {
                "with": with_gaze,
                **({"glimpses": with_glimpses} if glimpses else {}),
                "without": lambda: model.continue_text(one_pass(gaze=False), **exact),
                "path": lambda: path_of(one_pass(gaze=True)),
                "pass": lambda: one_pass(gaze=True),
                "walks": lambda: path_of(done),
                "walks32": lambda: path_of(done, num_paths=32),
                "apart": lambda: engine.prefill(apart, asked),
                "shared": lambda: engine.prefill(once, asked),
            },
            repeats,
        )
    return _overhead_figures(medians, suffix, glimpses)


def _overhead_figures(medians: Mapping[str, float], suffix: str, glimpses: int) -> list[Figure]:
    """The ratios of `overheads`, of the median seconds of each part."""
    from gazevlm_core.findings import FINDING_NAMES
    from gazevlm_core.options import DEFAULT_NUM_PATHS

    overhead, wide = medians["with"] / medians["without"], "" if suffix == "nano" else f"_{suffix}"
    seen = [Figure(
        f"glimpse_overhead_{suffix}", medians["glimpses"] / medians["without"],
        f"the same with {glimpses} glimpses, over no gaze tokens",
    )] if glimpses else []  # fmt: skip
    return [
        Figure(f"gaze_overhead_{suffix}", overhead, "image to path and 64 tokens, over no gaze tokens"),
        *seen,
        Figure(f"time_to_scanpath_share{wide}", medians["path"] / medians["with"], "image to path, of the whole"),
        Figure(f"walks32_share_of_pass{wide}", medians["walks32"] / medians["pass"], "32 walks and medoid, of a pass"),
        Figure(f"walks_share_of_pass{wide}", medians["walks"] / medians["pass"], f"the usual {DEFAULT_NUM_PATHS}"),
        Figure(
            f"questions_speedup{wide}", medians["apart"] / medians["shared"],
            f"{len(FINDING_NAMES)} questions about an image apart, over one pass over the image",
        ),
    ]


def steering_figures(engine: "GazeEngine", image: "Image.Image", suffix: str, repeats: int) -> list[Figure]:
    """How long a changed path takes to its first word and to its last, over the first answer about the image: a path of
    new places, and one of which a single place was moved, as on the page."""
    from itertools import count

    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.options import DEFAULT_QUESTION, DiagnoseOptions
    from gazevlm_core.scanpath import fixations_at

    number = count(1)  # no two paths are alike

    def words(asked: "GazeEngine", most: int, moved: int = GLIMPSES) -> None:
        across = 0.05 + 0.9 * (next(number) * 0.618 % 1)
        places = fixations_at([
            (across if step < moved else 0.5, (step + 0.5) / GLIMPSES) for step in range(GLIMPSES)
        ])  # fmt: skip
        answers = asked.stream(image, DEFAULT_QUESTION, DiagnoseOptions(look_at=places, max_new_tokens=ANSWER_TOKENS))
        for _, _ in zip(range(most), answers, strict=False):
            pass
        answers.close()

    ends = {"word": 2, "answer": 10**6}
    tasks: dict[str, Callable[[], None]] = {}
    for name, most in ends.items():
        tasks[f"first {name}"] = partial(lambda most: words(GazeEngine(engine.checkpoint), most), most)
        tasks[f"changed {name}"] = partial(words, engine, most)
        tasks[f"moved {name}"] = partial(words, engine, most, moved=1)
    medians = interleaved_medians(tasks, repeats)
    return [
        Figure(f"{key}_{name}_{suffix}", medians[f"{way} {name}"] / medians[f"first {name}"], f"{what} {end}")
        for way, key, what in (
            ("changed", "changed_path", "a path of new places, over the first answer, to its"),
            ("moved", "moved_fixation", "a path with one place moved, over the first answer, to its"),
        ) for name, end in (("word", "first word"), ("answer", "last word"))
    ]  # fmt: skip


def _batch_speedup(engine: "GazeEngine", repeats: int) -> float:
    from PIL import Image

    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.options import DEFAULT_QUESTION
    from phantoms.make import make_phantom

    images = [Image.fromarray(make_phantom(seed).image).convert("RGB") for seed in range(8)]
    medians = interleaved_medians(
        {
            # engines that have not seen the image
            "singles": lambda: [GazeEngine(engine.checkpoint).diagnose(image) for image in images],
            "batch": lambda: engine.diagnose_batch(images, [DEFAULT_QUESTION] * 8),
        },
        max(1, repeats // 2),
    )
    return medians["singles"] / medians["batch"]


def bytes_ratio(source: Path, text_layers: int, vision_layers: int) -> float:
    """Bytes in NF4 over bytes in bf16, measured per layer and summed over the real depth."""
    from gazevlm_core.model.checkpoint import load_checkpoint
    from gazevlm_core.options import Precision

    totals = []
    for precision in (Precision.NF4, Precision.BF16):
        model = load_checkpoint(str(source), precision=precision, device="cpu").model
        text = sum(_bytes(layer) for layer in model.get_decoder().layers) / text_layers
        vision = sum(_bytes(block) for block in model.get_encoder("image").blocks) / vision_layers
        rest = _bytes(model) - text * text_layers - vision * vision_layers
        totals.append(rest + text * TEXT_LAYERS_3B + vision * VISION_LAYERS_3B)
    return totals[0] / totals[1]


def _bytes(module: "Module") -> int:
    """Bytes of a module as on a GPU: what is not quantised counts two bytes, also on a CPU that wants four of it."""
    total = sum(tensor.numel() * min(tensor.element_size(), 2) for tensor in module.parameters())
    for part in module.modules():  # scales of 4-bit layers are no parameters
        state = getattr(getattr(part, "weight", None), "quant_state", None)
        if state is not None:
            total += state.absmax.numel() * state.absmax.element_size()
            total += state.state2.absmax.numel() * state.state2.absmax.element_size() if state.nested else 0
    return total


def page_figures(repeats: int) -> list[Figure]:
    """What the page adds to an answer: drawing, exports, and the time until the first diagnosis of a fresh process."""
    from PIL import Image

    from gazevlm_core.overlay import draw_overlay
    from gazevlm_core.replay import ReplayFormat, draw_replay, save_replay
    from phantoms.make import make_phantom
    from phantoms.readers import READERS, simulate_reading

    phantom = make_phantom(0, size_px=LARGE_PX)
    image, path = Image.fromarray(phantom.image), simulate_reading(phantom, READERS[0], 0)
    imports = "import gradio; from transformers import Qwen2_5_VLForConditionalGeneration"
    first = (
        "from diagnose.tab.page import diagnose_tab; from web.page import build_page\n"
        "from diagnose.catalogue import Catalogue; from diagnose.service import draw_example\n"
        "from app import open_models; from web.settings import Settings\n"
        "catalogue = Catalogue(open_models(Settings())); build_page([diagnose_tab(catalogue, catalogue.ask)])\n"
        "catalogue.find('').engine.diagnose(draw_example(0))"
    )
    with tempfile.TemporaryDirectory() as folder:

        def export() -> None:
            replay = draw_replay(image, path)
            for kind in ReplayFormat:
                save_replay(replay, Path(folder) / kind, kind)

        medians = interleaved_medians(
            {
                "overlay": lambda: draw_overlay(image, path),
                "replay": export,
                "imports": lambda: run_python(imports),
                "first": lambda: run_python(first),
            },
            max(1, repeats // 2),
        )
    cold_start = medians["first"] / medians["imports"]
    return [
        Figure("overlay_ms", 1000 * medians["overlay"], f"ms to draw a path over {LARGE_PX} px"),
        Figure("replay_export_s", medians["replay"], f"s to write an animation of {LARGE_PX} px in three formats"),
        Figure("cold_start_over_imports", cold_start, "to the first diagnosis, over imports"),
    ]


def viewer_figures() -> list[Figure]:
    """What a large image costs in the viewer; nothing without Chromium or Playwright."""
    from importlib.util import find_spec

    from benchmarks.viewer_frames import find_chromium, frame_times

    chromium = find_chromium()
    if chromium is None or find_spec("playwright") is None:
        typer.echo("no Chromium or no Playwright: the viewer is not measured (make test installs both)", err=True)
        return []
    times = frame_times(chromium, (VIEWER_PX, SMALL_PX))
    return [
        Figure("viewer_frame_ms", times[VIEWER_PX], f"ms of a frame, zooming {VIEWER_PX} px, without a GPU"),
        Figure(
            "viewer_frame_ratio", times[VIEWER_PX] / times[SMALL_PX], f"the same, over an image of {SMALL_PX} px"
        ),
    ]


def verdict(figure: Figure) -> str:
    """Whether a figure meets its bar; nothing where it has none."""
    most, least = BARS.get(figure.key), AT_LEAST.get(figure.key)
    if most is not None:
        return f"  bar <= {most:g}: {'met' if figure.value <= most else 'MISSED'}"
    return "" if least is None else f"  bar >= {least:g}: {'met' if figure.value >= least else 'MISSED'}"


def main(
    repeats: Annotated[int, typer.Option(help="Measured rounds.", min=1)] = 5,
    wide_layers: Annotated[int, typer.Option(help="Layers of the 3B-wide model, text and vision each.", min=1)] = 2,
) -> None:
    """Measure, print and save."""
    from benchmarks.qlora_speed import qlora_figures
    from benchmarks.score_speed import score_figures
    from benchmarks.store_speed import store_figures
    from gazevlm_core.quiet import quiet_libraries
    from scripts.make_large_checkpoint import main as make_large

    quiet_libraries()
    figures = [Figure("import_gazevlm_core_s", import_seconds("gazevlm_core"), "seconds over a bare interpreter")]
    figures += gaze_figures("gazevlm-nano", "nano", repeats, side_px=512)
    figures += page_figures(repeats)
    figures += viewer_figures()
    figures += [*score_figures(), *store_figures(), *qlora_figures()]
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder) / "wide"
        make_large(wide, text_layers=wide_layers, vision_layers=wide_layers, untied=False, shard="400MB")
        figures += gaze_figures(str(wide), "3b_width", max(1, repeats // 2), side_px=448)
        ratio = bytes_ratio(wide, wide_layers, wide_layers)
        figures.append(Figure("nf4_bytes_ratio", ratio, "NF4 over bf16, 3B at full depth, as on a GPU"))
    code = (
        "from gazevlm_core.inference import GazeEngine; from phantoms.make import make_phantom\n"
        "from PIL import Image; engine = GazeEngine.load()\n"
        "engine.diagnose(Image.fromarray(make_phantom(0).image).convert('RGB'))"
    )
    figures.append(Figure("peak_memory_nano_mb", peak_megabytes(code), "one diagnosis in a fresh process"))
    for figure in figures:
        typer.echo(f"{figure.key:37} {figure.value:10.4f}  {figure.meaning}{verdict(figure)}")
    RESULTS.write_text(json.dumps({figure.key: round(figure.value, 4) for figure in figures}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
