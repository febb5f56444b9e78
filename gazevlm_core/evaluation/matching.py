"""Which finding of a model a label of a data set means, so that a model is scored on labels that it never learned.

A label means the finding of its own name, as `label_words` writes both; else the one among whose synonyms in the
clinical vocabulary it is: "Infiltration" means lung opacity, "Mass" and "Nodule" mean lung lesion. Several labels of
one finding are joined: present where one is, absent where all are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gazevlm_core.datasets.label_policies import label_words, vocabulary_name
from gazevlm_core.sample import Sample


@dataclass(frozen=True)
class Matched:
    """What labels of a data set mean.

    Args:
        finding_of: label -> finding of the model; a label that means none is left out.
        why_not: label that means no finding, or is not needed -> why.
    """

    finding_of: Mapping[str, str]
    why_not: Mapping[str, str]

    def sample(self, sample: Sample) -> Sample:
        """Return a sample whose labels are findings of the model; labels that mean none stay as they are."""
        joined: dict[str, list[str]] = {}
        for label, finding in self.finding_of.items():
            joined.setdefault(finding, []).append(label)
        known = {label: one for label, one in sample.findings.items() if label not in self.finding_of}
        for finding, labels in joined.items():
            values = [sample.findings.get(label) for label in labels]
            given = [value for value in values if value is not None]
            if 1.0 in given or (given and len(given) == len(values)):
                known[finding] = max(given)
        boxes = tuple(replace(box, name=self.finding_of.get(box.name, box.name)) for box in sample.boxes)
        return replace(sample, findings=known, boxes=boxes)


def match_labels(labels: Iterable[str], findings: Sequence[str], model: str = "the model") -> Matched:
    """Return what labels mean among the findings of a model.

    Args:
        model: its name, for reasons.
    """
    own = {label_words(name): name for name in findings}
    labels = sorted(set(labels))
    exact = {label: own[label_words(label)] for label in labels if label_words(label) in own}
    finding_of, why_not = dict(exact), {}
    for label in labels:
        if label in exact:
            continue
        means = vocabulary_name(label)
        if means not in own.values() or means is None:
            why_not[label] = f"{model} knows no such finding"
        elif means in exact.values():
            why_not[label] = f"means {means}, which has a label of its own"
        else:
            finding_of[label] = means
    return Matched(finding_of, why_not)
