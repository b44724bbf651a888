"""Learners, by the name that ``learner:`` takes."""

from .fictitious_play import FictitiousPlayLearner
from .ipmd import IPMDLearner
from .mf_ac import MFACLearner
from .mf_pmd import MFPMD
from .mf_pmd_tabular import MFPMDTabularLearner
from .mf_ppo import MFPPOLearner
from .mf_q import MFQLearner
from .munchausen_omd import MunchausenOMDLearner
from .omd import OMDLearner

REGISTRY = {
    "fictitious_play_learner": FictitiousPlayLearner,
    "ipmd_learner": IPMDLearner,
    "mf_ac_learner": MFACLearner,
    "mf_pmd_learner": MFPMD,
    "mf_pmd_tabular_learner": MFPMDTabularLearner,
    "mf_ppo_learner": MFPPOLearner,
    "mf_q_learner": MFQLearner,
    "munchausen_omd_learner": MunchausenOMDLearner,
    "omd_learner": OMDLearner,
}
