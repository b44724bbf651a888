"""Optimistic policy mirror descent: what it steps along and keeps, where it is refused, what it is for."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.functional.mirror_descent import mirror_descent_step
from mf_pmd.learners.optimism import Optimism

SMALL = ["env_args.horizon=4", "env_args.n_agents=300", "hidden_dim=16", "critic_steps=40", "policy_steps=20"]


def test_the_first_epoch_has_nothing_to_look_back_at():
    optimism, q = Optimism(0.5, (1, 1, 2)), torch.tensor([[[1.0, 3.0]]])
    seen = torch.tensor(True)
    assert torch.equal(optimism.ahead(q, seen), q)
    assert optimism.ahead(q + 2, seen).tolist() == [[[4.0, 6.0]]]
    assert torch.equal(optimism.before, q + 2)


def test_a_cell_that_was_not_seen_twice_running_is_no_change_of_q():
    # both actions always pay 10; where nobody was, 0 stands in
    optimism, seen = Optimism(1.0, (1, 1, 2)), torch.tensor([[[True, False]]])
    everywhere = torch.ones(1, 1, 2, dtype=torch.bool)
    q, half = torch.tensor([[[10.0, 10.0]]]), torch.tensor([[[10.0, 0.0]]])
    for values, where in ((q, everywhere), (half, seen), (q, everywhere), (q, everywhere)):
        assert torch.equal(optimism.ahead(values, where), values)
    assert torch.equal(optimism.ahead(q + 1, everywhere), q + 2)


def test_few_agents_who_leave_cells_out_learn_no_worse(build):
    # 60 agents leave most cells of a_beach out now and then, and play is already as good as its step allows
    words = ["env_args.n_agents=60", "env_args.horizon=6", "runner=counts", "population.played=never"]
    shares = []
    for optimism in (0.0, 1.0):
        pieces = build("mf_pmd_tabular", "a_beach", *words, "seed=1", f"optimism={optimism}")
        for _ in range(40):
            pieces.learner.train(pieces.runner.run(test_mode=False), pieces.runner.t_env, 0)
        policy = tabular_policy(pieces.learner.mac.history.mean("tail").double())
        shares.append(mean_field_exploitability(pieces.runner.game.mean_field_model(), policy).item())
    assert shares[1] < 1.5 * shares[0], shares


def test_networks_are_fitted_to_the_step_along_what_is_ahead(build, monkeypatch):
    pieces = build("mf_pmd", "a_sis", *SMALL, "optimism=0.5", "c_mix=0.0")
    learner, goals = pieces.learner, []
    fit = learner.fit_policy
    monkeypatch.setattr(learner, "fit_policy", lambda s, goal, w: goals.append(goal) or fit(s, goal, w))
    asked = []
    for _ in range(2):
        batch = learner.count(pieces.runner.run(test_mode=False))
        old = learner.mac.log_policy(batch.population).detach()
        xi, tau = learner.xi, learner.tau
        learner.update(batch)
        with torch.no_grad():
            q = learner.policy_rows(batch, learner.critic(learner.critic.features(batch.population))).q_values
        asked.append(q)
        ahead = q + 0.5 * (q - asked[0])  # in epoch 0: q itself
        expected = mirror_descent_step(old, ahead, xi=xi, tau=tau, mixing=0.0)
        torch.testing.assert_close(goals[-1], expected)
        learner.epoch += 1
    assert not torch.allclose(asked[0], asked[1], atol=1e-3)


@pytest.mark.parametrize("alg", ["mf_pmd", "mf_pmd_tabular"])
def test_a_checkpoint_of_the_other_rule_is_refused(build, alg, tmp_path):
    plain = build(alg, "a_sis", *SMALL[: 2 if alg.endswith("tabular") else None]).learner
    optimistic = build(alg, "a_sis", *SMALL[: 2 if alg.endswith("tabular") else None], "optimism=1.0").learner
    plain.save_models(str(tmp_path))
    with pytest.raises(UserError, match=r"trained by another rule, set optimism=0\.0"):
        optimistic.load_models(str(tmp_path))
    optimistic.save_models(str(tmp_path))
    with pytest.raises(UserError, match="trained by another rule, set a positive optimism"):
        plain.load_models(str(tmp_path))
    optimistic.load_models(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["population_dependent=True"], "optimism=0.5: .* set optimism=0.0 or population_dependent=False"),
        (["agent=deep_set_network"], "optimism=0.5: on observations .* set optimism=0.0"),
    ],
)
def test_forms_without_cells_to_compare_are_refused(build, words, message):
    with pytest.raises(UserError, match=message):
        build("mf_pmd", "a_sis", "optimism=0.5", *words)


def test_it_ends_circles_that_plain_steps_go_on_with(build):
    # rock, paper, scissors against a population: the last policy, in shares of the uniform one's
    pytest.importorskip("mfglib")
    words = ["env_args.key=rock_paper_scissors", "env_args.n_agents=100000", "runner=counts"]
    words += ["population.played=never", "batch_size_run=1", "batch_size=1", "buffer_size=1", "c_mix=0.0"]
    for seed in (1, 2, 3):
        found = {}
        for optimism in (0.0, 1.0):
            pieces = build("mf_pmd_tabular", "mfglib", *words, f"seed={seed}", f"optimism={optimism}")
            for _ in range(100):
                pieces.learner.train(pieces.runner.run(test_mode=False), pieces.runner.t_env, 0)
            game = pieces.runner.game
            policy = tabular_policy(pieces.learner.mac.history.mean("last").double())
            score = mean_field_exploitability(game.mean_field_model(), policy).item()
            found[optimism] = score / game.reward_factor / (1 / 3)
        assert found[1.0] < 0.2, (seed, found)
        assert found[0.0] > 1.0, (seed, found)
