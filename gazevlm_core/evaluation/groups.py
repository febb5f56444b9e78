"""AUROC of every source side by side, on all images and on each view: what is confounded with the view shows there."""

from collections.abc import Mapping, Sequence

import numpy as np

from gazevlm_core.evaluation.report import Group, GroupFinding, Score
from gazevlm_core.metrics.intervals import Estimate, estimate_of
from gazevlm_core.metrics.labels import auroc, auroc_samples, mean_auroc
from gazevlm_core.sample import Sample

EVERY = "all images"
FREQUENT = 40  # positive images from which on a finding counts for the second mean
BASELINE = "plain baseline"
Scored = dict[str, tuple[float, np.ndarray]]  # source -> AUROC, and in each resample


def score_groups(
    samples: Sequence[Sample], sources: Mapping[str, Sequence[Mapping[str, float]]], counts: np.ndarray
) -> dict[str, Group]:
    """Return the AUROC by group: EVERY, and each view where there are several.

    Args:
        samples: N, with their findings.
        sources: name -> logits by finding of each image; those that know nothing are left out. The first one is
            compared with BASELINE.
        counts: [R, N] from `patient_counts`.
    """
    sources = {name: logits for name, logits in sources.items() if any(logits)}
    names = sorted({name for sample in samples for name in sample.findings})
    views = np.array([sample.view for sample in samples])
    groups = {EVERY: np.ones(len(samples), bool)}
    if len(set(views)) > 1:
        groups |= {view or "view unknown": views == view for view in sorted(set(views))}
    found = {group: _group(samples, sources, names, rows, counts) for group, rows in groups.items()}
    return {group: one for group, one in found.items() if one.findings}


def _group(
    samples: Sequence[Sample], sources: Mapping[str, Sequence[Mapping[str, float]]], names: Sequence[str],
    rows: np.ndarray, counts: np.ndarray,
) -> Group:  # fmt: skip
    places: list[int] = np.flatnonzero(rows).tolist()
    findings: dict[str, GroupFinding] = {}
    scored: dict[str, Scored] = {}
    for name in names:
        known = [place for place in places if samples[place].findings.get(name) in (0.0, 1.0)]
        truth = np.array([samples[place].findings[name] for place in known])
        if len(set(truth)) < 2:
            continue
        own: Scored = {}
        for source, logits in sources.items():
            if all(name in logits[place] for place in known):
                values = np.array([logits[place][name] for place in known])
                own[source] = auroc(truth, values), auroc_samples(truth, values, counts[:, known])
        if not set(own) - {BASELINE}:
            continue
        scored[name] = own
        findings[name] = GroupFinding(
            images=len(known), positive=int(truth.sum()), auroc=_scores(own), above_baseline=_difference(own, sources)
        )
    frequent = [name for name, one in findings.items() if one.positive >= FREQUENT]
    too_few = [name for name, own in scored.items() if all(np.isnan(samples).all() for _, samples in own.values())]
    means, often = _mean(list(scored.values())), _mean([scored[name] for name in frequent])
    return Group(
        images=len(places), patients=len({samples[place].patient_id for place in places}), findings=findings,
        mean=_scores(means), above_baseline=_difference(means, sources), too_few=too_few, frequent=frequent,
        frequent_mean=_scores(often), frequent_above_baseline=_difference(often, sources),
    )  # fmt: skip


def _mean(findings: Sequence[Scored]) -> Scored:
    """Return the mean over findings of each source that has scores of all."""
    shared = [source for source in (findings[0] if findings else ()) if all(source in one for one in findings)]
    return {source: mean_auroc([one[source] for one in findings]) for source in shared}


def _scores(scored: Scored) -> dict[str, Score]:
    return {source: Score.of(estimate_of(value, samples)) for source, (value, samples) in scored.items()}


def _difference(scored: Scored, sources: Mapping[str, object]) -> Score | None:
    """Return how much the first source is above the baseline, in pairs."""
    first = next(iter(sources))
    if BASELINE not in scored or first not in scored or first == BASELINE:
        return None
    (own, own_samples), (other, other_samples) = scored[first], scored[BASELINE]
    estimate: Estimate = estimate_of(own - other, own_samples - other_samples)
    return Score.of(estimate)
