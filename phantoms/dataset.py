"""Phantoms as a data set: cases with readings, reports and answers, and samples of them.

Training wants tens of thousands of cases, so they are drawn once into shards (`PhantomShards`); evaluation draws its
own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gazevlm_core.findings import FINDING_NAMES, QUESTIONS, REPORT_QUESTION, presence_question
from gazevlm_core.sample import Reading, Sample
from gazevlm_core.scanpath import Fixation, Scanpath
from phantoms.make import make_phantom
from phantoms.readers import LONGEST_READING, READERS, simulate_reading
from phantoms.report import presence_answer, write_report

TRAINING_SEEDS = range(1_000_000, 2_000_000)  # evaluation refuses these
REPORT_STYLES = 3
PATCH_PX = 28  # side of an image token of the embedded model, in pixels of the resized image
SHARD_CASES = 250
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
    """

    seed: int
    domain: str
    image: np.ndarray
    findings: tuple[FindingLabel, ...]
    reports: tuple[str, ...]
    presence_answers: dict[str, str]
    readings: tuple[tuple[Scanpath, ...], ...]
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)

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
    """
    phantom = make_phantom(seed, domain, size_px=sizes_px[seed % len(sizes_px)])
    image = phantom.image
    if model_pixels is not None:
        image = _shrunk(image, model_pixels)
    return PhantomCase(
        seed=seed,
        domain=domain,
        image=image,
        findings=tuple(FindingLabel(f.name, f.side, f.zone, float(f.severity)) for f in phantom.findings),
        reports=tuple(write_report(phantom, style) for style in range(REPORT_STYLES)),
        presence_answers={name: presence_answer(phantom, name, 0) for name in FINDING_NAMES},
        readings=tuple(
            tuple(
                simulate_reading(phantom, reader, number, max_fixations=max_fixations)
                for number in range(readings_per_reader)
            )
            for reader in READERS
        ),
        masks={finding.name: _cells(finding.mask) for finding in phantom.findings},
    )


def _cells(mask: np.ndarray) -> np.ndarray:
    """How much of each cell a mask covers; see `PhantomCase.masks`."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize((MASK_CELLS, MASK_CELLS), Image.Resampling.BOX))


def _shrunk(image: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
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
    }


def _case_from_json(values: dict[str, Any], image: np.ndarray, masks: Iterable[np.ndarray]) -> PhantomCase:
    return PhantomCase(
        seed=values["seed"],
        domain=values["domain"],
        image=image,
        findings=tuple(FindingLabel(**finding) for finding in values["findings"]),
        reports=tuple(values["reports"]),
        presence_answers=values["presence_answers"],
        readings=tuple(
            tuple(Scanpath(tuple(Fixation(*fixation) for fixation in path), "simulated") for path in reader)
            for reader in values["readings"]
        ),
        masks={finding["name"]: mask for finding, mask in zip(values["findings"], masks, strict=True)},
    )


class PhantomShards:
    """Cases on disk, SHARD_CASES per file, made where they are missing.

    Args:
        folder: where the shards lie.
        seeds: seeds of the cases; a multiple of SHARD_CASES.
        options: of `draw_case`; one folder holds one choice of them.
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
            pixels = np.concatenate([case.image.ravel() for case in cases])
            partial = path.with_suffix(".partial.npz")
            masks = [case.masks[finding.name] for case in cases for finding in case.findings]
            kept = np.stack(masks) if masks else np.zeros((0, MASK_CELLS, MASK_CELLS), np.uint8)
            meta = np.array(json.dumps([_case_to_json(case) for case in cases]))
            np.savez(partial, pixels=pixels, masks=kept, meta=meta)
            partial.rename(path)

    def load(self) -> list[PhantomCase]:
        """All cases in memory (about 200 kB each at the resolution of the embedded model's glimpses)."""
        cases = []
        for start in range(0, len(self.seeds), SHARD_CASES):
            with np.load(self._path(start)) as shard:
                pixels, offset, masks = shard["pixels"], 0, iter(shard["masks"])
                for values in json.loads(str(shard["meta"])):
                    height, width = values["shape"]
                    image = pixels[offset : offset + height * width].reshape(height, width)
                    offset += height * width
                    own = [next(masks) for _ in values["findings"]]
                    cases.append(_case_from_json(values, image, own))
        return cases

    def _path(self, start: int) -> Path:
        return self.folder / f"cases-{self.seeds[start]}.npz"


def sample_of(case: PhantomCase) -> Sample:
    """Return all that is known of a case: every reading, every finding, and the first wording of its report."""
    return Sample(
        image_id=f"phantom {case.domain}{case.seed}",
        image=Image.fromarray(case.image),
        question=REPORT_QUESTION,
        report=case.reports[0],
        findings={name: float(name in case.finding_names) for name in FINDING_NAMES},
        readings=tuple(
            Reading(reader.name, path) for reader, paths in zip(READERS, case.readings, strict=True) for path in paths
        ),
        masks=case.masks,
        dataset="phantom",
    )


def training_sample(case: PhantomCase, rng: np.random.Generator, presence_share: float = 0.4) -> Sample:
    """Return a case with one question: a report, or the presence of one finding (present or absent alike often)."""
    if rng.random() < presence_share:
        present, absent = case.finding_names, [name for name in FINDING_NAMES if name not in case.finding_names]
        pool = sorted(present) if present and rng.random() < 0.5 else absent
        name = pool[int(rng.integers(len(pool)))]
        question, answer = presence_question(name), case.presence_answers[name]
    else:
        question = QUESTIONS[int(rng.integers(len(QUESTIONS)))]
        answer = case.reports[int(rng.integers(len(case.reports)))]
    return replace(sample_of(case), question=question, report=answer)
