"""Statistics of films: named, finite, and telling apart what differs."""

import numpy as np
from PIL import Image

from phantoms.film_statistics import film_statistics, separability
from phantoms.make import make_phantom


def test_scanners_are_told_apart_and_like_from_like_is_not() -> None:
    def drawn(domain: str, seeds: range) -> list:
        return [film_statistics(Image.fromarray(make_phantom(s, domain, size_px=96).image)) for s in seeds]

    one, like, other = drawn("A", range(20)), drawn("A", range(20, 40)), drawn("B", range(20))
    assert separability(one, other)["grey levels"] > 0.95
    assert abs(separability(one, like)["grey levels"] - 0.5) < 0.3


def test_a_flat_grey_has_no_contrast() -> None:
    found = film_statistics(Image.new("L", (300, 200), 90))
    assert np.allclose(found["grey levels"], 90.0)
    assert np.allclose(found["local contrast"], 0.0, atol=1e-3)
    assert np.allclose(found["across"], 90.0)
    assert found["edges"][-1] == 0.0
