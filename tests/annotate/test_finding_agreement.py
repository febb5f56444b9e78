"""Agreement on findings, by hand, against published figures, and against scikit-learn."""

import random

import pytest
from sklearn.metrics import cohen_kappa_score

from annotate.quality.findings import LEAST_SHARED, Ballots, alpha_of, mean_kappa
from annotate.store.store import AnnotationStore
from tests.annotate.store_maker import add_images, annotate


def ballots(*rows: str) -> list[dict[str, bool]]:
    """Rows of observers, columns of images; 1, 0, and a dot for no vote."""
    return [
        {f"r{who}": row[image] == "1" for who, row in enumerate(rows) if row[image] != "."}
        for image in range(len(rows[0]))
    ]


def test_alpha_is_krippendorffs() -> None:
    # Krippendorff 2011, part A: binary data, two observers, no missing data: alpha = 0.095
    assert alpha_of(ballots("0100000010", "1110010000")) == pytest.approx(0.095, abs=5e-4)
    assert alpha_of(ballots("1100", "1100")) == 1
    assert alpha_of(ballots("1111", "1111")) is None, "without any no there is nothing to disagree on"
    assert alpha_of(ballots("1...", ".1..")) is None, "no image has two votes"
    whole = alpha_of(ballots("1100", "1010"))
    assert alpha_of(ballots("11001", "1010.")) == pytest.approx(whole), "a vote alone says nothing"
    assert alpha_of(ballots("10", "01")) == pytest.approx(1 - 1 / (2 * 2 * 2 / (4 * 3)))


def test_kappa_is_that_of_scikit_learn() -> None:
    rng = random.Random(1)
    first = [rng.random() < 0.4 for _ in range(60)]
    second = [one if rng.random() < 0.8 else not one for one in first]
    rows = ["".join(str(int(one)) for one in votes) for votes in (first, second)]
    assert mean_kappa(ballots(*rows)) == (pytest.approx(cohen_kappa_score(first, second)), 1)
    few = ballots(*(row[: LEAST_SHARED - 1] for row in rows))
    assert mean_kappa(few) == (None, 0)


def test_votes_of_a_store(store: AnnotationStore) -> None:
    people = [store.pseudonym(name) for name in ("Ada", "Ben")]
    counted, number = Ballots(), 0
    for place, image in enumerate(add_images(store, 6)):
        for row, who in enumerate(people):
            number += 1
            seen = ("edema",) if place < 3 and not (row and place == 2) else ()
            store.submit(annotate(image.sha256, who, f"s{number}", findings=seen, findings_asked=("edema",)))
        counted.add(store.stored(sha256=image.sha256))
    (edema,) = counted.agreement()
    assert (edema.name, edema.images, edema.votes, edema.yes, edema.pairs) == ("edema", 6, 12, 5, 1)
    assert edema.kappa == pytest.approx(cohen_kappa_score([1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]))
    assert edema.alpha == pytest.approx(1 - (2 / 12) / (2 * 5 * 7 / (12 * 11)))


def test_a_yes_whose_no_would_not_be_known_is_no_vote(store: AnnotationStore) -> None:
    people = [store.pseudonym(name) for name in ("Ada", "Ben", "Cy")]
    counted = Ballots()
    for place, image in enumerate(add_images(store, 6)):
        for number, who in enumerate(people):
            seen = ("edema",) if place % 2 == number % 2 or number == 2 else ()
            asked = ("edema",) if number == 2 else None
            store.submit(annotate(image.sha256, who, f"s{place}-{number}", findings=seen, findings_asked=asked))
        counted.add(store.stored(sha256=image.sha256))
    assert counted.agreement() == [], "Ada and Ben never agree, and would have agreed with Cy wherever they ticked"
