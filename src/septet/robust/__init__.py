"""Worst-group robustness: certified linear heads, CRIS, honest reports per group.

Importing this package needs neither torch nor numba; what trains networks loads on first use.
"""

from septet.robust._afr import AFRClassifier
from septet.robust._compare import Comparison, compare_models
from septet.robust._dfr import DFRClassifier
from septet.robust._erm import ERMClassifier, GroupBalancedClassifier
from septet.robust._fixed_head import LinearHead
from septet.robust._group_dro import GroupDROClassifier
from septet.robust._group_dro_cv import GroupDROClassifierCV
from septet.robust._group_report import GroupReport, GroupRow
from septet.robust._intervals import (
    clopper_pearson_interval,
    clopper_pearson_lower,
    wilson_interval,
)
from septet.robust._logit_adjusted import LogitAdjustedClassifier
from septet.robust._planner import LabelPlan, infer_groups, suggest_labels
from septet.robust._report import group_report, worst_group_accuracy
from septet.robust._scorer import WorstGroupScorer
from septet.robust._tau_norm import TauNormClassifier

__all__ = [
    "AFRClassifier",
    "Comparison",
    "DFRClassifier",
    "ERMClassifier",
    "GroupBalancedClassifier",
    "GroupDROClassifier",
    "GroupDROClassifierCV",
    "GroupReport",
    "GroupRow",
    "LabelPlan",
    "LinearHead",
    "LogitAdjustedClassifier",
    "TauNormClassifier",
    "WorstGroupScorer",
    "clopper_pearson_interval",
    "clopper_pearson_lower",
    "compare_models",
    "group_report",
    "infer_groups",
    "suggest_labels",
    "wilson_interval",
    "worst_group_accuracy",
]
