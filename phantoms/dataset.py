"""Phantoms as a data set: cases with readings, reports and answers, and samples of them.

Training wants tens of thousands of cases, so they are drawn once into shards (`PhantomShards`); evaluation draws its
own.
"""

import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from gazevlm_core.findings import FINDING_NAMES, QUESTIONS, REPORT_QUESTION, presence_question
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.case import stream
from phantoms.make import Phantom, render_twins, sample_case
from phantoms.readers import LONGEST_READING, READERS, simulate_reading
from phantoms.report import presence_answer, write_report

TRAINING_SEEDS = range(1_000_000, 2_000_000)  # evaluation refuses these
REPORT_STYLES = 3
PATCH_PX = 28  # side of an image token of the embedded model, in pixels of the resized image
SHARD_CASES = 250
DRAWING = 2  # raise it whenever a seed draws or reads another phantom than before: older shards are then drawn anew
MASK_CELLS = 64  # a side


@dataclass(frozen=True)
class FindingLabel:
    """One finding of a case: name, the patient's side, zone in a report's words, severity in (0, 1]."""

    name: str
    side: str
    zone: str
    severity: float


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """What training and evaluation need of one phantom.

    Args:
        seed, domain: of the phantom.
        image: uint8 [H, W].
        findings: what is there.
        reports: the same findings in REPORT_STYLES wordings.
        presence_answers: finding name -> answer to its presence question.
        readings: [reader][reading], simulated scanpaths.
        masks: finding name -> uint8 [MASK_CELLS, MASK_CELLS], how much of each cell it covers, 255 for all.
        twin: the same patient without one of the findings, and without readings; None where none was drawn.
    """

    seed: int
    domain: str
    image: np.ndarray
    findings: tuple[FindingLabel, ...]
    reports: tuple[str, ...]
    presence_answers: dict[str, str]
    readings: tuple[tuple[Scanpath, ...], ...]
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    twin: "PhantomCase | None" = None

    @property
    def finding_names(self) -> frozenset[str]:
        """Names of the findings that are there."""
        return frozenset(finding.name for finding in self.findings)


def draw_case(
    seed: int,
    domain: str = "A",
    *,
    sizes_px: Sequence[int] = (512,),
    model_pixels: tuple[int, int] | None = None,
    readings_per_reader: int = 1,
    max_fixations: int = LONGEST_READING,
    twins: bool = False,
) -> PhantomCase:
    """Draw one phantom with all readings.

    Args:
        seed: of the phantom.
        domain: "A", "B", or "R" to train on.
        sizes_px: longer side of the drawn image; several are taken in turn, by seed.
        model_pixels: shrink the image as a processor with these bounds (least, most) on its pixels would; None
            keeps it.
        readings_per_reader: how often each of READERS reads it.
        max_fixations: longest reading; by default none is cut.
        twins: draw it without one of its findings, too.
    """
    case, size_px = sample_case(seed, domain), sizes_px[seed % len(sizes_px)]
    names = sorted(finding.name for finding in case.findings)
    chosen = names[int(stream(seed, domain, "twin").integers(len(names)))] if twins and names else ""
    phantom, drawn = render_twins(case, size_px=size_px, names=[chosen])
    readings = tuple(
        tuple(simulate_reading(phantom, reader, number, max_fixations=max_fixations)
              for number in range(readings_per_reader))
        for reader in READERS
    )  # fmt: skip
    found = _case_of(phantom, model_pixels)
    if not chosen:
        return replace(found, readings=readings)
    left = tuple(finding for finding in phantom.findings if finding.name != chosen)
    twin = _case_of(replace(phantom, image=drawn[chosen], findings=left), model_pixels)
    return replace(found, readings=readings, twin=twin)


def _case_of(phantom: Phantom, model_pixels: tuple[int, int] | None) -> PhantomCase:
    """Return what training needs of a phantom but for its readings."""
    return PhantomCase(
        seed=phantom.seed,
        domain=phantom.domain,
        image=phantom.image if model_pixels is None else shrunk(phantom.image, model_pixels),
        findings=tuple(FindingLabel(f.name, f.side, f.zone, float(f.severity)) for f in phantom.findings),
        reports=tuple(write_report(phantom, style) for style in range(REPORT_STYLES)),
        presence_answers={name: presence_answer(phantom, name, 0) for name in FINDING_NAMES},
        readings=(),
        masks={finding.name: _cells(finding.mask) for finding in phantom.findings},
    )


def _cells(mask: np.ndarray) -> np.ndarray:
    """Return how much of each cell a mask covers; see `PhantomCase.masks`."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize((MASK_CELLS, MASK_CELLS), Image.Resampling.BOX))


def shrunk(image: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    """Return an image [H, W] resized as the embedded model's processor would, given the fewest and most pixels."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    height, width = smart_resize(*image.shape, factor=PATCH_PX, min_pixels=bounds[0], max_pixels=bounds[1])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _draw(job: tuple[int, str, dict[str, Any]]) -> PhantomCase:
    seed, domain, options = job
    return draw_case(seed, domain, **options)


def draw_cases(
    seeds: Iterable[int], domain: str = "A", *, workers: int = 2, **options: Any
) -> Iterator[PhantomCase]:
    """Draw many cases in order, in worker processes; options as in `draw_case`."""
    jobs = [(seed, domain, options) for seed in seeds]
    with ProcessPoolExecutor(max_workers=workers) as pool:
        yield from pool.map(_draw, jobs, chunksize=8)


def _case_to_json(case: PhantomCase) -> dict[str, Any]:
    return {
        "seed": case.seed,
        "domain": case.domain,
        "shape": case.image.shape,
        "findings": [asdict(finding) for finding in case.findings],
        "reports": case.reports,
        "presence_answers": case.presence_answers,
        "readings": [
            [[(f.x, f.y, f.duration_ms, f.onset_ms) for f in path] for path in reader] for reader in case.readings
        ],
        "twin": None if case.twin is None else _case_to_json(case.twin),
    }


def _case_from_json(values: dict[str, Any], pixels: Iterator[np.ndarray], masks: Iterator[np.ndarray]) -> PhantomCase:
    """Return a case, its image and masks taken from those of a shard in order, before those of its twin."""
    return PhantomCase(
        seed=values["seed"],
        domain=values["domain"],
        image=next(pixels).reshape(values["shape"]),
        findings=tuple(FindingLabel(**finding) for finding in values["findings"]),
        reports=tuple(values["reports"]),
        presence_answers=values["presence_answers"],
        readings=tuple(
            tuple(Scanpath(tuple(Fixation(*fixation) for fixation in path), "simulated") for path in reader)
            for reader in values["readings"]
        ),
        masks={finding["name"]: next(masks) for finding in values["findings"]},
        twin=_case_from_json(values["twin"], pixels, masks) if values["twin"] else None,
    )


class PhantomShards:
    """Cases on disk, SHARD_CASES per file, made where they are missing.

    Args:
        folder: where the shards lie.
        seeds: seeds of the cases; a multiple of SHARD_CASES.
        options: of `draw_case`; a shard is named by all of them, and by DRAWING.
    """

    def __init__(self, folder: Path, seeds: Sequence[int], **options: Any) -> None:
        if len(seeds) % SHARD_CASES:
            raise ValueError(f"the number of cases must be a multiple of {SHARD_CASES}, got {len(seeds)}")
        self.folder, self.seeds, self.options = folder, seeds, options

    def make(self, workers: int = 2) -> None:
        """Draw the shards that are missing; an interrupted run goes on where it stopped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(self.seeds), SHARD_CASES):
            path = self._path(start)
            if path.exists():
                continue
            cases = list(draw_cases(self.seeds[start : start + SHARD_CASES], workers=workers, **self.options))
            kept = [one for case in cases for one in (case, case.twin) if one is not None]
            pixels = np.concatenate([one.image.ravel() for one in kept])
            ends = np.cumsum([one.image.size for one in kept])
            partial = path.with_suffix(".partial.npz")
            masks = [one.masks[finding.name] for one in kept for finding in one.findings]
            cells = np.stack(masks) if masks else np.zeros((0, MASK_CELLS, MASK_CELLS), np.uint8)
            meta = np.array(json.dumps([_case_to_json(case) for case in cases]))
            np.savez(partial, pixels=pixels, ends=ends, masks=cells, meta=meta)
            partial.rename(path)

    def load(self) -> list[PhantomCase]:
        """Return all cases in memory (about 200 kB each at the resolution of the embedded model's glimpses)."""
        cases = []
        for start in range(0, len(self.seeds), SHARD_CASES):
            with np.load(self._path(start)) as shard:
                pixels, masks = iter(np.split(shard["pixels"], shard["ends"][:-1])), iter(shard["masks"])
                cases += [_case_from_json(values, pixels, masks) for values in json.loads(str(shard["meta"]))]
        return cases

    def _path(self, start: int) -> Path:
        """Return where the shard lies that begins with a seed: as it is drawn today, and no other one's place."""
        seeds = list(self.seeds[start : start + SHARD_CASES])
        drawn = inspect.signature(draw_case).bind(seeds[0], **self.options)
        drawn.apply_defaults()
        options = {**drawn.arguments, "seed": seeds, "drawing": DRAWING}
        digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
        return self.folder / f"phantoms-{seeds[0]}-{digest[:12]}.npz"


def sample_of(case: PhantomCase) -> Sample:
    """Return all that is known of a case: every reading, every finding, and the first wording of its report."""
    return Sample(
        image_id=f"phantom {case.domain}{case.seed}",
        image=Image.fromarray(case.image),
        question=REPORT_QUESTION,
        report=case.reports[0],
        findings={name: float(name in case.finding_names) for name in FINDING_NAMES},
        readings=tuple(
            Reading(reader.name, path)
            for reader, paths in zip(READERS, case.readings, strict=bool(case.readings))  # a twin has none
            for path in paths
        ),
        masks=case.masks,
        dataset="phantom",
    )


def training_sample(
    case: PhantomCase, rng: np.random.Generator, presence_share: float = 0.4, about: str = "",
    question_weights: Mapping[str, float] = MappingProxyType({}),
) -> Sample:  # fmt: skip
    """Return a case with one question: a report, or the presence of one finding, of `about` or of one that is present
    or absent alike often.

    Args:
        question_weights: how much more often than others the presence of a finding is asked for, there or not.
    """
    if rng.random() < presence_share:
        present, absent = case.finding_names, [name for name in FINDING_NAMES if name not in case.finding_names]
        pool = sorted(present) if present and rng.random() < 0.5 else absent
        weights = np.array([question_weights.get(name, 1.0) for name in pool])
        name = about or pool[int(rng.choice(len(pool), p=weights / weights.sum()))]
        question, answer = presence_question(name), case.presence_answers[name]
    else:
        question = QUESTIONS[int(rng.integers(len(QUESTIONS)))]
        answer = case.reports[int(rng.integers(len(case.reports)))]
    return replace(sample_of(case), question=question, report=answer)


def counterfactual_sample(
    case: PhantomCase, rng: np.random.Generator, presence_share: float = 0.4,
    question_weights: Mapping[str, float] = MappingProxyType({}),
) -> Sample:  # fmt: skip
    """Return a case or its twin with one question, and the other one as what is seen small: labels and answer are those
    of what is glimpsed at. Arguments as of `training_sample`.

    Raises:
        ValueError: a case without a twin.
    """
    if case.twin is None:
        raise ValueError(f"phantom {case.domain}{case.seed} was drawn without a twin")
    (lacking,) = case.finding_names - case.twin.finding_names
    glimpsed, small = (case, case.twin) if rng.random() < 0.5 else (case.twin, case)
    about = lacking if rng.random() < 0.5 else ""
    sample = training_sample(glimpsed, rng, presence_share, about, question_weights)
    return replace(sample, readings=(), small=sample_of(small))
