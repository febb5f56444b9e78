"""The parts of `benchmarks.gpu`, each in a process of its own: NAME SECONDS FOLDER [--small].

Figures are printed as one JSON object on a line whenever there are more of them; the last line counts.
"""

import json
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import synchronized_s

if TYPE_CHECKING:
    import torch
    from transformers import TrainerCallback

    from finetune.config import FinetuneConfig
    from finetune.features import FeatureStore
    from finetune.trainer import AdaptTrainer
    from gazevlm_core.inference import GazeEngine
    from gazevlm_core.sample import Sample

GIGA = 1e9
IMAGES, LEAST_STEPS, MOST_STEPS, WARM_STEPS = 8, 3, 20, 2
WORDS = "The heart is of normal size, and both lungs are clear. "
PATCHES, GAZE_TOKENS = {False: 1024, True: 16}, {False: 48, True: 4}  # of the largest image, and K; in the small form
GPU_TESTS = "tests/model/test_gpu.py"


@dataclass
class Work:
    """What a part is given.

    Args:
        seconds: until it should be done.
        folder: for files.
        small: tiny models, on any device.
        figures: what it has found; `tell` prints it.
    """

    seconds: float
    folder: Path
    small: bool
    figures: dict[str, Any] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.begun + self.seconds - time.monotonic()

    def tell(self, **values: Any) -> None:
        """Add figures and print all of them."""
        self.figures.update(values)
        sys.stdout.write(json.dumps(self.figures) + "\n")
        sys.stdout.flush()

    def device(self) -> "torch.device":
        """CUDA; in the small form, what there is.

        Raises:
            CheckpointError: no CUDA.
        """
        from gazevlm_core.model.checkpoint import pick_device
        from gazevlm_core.quiet import quiet_libraries

        quiet_libraries()
        return pick_device("auto" if self.small else "cuda")


# ---- parts ----------------------------------------------------------------------------------------------------------
def device_part(work: Work) -> None:
    """Which machine this is."""
    import platform
    from importlib.metadata import version

    import torch

    from gazevlm_core.model.quantise import compute_dtype

    device = work.device()
    names = ("transformers", "peft", "accelerate", "bitsandbytes")
    work.tell(
        python=platform.python_version(), torch=torch.__version__, cuda=torch.version.cuda,
        versions={name: version(name) for name in names}, dtype=str(compute_dtype(device)), device=str(device),
    )  # fmt: skip
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        work.tell(
            name=torch.cuda.get_device_name(), capability=list(torch.cuda.get_device_capability()),
            memory_gb=round(total / GIGA, 2), free_gb=round(free / GIGA, 2),
        )  # fmt: skip


def tests_part(work: Work) -> None:
    """The tests that are marked `gpu`."""
    report = work.folder / "tests.xml"
    command = [
        sys.executable, "-m", "pytest", "-q", "-x" if work.small else "-ra", "-m", "gpu", "-p", "no:cacheprovider",
        f"--junitxml={report}", GPU_TESTS,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, work.left), check=False)
        printed, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as cut:
        printed, status = (cut.stdout or b"").decode(errors="replace"), -1  # bytes, whatever `text` says
    work.tell(**outcomes(report) if report.is_file() else {"said": printed[-1500:]}, status=status)


def outcomes(report: Path) -> dict[str, Any]:
    """How many tests passed, and which did not, with the first words of why."""
    found: dict[str, Any] = {"passed": 0, "skipped": 0, "failures": {}}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        if bad is not None:
            text = bad.text or ""
            found["failures"][case.get("name")] = f"{bad.get('message', '')[:400]} ... {text[-300:]}"
        else:
            found["skipped" if case.find("skipped") is not None else "passed"] += 1
    return found


def overhead_nano_part(work: Work) -> None:
    """What looking costs on the embedded model."""
    from benchmarks.run import gaze_figures

    work.device()
    figures = gaze_figures("gazevlm-nano", "nano", 1 if work.small else 5, side_px=512)
    work.tell(**{figure.key: round(figure.value, 4) for figure in figures})


def overhead_part(work: Work, size: str) -> None:
    """What looking costs at a true width."""
    import torch
    from PIL import Image

    from benchmarks.random_model import base_config, random_engine
    from benchmarks.run import overheads
    from phantoms.make import make_phantom

    device, patches = work.device(), PATCHES[work.small]
    begun = synchronized_s()
    engine = random_engine(
        work.folder / f"overhead-{size}", base_config("small" if work.small else size), device, patches=patches,
        gaze_tokens=GAZE_TOKENS[work.small],
    )  # fmt: skip
    work.tell(make_s=round(synchronized_s() - begun, 2))
    side = round((patches * engine.model.config.token_pixels) ** 0.5)
    image = Image.fromarray(make_phantom(0, size_px=side).image).convert("RGB")
    tokens = 8 if work.small else 64
    figures = overheads(engine, image, f"{size}_width", 1 if work.small else 5, tokens=tokens)
    work.tell(**{figure.key: round(figure.value, 4) for figure in figures})
    if device.type == "cuda":
        work.tell(peak_gb=round(torch.cuda.max_memory_allocated(device) / GIGA, 3))


def qlora_part(work: Work, size: str) -> None:
    """Fine-tuning at a true width, with all layers, as `gazevlm finetune` does it: features, steps, a scoring, and an
    adapter that is saved and read again."""
    import torch

    from benchmarks.random_model import base_config, random_engine
    from finetune.cases import read_cases

    device, patches = work.device(), PATCHES[work.small]
    begun, base = synchronized_s(), base_config("small" if work.small else size)
    engine = random_engine(
        work.folder / f"qlora-{size}", base, device, patches=patches, gaze_tokens=GAZE_TOKENS[work.small]
    )
    text = base.text_config
    work.tell(make_s=round(synchronized_s() - begun, 2), layers=text.num_hidden_layers, width=text.hidden_size)
    if device.type == "cuda":
        work.tell(weights_gb=round(torch.cuda.memory_allocated(device) / GIGA, 3))
    config = config_for(work, size)
    cases = read_cases(config)
    store = kept_features(work, size, engine, cases)
    trainer = train_steps(work, size, engine, config, cases, store)
    work.tell(computed_gb=round(computed_memory(config, size, patches, cuda=device.type == "cuda") / GIGA, 3))
    if device.type == "cuda":
        work.tell(
            peak_gb=round(torch.cuda.max_memory_allocated(device) / GIGA, 3),
            reserved_gb=round(torch.cuda.max_memory_reserved(device) / GIGA, 3),
        )
    score_and_reload(work, size, engine, cases, store, trainer)


def kept_features(work: Work, size: str, engine: "GazeEngine", cases: "Sequence[Sample]") -> "FeatureStore":
    """What the vision tower says of the images, and how long it took."""
    from finetune.features import FeatureStore, fill_features

    limits = engine.processor.image_processor.size
    store = FeatureStore(
        work.folder / f"features-{size}", size, (limits["shortest_edge"], limits["longest_edge"]),
        engine.checkpoint.dtype,
    )  # fmt: skip
    begun = synchronized_s()
    computed = fill_features(store, engine, cases)
    work.tell(vision_s_per_image=round((synchronized_s() - begun) / max(1, computed), 4))
    return store


def train_steps(
    work: Work, size: str, engine: "GazeEngine", config: "FinetuneConfig", cases: "Sequence[Sample]",
    store: "FeatureStore",
) -> "AdaptTrainer":  # fmt: skip
    """Steps until a quarter of the time is left, and how long they took."""
    import torch

    from benchmarks.qlora_speed import trained_parts
    from finetune.examples import AdaptCollator
    from finetune.trainer import AdaptTrainer

    device = engine.model.device
    steps, images = config.max_steps or MOST_STEPS, config.batch_size * config.accumulation
    adapted, arguments, items = trained_parts(config, cases, engine, steps, work.folder / size)
    seconds: list[float] = []
    clock = step_clock(lambda: work.left > work.seconds / 4, seconds)
    trainer = AdaptTrainer(
        model=adapted, args=arguments, train_dataset=items, callbacks=[clock],
        heads_learning_rate=config.heads_learning_rate,
        data_collator=AdaptCollator(engine.processor, engine.gaze_config, store=store),
    )  # fmt: skip
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainer.train()
    step_s = statistics.median(seconds[WARM_STEPS:])
    work.tell(
        step_s=round(step_s, 4), images_per_s=round(images / step_s, 3), steps=len(seconds),
        losses=[round(one["loss"], 4) for one in trainer.state.log_history if "loss" in one],
        batch_size=config.batch_size, accumulation=config.accumulation, optimizer=type(trainer.optimizer).__name__,
    )  # fmt: skip
    return trainer


def score_and_reload(
    work: Work, size: str, engine: "GazeEngine", cases: "Sequence[Sample]", store: "FeatureStore",
    trainer: "AdaptTrainer",
) -> None:  # fmt: skip
    """How long a scoring takes, and whether the adapter that is saved and read again scores alike."""
    from finetune.features import Batching
    from finetune.predict import predict_cases
    from finetune.trainer import load_weights

    batching = Batching(trainer.args.per_device_train_batch_size)
    begun = synchronized_s()
    scored = predict_cases(engine, cases, store, batching)
    work.tell(
        scoring_s_per_image=round((synchronized_s() - begun) / len(cases), 4),
        held_out={name: round(value, 4) for name, value in scored.losses.items()},
    )
    trainer.save_to(work.folder / f"adapter-{size}")
    load_weights(trainer.model, work.folder / f"adapter-{size}")
    again = predict_cases(engine, cases, store, batching)
    work.tell(reloaded_alike=again.losses == scored.losses)


def config_for(work: Work, size: str) -> "FinetuneConfig":
    """The defaults of a published base, on a few noisy images that somebody read."""
    from finetune.config import FinetuneConfig
    from finetune.defaults import with_base_defaults

    data = write_images(work.folder / f"data-{size}", 112 if work.small else 1000)
    large = f"Qwen/Qwen2.5-VL-{size.upper()}-Instruct"
    usual = FinetuneConfig(annotations=(str(data),), base="gazevlm-nano" if work.small else large)
    few = {"batch_size": 2, "max_steps": LEAST_STEPS} if work.small else {}
    return with_base_defaults(usual).model_copy(update={"gaze_weight": 1.0, "lora_dropout": 0.0, **few})


def write_images(folder: Path, side_px: int) -> Path:
    """A gaze folder of noise, with readings, findings and reports."""
    import numpy as np
    from PIL import Image

    from gazevlm_core.datasets.folder import write_gaze_folder
    from gazevlm_core.findings import FINDING_NAMES
    from gazevlm_core.sample import Reading, Sample
    from gazevlm_core.scanpath import Fixation, Scanpath

    rng = np.random.default_rng(0)

    def draw(number: int) -> Sample:
        image = Image.fromarray(rng.integers(0, 255, (side_px, side_px), dtype=np.uint8))
        places = zip(*(rng.random((2, 40)) * 0.9999).round(4).tolist(), strict=True)
        path = Scanpath(tuple(Fixation(x, y, 250.0) for x, y in places), "click")
        findings = {finding: float(rng.integers(2)) for finding in FINDING_NAMES}
        return Sample(str(number), image, report=WORDS * 2, findings=findings, readings=(Reading("ada", path),))

    return write_gaze_folder(folder, map(draw, range(IMAGES)))


def step_clock(goes_on: Callable[[], bool], seconds: list[float]) -> "TrainerCallback":
    """Notes the seconds of each step; ends the training when time is short, after LEAST_STEPS."""
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class StepClock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = synchronized_s()

        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
        ) -> None:
            seconds.append(synchronized_s() - self.begun)
            control.should_log = True
            if len(seconds) >= LEAST_STEPS and not goes_on():
                control.should_training_stop = True

    return StepClock()


def computed_memory(config: "FinetuneConfig", size: str, patches: int, *, cuda: bool) -> int:
    """What `finetune.room` says that this takes, in bytes."""
    from finetune.memory import published_sizes
    from finetune.room import BaseFacts, memory_for
    from gazevlm_core.options import Precision

    sizes = published_sizes(f"Qwen/Qwen2.5-VL-{size.upper()}-Instruct")
    assert sizes is not None
    return memory_for(config, BaseFacts(sizes, Precision.NF4, cuda, patches * sizes.token_pixels, 48)).total


PARTS: dict[str, Callable[[Work], None]] = {
    "device": device_part,
    "tests": tests_part,
    "overhead_nano": overhead_nano_part,
    "overhead_3b": lambda work: overhead_part(work, "3b"),
    "qlora_3b": lambda work: qlora_part(work, "3b"),
    "qlora_7b": lambda work: qlora_part(work, "7b"),
}


def main(name: str, seconds: str, folder: str, *flags: str) -> None:
    """One part."""
    PARTS[name](Work(float(seconds), Path(folder), "--small" in flags))


if __name__ == "__main__":
    main(*sys.argv[1:])
