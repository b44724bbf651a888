"""Learners, by the name that ``learner:`` takes."""

from .ipmd import IPMDLearner
from .mf_pmd import MFPMDLearner
from .mf_pmd_tabular import MFPMDTabularLearner

REGISTRY = {
    "ipmd_learner": IPMDLearner,
    "mf_pmd_learner": MFPMDLearner,
    "mf_pmd_tabular_learner": MFPMDTabularLearner,
}
