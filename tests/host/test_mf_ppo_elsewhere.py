"""mf_ppo where there is no population: the toy under the host's episode runner, which ends episodes early."""

import json
from pathlib import Path

import numpy as np
import pytest

from mf_pmd.host import envs, run
from mf_pmd.learners.mf_ppo import counted

TOY = str(Path(__file__).with_name("toy.yaml"))
WORDS = ("hidden_dim=16", "epochs=4")


@pytest.mark.parametrize(("alg", "learnt_from"), [("mf_ppo", 2), ("mf_ppo_ind", 0)])
def test_the_toy_is_learnt(configure, alg, learnt_from):
    words = ("lr=0.01", "t_max=1200", "test_interval=1200", f"learn_agents={learnt_from}")
    result = run.train(configure(alg, TOY, *WORDS, *words))
    logged = json.loads((result.results_dir / "metrics.json").read_text())
    returns, lengths = (logged[f"test_{key}"]["values"] for key in ("return_mean", "ep_length_mean"))
    assert returns[0] / lengths[0] < 0.7  # half of the buttons are right by chance
    assert returns[-1] / lengths[-1] > 0.95  # 1 at best


def test_a_population_of_another_environment_is_embedded(configure):
    words = ("learn_agents=2", "embedding_dim=4", "population_dependent=True", "t_max=300")
    assert run.train(configure("mf_ppo", TOY, *WORDS, *words)).t_env >= 300


def test_absent_agents_and_ended_episodes_are_learnt_nothing_from(build, monkeypatch):
    """The last agent is there on the first two steps of an episode alone; some episodes end early."""
    toy = envs.REGISTRY["toy"]

    class WithAnAbsentee(toy):
        def get_obs(self):
            seen = super().get_obs()
            return [*seen[:-1], seen[-1] if self.t < 2 else np.zeros_like(seen[-1])]

    monkeypatch.setitem(envs.REGISTRY, "toy", WithAnAbsentee)
    pieces = build("mf_ppo", TOY, *WORDS, "learn_agents=0", "mask_absent=True")
    batch = pieces.runner.run(test_mode=False)
    played = pieces.learner.play_back(batch, None)
    pieces.learner.scale.mean = 5.0  # so that a value is 0 where nobody is there alone
    counts = counted(batch, played.present)  # [B, T, N]
    lengths = batch["filled"].sum((1, 2)) - 1  # the observation after the last step is filled too
    assert set(lengths.tolist()) == {3, 6}
    assert counts.sum(1)[:, 0].tolist() == lengths.tolist()
    assert counts.sum(1)[:, 2].tolist() == [2] * 10
    values = pieces.learner.play_back(batch, None).values
    there = batch["filled"].squeeze(-1) > 0
    assert (values[..., 0] == 5.0 * there).all()
    assert (values[:, :2, 2] == 5).all()
    assert not values[:, 2:, 2].any()
    cut_short = lengths == 6
    found = pieces.learner.advantages(batch, None, played._replace(values=values), counts)
    gain = found.returns[..., 0] - batch["reward"][:, :-1, 0]
    assert (gain[cut_short, 5] > 4).all()  # worth V of the observation that it was cut short at
    assert (gain[~cut_short, 2] == 0).all()  # worth nothing after the end
