"""Two diagnoses by hand: one with a path, one from a model whose gaze is untrained."""

from dataclasses import replace

import numpy as np

from gazevlm_core.geometry import PatchGrid
from gazevlm_core.records import Diagnosis
from gazevlm_core.scanpath import Fixation, Scanpath

ATTACK = "<script>alert(1)</script>"
GRID = PatchGrid(2, 4)
PATH = Scanpath((Fixation(0.125, 0.25, 210.0), Fixation(0.875, 0.75)), "model")
FIELD = np.full((3, 8), 0.1, dtype=np.float32)
FOUND = Diagnosis("Edema.", {"edema": 0.75}, PATH, FIELD, (0.5, 0.25), GRID, "nano", "mine")
UNTRAINED = replace(
    FOUND, scanpath=None, patch_probabilities=None, fixation_probabilities=(), notes=(f"Untrained {ATTACK}",)
)
