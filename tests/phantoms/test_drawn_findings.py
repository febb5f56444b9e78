"""A drawn finding is one object: every finding is complete, and a new one takes a word and a file."""

import os
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from gazevlm_core.findings import FINDING_NAMES, HELD_OUT_FINDING_NAMES
from phantoms.case import DOMAINS, FindingSpec
from phantoms.findings import DRAWN_FINDINGS

TERM = """    Term("hiatal hernia","""
NEW_TERM = """    Term("goitre", r"goit(?:re|er)s?", held_out=True),\n"""
NEW_MODULE = '''
"""A goitre, as a test draws it."""

import numpy as np

from phantoms.case import FindingSpec
from phantoms.finding import SIZE, DrawnFinding, ShapeChange, Wording
from phantoms.projection import Ellipsoid
from phantoms.scene import Scene, Shadow


def goitre(scene: Scene, spec: FindingSpec, rng: np.random.Generator) -> Shadow:
    at, delta = scene.project(0.0, scene.body.apex_mm + 20.0, 0.0), scene.raster.zeros()
    window, chord = Ellipsoid(at, (30.0, 25.0), 20.0).chord(scene.raster)
    delta[window] += np.float32(0.02 * spec.severity) * chord
    return Shadow(delta, (at,))


GOITRE = DrawnFinding(
    "goitre", goitre, Wording(("goitre",), SIZE, countable=True, zone_spoken=False), ("upper",), midline=True,
    shape=lambda spec: ShapeChange(widening=0.1 * spec.severity),
)
'''
USE = """
from phantoms.findings import DRAWN_FINDINGS
from phantoms.make import FindingRequest, make_phantom
from phantoms.readers import READERS, simulate_reading
from phantoms.report import presence_answer, write_report
from gazevlm_core.report_parser import parse_report
phantom = make_phantom(1, size_px=96, findings=[FindingRequest("goitre", 0.9)])
print(list(DRAWN_FINDINGS)[-2:], phantom.findings[0].mask.any(), parse_report(write_report(phantom, 0)))
print(presence_answer(phantom, "goitre", 0), len(simulate_reading(phantom, READERS[0], 0).fixations) >= 6)
"""


@pytest.fixture
def copied_tree(repository: Path, tmp_path: Path) -> Path:
    for package in ("gazevlm_core", "phantoms"):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def add_term(root: Path) -> None:
    vocabulary = root / "gazevlm_core" / "findings.py"
    text = vocabulary.read_text("utf-8")
    assert text.count(TERM) == 1
    vocabulary.write_text(text.replace(TERM, NEW_TERM + TERM), "utf-8")


def run_in(root: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def test_findings_stand_in_the_order_of_the_vocabulary() -> None:
    assert tuple(DRAWN_FINDINGS) == FINDING_NAMES + HELD_OUT_FINDING_NAMES
    assert all(name == finding.name for name, finding in DRAWN_FINDINGS.items())


def test_every_finding_is_complete() -> None:
    for name, finding in DRAWN_FINDINGS.items():
        assert finding.zones
        assert finding.wording.nouns
        assert set(finding.wording.plurals) <= set(finding.wording.nouns)
        assert set(finding.odds) == (set() if name in HELD_OUT_FINDING_NAMES else set(DOMAINS)), name
        assert not finding.kinds or sum(finding.kinds.values()) == pytest.approx(1.0)
    ranks = [finding.denied for finding in DRAWN_FINDINGS.values() if finding.denied]
    assert len(set(ranks)) == len(ranks)


def test_of_two_findings_at_most_one_names_the_other() -> None:
    for first, second in combinations(DRAWN_FINDINGS.values(), 2):
        assert not (second.name in first.affinities and first.name in second.affinities)
    for finding in DRAWN_FINDINGS.values():
        assert set(finding.affinities) <= set(FINDING_NAMES) - {finding.name}


def test_the_mediastinum_is_pushed_away_from_air_and_drawn_towards_volume_loss() -> None:
    def shift_mm(name: str, side: str, severity: float) -> float:
        spec = FindingSpec(name, side, "basal", severity)  # type: ignore[arg-type]
        return DRAWN_FINDINGS[name].shape(spec).shift_mm

    assert shift_mm("pneumothorax", "left", 0.9) == pytest.approx(-30.0 * 0.4)  # towards the patient's right
    assert shift_mm("pleural effusion", "right", 1.0) == pytest.approx(18.0 * 0.5)
    assert shift_mm("atelectasis", "left", 0.9) == pytest.approx(10.0 * 0.5)
    assert shift_mm("pleural effusion", "both", 1.0) == 0.0
    assert shift_mm("pneumothorax", "left", 0.5) == 0.0


def test_a_new_finding_takes_a_word_and_a_file(copied_tree: Path) -> None:
    add_term(copied_tree)
    (copied_tree / "phantoms" / "findings" / "neck.py").write_text(NEW_MODULE, "utf-8")
    done = run_in(copied_tree, USE)
    assert done.returncode == 0, done.stderr
    listed, answer = done.stdout.splitlines()
    assert listed == "['goitre', 'hiatal hernia'] True {'goitre': set()}"
    assert answer == "Yes, a large goitre. True"


def test_a_word_that_nobody_draws_is_refused(copied_tree: Path) -> None:
    add_term(copied_tree)
    done = run_in(copied_tree, "import phantoms.findings")
    assert done.returncode != 0
    assert "ValueError: drawn are" in done.stderr
