"""How far annotators agree on findings, beyond chance: Krippendorff's alpha and Cohen's kappa, for yes and no.

Both are computed here: no library of the project has alpha, and scikit-learn's kappa takes one pair of annotators at a
time (the tests compare with it). Everybody has one vote on a finding of an image, see `annotate.votes`; who was not
asked has none, which alpha is made for. Nor has who ticked what their form is not known to have asked for: of those who
did not tick it there, nobody knows the no, and yes alone would agree with yes. 1 is agreement, 0 what chance gives,
below 0 less than that.

    alpha = 1 - D_o / D_e,  D_o = sum_u 2 y_u n_u / (m_u - 1) / N,  D_e = 2 Y (N - Y) / (N (N - 1))

over images u with m_u >= 2 votes, y_u of them yes and n_u no; N votes altogether, Y of them yes (Krippendorff,
"Computing Krippendorff's alpha-reliability", 2011, nominal data).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from annotate.store.model import Stored
from annotate.votes import first_of_each, form_findings

Ballot = dict[str, bool]  # annotator -> vote, on one finding of one image
LEAST_SHARED = 5  # images that a pair of annotators must share for a kappa of theirs
MOST_PAIRED = 30  # annotators of one image whose pairs are counted


@dataclass(frozen=True)
class FindingAgreement:
    """On one finding.

    Args:
        name: of the finding.
        images: with at least two votes.
        votes: on those.
        yes: how many of these said yes.
        alpha: Krippendorff's; None where everybody says the same everywhere, or no image has two votes.
        kappa: mean of Cohen's over pairs of annotators, weighted by the images that they share; None without a pair.
        pairs: of annotators with a kappa.
    """

    name: str
    images: int
    votes: int
    yes: int
    alpha: float | None
    kappa: float | None
    pairs: int


class Ballots:
    """Votes of a store, image by image."""

    def __init__(self) -> None:
        self._of: dict[str, list[Ballot]] = defaultdict(list)

    def add(self, stored: Iterable[Stored]) -> None:
        """Count the submissions of one image."""
        ballots: dict[str, Ballot] = defaultdict(dict)
        for one in first_of_each(stored):
            annotation = one.annotation
            for name in form_findings(annotation) or ():
                ballots[name][annotation.annotator] = name in annotation.findings
        for name, ballot in ballots.items():
            if len(ballot) > 1:
                self._of[name].append(ballot)

    def agreement(self) -> list[FindingAgreement]:
        """Return a row per finding on which two have voted, by name."""
        return [_agreement(name, ballots) for name, ballots in sorted(self._of.items())]


def _agreement(name: str, ballots: Sequence[Ballot]) -> FindingAgreement:
    kappa, pairs = mean_kappa(ballots)
    votes = [vote for ballot in ballots for vote in ballot.values()]
    return FindingAgreement(name, len(ballots), len(votes), sum(votes), alpha_of(ballots), kappa, pairs)


def alpha_of(ballots: Sequence[Ballot]) -> float | None:
    """Return Krippendorff's alpha of yes and no; None where it is not defined."""
    counts = [(sum(ballot.values()), len(ballot)) for ballot in ballots if len(ballot) > 1]
    votes, yes = sum(size for _, size in counts), sum(ticked for ticked, _ in counts)
    if yes in (0, votes):
        return None
    observed = sum(2 * ticked * (size - ticked) / (size - 1) for ticked, size in counts) / votes
    expected = 2 * yes * (votes - yes) / (votes * (votes - 1))
    return 1 - observed / expected


def mean_kappa(ballots: Sequence[Ballot]) -> tuple[float | None, int]:
    """Return the mean of Cohen's kappa over pairs of annotators, and how many pairs have one."""
    cells: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # both no, second, first, both yes
    for ballot in ballots:
        for first, second in combinations(sorted(ballot)[:MOST_PAIRED], 2):
            cells[first, second][2 * ballot[first] + ballot[second]] += 1
    known = [(kappa, sum(counts)) for counts in cells.values() if (kappa := _kappa(counts)) is not None]
    if not known:
        return None, 0
    return sum(kappa * shared for kappa, shared in known) / sum(shared for _, shared in known), len(known)


def _kappa(counts: Sequence[int]) -> float | None:
    neither, second, first, both = counts
    shared = sum(counts)
    by_chance = (first + both) * (second + both) + (neither + first) * (neither + second)
    if shared < LEAST_SHARED or by_chance == shared**2:
        return None
    return ((neither + both) / shared - by_chance / shared**2) / (1 - by_chance / shared**2)
