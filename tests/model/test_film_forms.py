"""The findings of the embedded model do not depend on the form in which a film comes."""

import numpy as np

from gazevlm_core.images import load_image
from gazevlm_core.inference import GazeEngine
from gazevlm_core.options import DiagnoseOptions
from phantoms.make import make_phantom
from tests.film_forms import FORMS


def test_the_same_film_has_the_same_findings_in_every_form() -> None:
    """Equal pictures are asked about once."""
    engine = GazeEngine.load("gazevlm-nano", device="cpu")
    film = make_phantom(3, size_px=224).image
    pictures = {form: load_image(write(film)).image for form, write in FORMS.items()}
    different = {picture.tobytes(): picture for picture in pictures.values()}
    assert len(FORMS) >= 8
    options = DiagnoseOptions(max_new_tokens=1)
    found = [engine.diagnose(picture, options=options).finding_probabilities for picture in different.values()]
    spread = {name: np.ptp([probabilities[name] for probabilities in found]) for name in found[0]}
    assert max(spread.values()) <= 0.02
