"""Worst-group robustness: certified linear heads, CRIS, honest reports per group.

Importing this package needs neither torch nor numba; what trains networks loads on first use.
"""

from septet.robust._afr import AFRClassifier
from septet.robust._dfr import DFRClassifier
from septet.robust._erm import ERMClassifier, GroupBalancedClassifier
from septet.robust._fixed_head import LinearHead
from septet.robust._group_dro import GroupDROClassifier
from septet.robust._group_dro_cv import GroupDROClassifierCV
from septet.robust._logit_adjusted import LogitAdjustedClassifier
from septet.robust._tau_norm import TauNormClassifier

__all__ = [
    "AFRClassifier",
    "DFRClassifier",
    "ERMClassifier",
    "GroupBalancedClassifier",
    "GroupDROClassifier",
    "GroupDROClassifierCV",
    "LinearHead",
    "LogitAdjustedClassifier",
    "TauNormClassifier",
]
