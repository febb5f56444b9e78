"""Made-up reports for the page's tests; their numbers mean nothing."""

from typing import Any

Values = dict[str, Any]
FLOORS = ("uniform random", "own path shuffled")


def score(value: float, **more: Any) -> Values:
    """A score with an interval around it."""
    return {"value": value, "interval": [value - 0.02, value + 0.02], **more}


def floored(value: float, **floors: float) -> Values:
    """A score beside floors as `gazevlm evaluate` writes them."""
    beside = {name: score(floor, interval_touches_the_models=False) for name, floor in floors.items()}
    return score(value, floors=beside)


def path_report(**names: str) -> Values:
    """What `gazevlm score --json` prints, with two scores; `names` renames them."""
    metrics = {}
    for name, order, better in (("sequence score", "sensitive", "higher"), ("Jaccard", "blind", "lower")):
        metrics[names.get(name.split()[0], name)] = score(
            0.5, order=order, better=better, order_gain=score(0.125), ceiling_other_reader=score(0.6),
            floors={floor: score(0.25) for floor in FLOORS},
        )  # fmt: skip
    return {"images": 24, "pairs": 48, "grid": [8, 8], "resamples": 2000, "dropped": {"empty_paths": 2},
            "metrics": metrics}  # fmt: skip


def phantom_report(*, trained: bool = True) -> Values:
    """What `gazevlm evaluate --json` prints about phantoms."""
    findings = {"edema": score(0.9), "fracture": score(0.7)}
    auroc = {"macro": score(0.8), "floors": {"chance": {"value": 0.5, "interval": [0.5, 0.5],
             "interval_touches_the_models": False}}, "per_finding": findings, "skipped": []}  # fmt: skip
    source = {"all_severities": auroc, "moderate_or_worse": auroc}
    named = {"precision": score(0.6), "recall": score(0.7), "f1": score(0.65)}
    touching = {**named, "interval_touches_the_models": True}
    scanpath: Values | str = "untrained"
    if trained:
        sequence = floored(0.375, **{"own path shuffled": 0.3}) | {
            "ceiling_same_reader": score(0.44), "other_reader": score(0.4), "share_of_ceiling": score(0.85),
            "order_gain": score(0.1),
        }  # fmt: skip
        scanpath = {
            "sequence_score": sequence,
            "stop": {"within_2_fixations": floored(0.9, usual=0.7), "median_length_difference": score(0.0)},
            "dwell": {"median_ratio": None, "log_correlation": None},
        }
    model = {
        "finding_head": source, "answer_text": source, "scanpath": scanpath,
        "report": {
            "moderate_or_worse": {**named, "floors": {"always normal": touching}}, "sides": floored(0.9, left=0.5),
        },
    }  # fmt: skip
    return {"dataset": "phantom", "domain": "A", "n": 100, "seed": 3, "resamples": 2000, "model": "nano",
            "adapter": None, "scores": {"model": model, "no-gaze": model}}  # fmt: skip


def dataset_report() -> Values:
    """What `gazevlm evaluate --dataset NAME --json` prints."""
    area = {**score(0.75), "floor": 0.5}
    finding = {"images": 50, "positive": 9, "auroc": area, "auprc": {**score(0.4), "floor": 0.18}, "f1": None,
               "calibration_error": score(0.1)}  # fmt: skip
    labels = {"macro_auroc": area, "micro_auroc": area, "findings": {"edema": finding}}
    steps = {"nss": score(1.2), "histogram_nss": score(0.8), "bits": score(1.0), "histogram_bits": None}
    return {"dataset": "egd-cxr", "split": "test", "records": 50, "images": 50, "patients": 40, "resamples": 2000,
            "model": "nano", "adapter": "mine", "scores": {
                "finding_head": labels, "answer_text": None, "scanpath": {**path_report(), "steps": steps}
            }}  # fmt: skip


def experiment_report() -> Values:
    """results.json of `gazevlm experiment`, with two variants, two sizes and two orders."""
    runs = []
    for variant in ("without glimpses", "with glimpses"):
        for images in (100, 1000):
            for order in ("original", "none"):
                run = {"variant": variant, "order": order, "images": images, "seeds": 3, "macro AUROC": score(0.8),
                       "per_finding": {"edema": 0.8}}  # fmt: skip
                if order == "original":
                    run["sequence score"], run["bits per fixation"] = score(0.4), score(1.5)
                    run["floors"] = {"uniform random patches": 0.1, "its own path shuffled": 0.3375}
                runs.append(run)
    difference = {"variant": "without glimpses", "images": 100, "score": "macro AUROC", "first": "original",
                  "second": "none", **score(0.03125, by_seed=[0.03, 0.02]), "seeds_needed": 7}  # fmt: skip
    domain = {"runs": runs, "differences": [difference], "other_reader": 0.5, "usual_step_bits": 0.75}
    told = {"ordered": score(0.7), "shuffled": score(0.69), "difference": score(0.01)}
    return {"kind": "experiment", "resamples": 1000, "runs": 15, "planned_runs": 39, "base": "nano", "steps": 24,
            "domains": {"A": domain, "B": domain},
            "order_information": {"cells by thirds": {"phantoms": told, "people": told}}}  # fmt: skip


REPORTS = {
    "score": path_report, "evaluate": phantom_report, "dataset": dataset_report, "experiment": experiment_report,
}  # fmt: skip
