"""Learners, by the name that ``learner:`` takes."""

from .mf_pmd import MFPMDLearner
from .mf_pmd_tabular import MFPMDTabularLearner

REGISTRY = {
    "mf_pmd_learner": MFPMDLearner,
    "mf_pmd_tabular_learner": MFPMDTabularLearner,
}
