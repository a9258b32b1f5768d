"""Classification of audio clips from several views of each, with adaptive gradient blending.

Examples
--------
>>> import torch
>>> from septet.audio import CQT, LogMel
>>> clips = torch.zeros(2, 22050)
>>> LogMel(22050)(clips).shape, CQT(22050)(clips).shape
(torch.Size([2, 1, 64, 44]), torch.Size([2, 1, 84, 44]))
"""

from septet._core.extras import needs

needs("torch", extra="audio", purpose="septet.audio")

from septet.audio._augment import Augmentation  # noqa: E402 - torch is checked for first
from septet.audio._blending import (  # noqa: E402
    blend_ratios,
    gblend_weights,
    normalize_weights,
    optimal_blend,
    squared_ogr,
)
from septet.audio._classifier import MultiViewClassifier  # noqa: E402
from septet.audio._clips import Clips, Piece, load_clips  # noqa: E402
from septet.audio._cqt import C1_HZ, CQT, Atoms, constant_q_atoms  # noqa: E402
from septet.audio._curves import BranchCurves  # noqa: E402
from septet.audio._draw import draw_curves, draw_views  # noqa: E402
from septet.audio._evaluate import Evaluation, evaluate  # noqa: E402
from septet.audio._features import write_features  # noqa: E402
from septet.audio._gammatone import (  # noqa: E402
    Gammatone,
    erb_centres,
    gammatone_bandwidth,
    gammatone_response,
)
from septet.audio._gblend import GBlendPolicy, ModulationPolicy, modulated  # noqa: E402
from septet.audio._mel import LogMel, mel_filters, mel_frequencies  # noqa: E402
from septet.audio._named import POLICIES, named_policy  # noqa: E402
from septet.audio._network import (  # noqa: E402
    JOINT,
    MultiViewNet,
    blended_loss,
    branch_losses,
    head_probabilities,
)
from septet.audio._ogr import OGRPolicy  # noqa: E402
from septet.audio._policies import FixedPolicy, WeightPolicy  # noqa: E402
from septet.audio._runs import RunOutcome, RunPlan, train_runs  # noqa: E402
from septet.audio._scale import LogScale  # noqa: E402
from septet.audio._splits import check_classes, check_groups, group_split  # noqa: E402
from septet.audio._stack import VIEWS, ViewStack  # noqa: E402
from septet.audio._subnets import (  # noqa: E402
    SIZES,
    AttentionPool,
    ConvolutionalRecurrent,
    NetworkSize,
    TimeConvolutions,
    WaveEncoder,
)
from septet.audio._training import save_views, train_on_folder  # noqa: E402
from septet.audio._trust import Decision  # noqa: E402
from septet.audio._waveform import Waveform  # noqa: E402

__all__ = [
    "C1_HZ",
    "CQT",
    "JOINT",
    "POLICIES",
    "SIZES",
    "VIEWS",
    "Atoms",
    "AttentionPool",
    "Augmentation",
    "BranchCurves",
    "Clips",
    "ConvolutionalRecurrent",
    "Decision",
    "Evaluation",
    "FixedPolicy",
    "GBlendPolicy",
    "Gammatone",
    "LogMel",
    "LogScale",
    "ModulationPolicy",
    "MultiViewClassifier",
    "MultiViewNet",
    "NetworkSize",
    "OGRPolicy",
    "Piece",
    "RunOutcome",
    "RunPlan",
    "TimeConvolutions",
    "ViewStack",
    "WaveEncoder",
    "Waveform",
    "WeightPolicy",
    "blend_ratios",
    "blended_loss",
    "branch_losses",
    "check_classes",
    "check_groups",
    "constant_q_atoms",
    "draw_curves",
    "draw_views",
    "erb_centres",
    "evaluate",
    "gammatone_bandwidth",
    "gammatone_response",
    "gblend_weights",
    "group_split",
    "head_probabilities",
    "load_clips",
    "mel_filters",
    "mel_frequencies",
    "modulated",
    "named_policy",
    "normalize_weights",
    "optimal_blend",
    "save_views",
    "squared_ogr",
    "train_on_folder",
    "train_runs",
    "write_features",
]
