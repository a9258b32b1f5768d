"""Worst-group robustness: certified linear heads, CRIS, honest reports per group.

Importing this package needs neither torch nor numba; what trains networks loads on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from septet._core.extras import needs
from septet.robust._afr import AFRClassifier
from septet.robust._benchmarks import (
    Benchmark,
    GroupedExamples,
    load_celeba,
    load_civilcomments,
    load_multinli,
    load_waterbirds,
)
from septet.robust._compare import Comparison, compare_models
from septet.robust._composite import DigitsOnPhotographs, GroupedImages, digits_on_photographs
from septet.robust._cris import CRISClassifier
from septet.robust._dfr import DFRClassifier
from septet.robust._erm import ERMClassifier, GroupBalancedClassifier
from septet.robust._files import Rows, load_head, read_rows, save_head
from septet.robust._fixed_head import LinearHead
from septet.robust._group_dro import GroupDROClassifier
from septet.robust._group_dro_cv import GroupDROClassifierCV
from septet.robust._group_report import GroupReport, GroupRow
from septet.robust._intervals import (
    clopper_pearson_interval,
    clopper_pearson_lower,
    wilson_interval,
)
from septet.robust._jobs import audit_file, compare_files, fit_file, predict_file
from septet.robust._logit_adjusted import LogitAdjustedClassifier
from septet.robust._planner import LabelPlan, infer_groups, suggest_labels
from septet.robust._report import group_report, worst_group_accuracy
from septet.robust._scorer import WorstGroupScorer
from septet.robust._search import GroupSearchCV
from septet.robust._split import CRISSplit, cris_split, pseudo_groups, sample_labels
from septet.robust._tau_norm import TauNormClassifier

if TYPE_CHECKING:
    from septet.robust._features import extract_features, predict_rows, retrain_head
    from septet.robust._losses import CVaRLoss, GroupDROLoss
    from septet.robust._network import NetworkSettings, fit_jtt, fit_network, upweighted_rows
    from septet.robust._network_features import NetworkFeatures
    from septet.robust._samplers import group_balanced_sampler

__all__ = [
    "AFRClassifier",
    "Benchmark",
    "CRISClassifier",
    "CRISSplit",
    "CVaRLoss",
    "Comparison",
    "DFRClassifier",
    "DigitsOnPhotographs",
    "ERMClassifier",
    "GroupBalancedClassifier",
    "GroupDROClassifier",
    "GroupDROClassifierCV",
    "GroupDROLoss",
    "GroupReport",
    "GroupRow",
    "GroupSearchCV",
    "GroupedExamples",
    "GroupedImages",
    "LabelPlan",
    "LinearHead",
    "LogitAdjustedClassifier",
    "NetworkFeatures",
    "NetworkSettings",
    "Rows",
    "TauNormClassifier",
    "WorstGroupScorer",
    "audit_file",
    "clopper_pearson_interval",
    "clopper_pearson_lower",
    "compare_files",
    "compare_models",
    "cris_split",
    "digits_on_photographs",
    "extract_features",
    "fit_file",
    "fit_jtt",
    "fit_network",
    "group_balanced_sampler",
    "group_report",
    "infer_groups",
    "load_celeba",
    "load_civilcomments",
    "load_head",
    "load_multinli",
    "load_waterbirds",
    "predict_file",
    "predict_rows",
    "pseudo_groups",
    "read_rows",
    "retrain_head",
    "sample_labels",
    "save_head",
    "suggest_labels",
    "upweighted_rows",
    "wilson_interval",
    "worst_group_accuracy",
]

# what needs torch, and where it lies
_TORCH = {
    "CVaRLoss": "_losses",
    "GroupDROLoss": "_losses",
    "NetworkFeatures": "_network_features",
    "NetworkSettings": "_network",
    "extract_features": "_features",
    "fit_jtt": "_network",
    "fit_network": "_network",
    "group_balanced_sampler": "_samplers",
    "predict_rows": "_features",
    "retrain_head": "_features",
    "upweighted_rows": "_network",
}


def __getattr__(name: str) -> Any:
    if name not in _TORCH:
        raise AttributeError(f"module 'septet.robust' has no attribute {name!r}")
    needs("torch", extra="torch", purpose=f"septet.robust.{name}")
    return getattr(import_module(f"septet.robust.{_TORCH[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
