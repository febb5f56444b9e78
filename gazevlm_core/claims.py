"""What the words of a diagnosis say of findings, beside the probability of each: the two may contradict each other.

Words and probabilities come from different parts of the model, and nothing makes them agree.
"""

from dataclasses import dataclass

from gazevlm_core.records import Diagnosis
from gazevlm_core.report_parser import parse_claims

# Finding heads learn with cross-entropy, so 0.5 is where a finding is as likely there as not: words that take the other
# side contradict the head. On 160 phantoms the embedded model denied nothing above 0.5; of the 205 findings that it
# affirmed 18 lay below, and 12 of these were not there.
EVEN = 0.5


@dataclass(frozen=True)
class Claim:
    """A finding that an answer names.

    Args:
        finding: its name.
        affirmed: whether the words say that it is there; False where they deny it.
        probability: by the finding head; None where that does not know the finding.
    """

    finding: str
    affirmed: bool
    probability: float | None

    @property
    def agrees(self) -> bool | None:
        """Whether the probability lies on the side of the words; None where there is no probability."""
        if self.probability is None:
            return None
        return self.probability >= EVEN if self.affirmed else self.probability <= EVEN


def claims_of(diagnosis: Diagnosis) -> tuple[Claim, ...]:
    """Every finding that the answer affirms or denies, with its probability."""
    known = {name.casefold(): float(value) for name, value in diagnosis.finding_probabilities.items()}
    said = parse_claims(diagnosis.answer, diagnosis.question)
    return tuple(Claim(name, affirmed, known.get(name.casefold())) for name, affirmed in said.items())
