"""Names of findings, and what the 14 columns of the CheXpert labeller mean.

Source: Irvin et al., "CheXpert: a large chest radiograph dataset with uncertainty labels and expert comparison",
AAAI 2019. A column holds 1 (present), 0 (absent), -1 (uncertain) or nothing (not mentioned in the report).

Models that know findings know them by CheXpert's names, so labels of other sets that mean the same get them, SAME_AS;
what is in neither list keeps its own name, and is another finding than those of a model.
"""

import re
from collections.abc import Mapping

from gazevlm_core.datasets.files import Row, number
from gazevlm_core.findings import VOCABULARY
from gazevlm_core.sample import DatasetError

NO_FINDING = "No Finding"
SUPPORT_DEVICES = "Support Devices"
CHEXPERT_LABELS: tuple[str, ...] = (
    NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", SUPPORT_DEVICES,
)  # fmt: skip

# Label of a data set, in lower case -> CheXpert's name for it. REFLACX: as its authors match the two, in the code of
# Bigolin Lanfredi et al., "Localization supervision of chest x-ray classifiers using label-specific eye-tracking
# annotation", 2022 (https://github.com/ricbl/eye-tracking-localization, list_labels.py). CheXpert calls nodules and
# masks lung lesions.
SAME_AS: Mapping[str, str] = {
    "pulmonary edema": "edema",
    "enlarged cardiac silhouette": "cardiomegaly",
    "wide mediastinum": "enlarged cardiomediastinum",
    "abnormal mediastinal contour": "enlarged cardiomediastinum",
    "acute fracture": "fracture",
    "lung nodule or mass": "lung lesion",
    "nodule/mass": "lung lesion",
    "airspace opacity": "lung opacity",
    "effusion": "pleural effusion",
}

CONTRADICTION = "no finding and a finding"
NOT_FRONTAL = "not a frontal view"
CHEXPERT_NAMES = frozenset(" ".join(label.lower().split()) for label in CHEXPERT_LABELS)


def finding_name(label: str, renamed: Mapping[str, str] | None = None) -> str:
    """Name of a finding as the project has it: lower-case words with spaces, CheXpert's where it has one.

    Args:
        label: as the data set has it.
        renamed: label -> name, where another word is meant in this data set.
    """
    words = " ".join(label.replace("_", " ").lower().split())
    return (renamed or {}).get(label) or SAME_AS.get(words, words)


def known_finding(label: str) -> str:
    """Return `finding_name` where that is one of CheXpert's; any other name of anybody's own stays as it is."""
    name = finding_name(label)
    return name if name in CHEXPERT_NAMES else label.strip()


def vocabulary_name(label: str) -> str | None:
    """Return the finding of the clinical vocabulary whose name or synonym a label is; None where it is none.

    "Lung nodule", "Pulmonary oedema": where it is does not matter. "Nodule/Mass", "Mass_or_nodule": all of its parts
    mean the same one.
    """
    words = label_words(label)
    places = re.sub(r"^(?:lung|pulmonary) ", "", words)
    for parts in ([words], [places], re.split(r"\s*/\s*| or | and |, ", places)):
        found = {next((term.name for term in VOCABULARY if re.fullmatch(f"{term.name}|{term.synonyms}", part)), None)
                 for part in parts}  # fmt: skip
        if len(found) == 1 and None not in found:
            return found.pop()
    return None


def label_words(label: str) -> str:
    """Return the project's name for a label, however it puts its words together."""
    return finding_name(re.sub(r"(?<=[a-z])(?=[A-Z])|-", " ", label.strip()))


def chexpert_findings(row: Row, where: str) -> dict[str, float] | None:
    """Return findings of a row with CHEXPERT_LABELS; None where it says that there is none and yet names one.

    Uncertain and blank ones are unknown. "No Finding" is no finding: where it is 1, every finding that is left blank is
    absent, except support devices, since the labeller gives 1 where no finding but those is present or uncertain. Its
    other values say nothing.

    Args:
        where: for errors.

    Raises:
        DatasetError: a label that is not 1, 0, -1 or blank.
    """
    values = {label: number(row, label, where) for label in CHEXPERT_LABELS}
    for label, value in values.items():
        if value not in (1.0, 0.0, -1.0, None):
            raise DatasetError(f"{where}: {label} is {row[label][:40]!r}, expected 1, 0, -1 or blank")
    nothing = values.pop(NO_FINDING) == 1.0
    found = {}
    for label, value in values.items():
        absent = nothing and label != SUPPORT_DEVICES
        if absent and value in (1.0, -1.0):
            return None
        if absent or value in (1.0, 0.0):
            found[finding_name(label)] = 0.0 if absent or value is None else value
    return found
