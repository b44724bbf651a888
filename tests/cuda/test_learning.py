"""Learning on a GPU: counted without waiting, learnt as on the CPU, saved for either."""

import pytest
import torch

SMALL = ("env_args.n_agents=13", "env_args.horizon=2", "batch_size_run=2", "batch_size=2", "buffer_size=2")
FEW_STEPS = {  # of gradient descent
    "mf_ppo": ("epochs=1", "minibatches=2"),
    "mf_pmd": ("critic_steps=3", "policy_steps=3"),
    "mf_q": ("critic_steps=3",),
    "mf_ac": ("critic_steps=3",),
    "munchausen_omd": ("critic_steps=3",),
}
LEARNERS = [
    ("mf_pmd_tabular", "a_sis", "step_rule=scale_free"),
    ("mf_pmd_tabular", "taxi_lite", "td_target=expected_sarsa"),
    ("mf_pmd_tabular", "a_rps", "td_target=sarsa"),
    ("mf_pmd_tabular", "a_sis", "optimism=1.0"),
    ("mf_pmd_tabular", "a_beach", "runner=counts"),
    ("mf_pmd", "a_beach", "population_dependent=True"),
    ("ipmd", "a_sis", "output_policy=last"),
]
BY_AUTOGRAD = ["mf_ppo", "mf_q", "mf_ac", "munchausen_omd"]


@pytest.fixture
def assembled(build, recording_logger):
    """A runner, a learner and what they log, on the GPU or not."""

    def make(alg, env, *words, cuda=True):
        recording_logger.series = {}
        return build(
            alg, env, *SMALL, *FEW_STEPS.get(alg, ()), *words, f"use_cuda={cuda}", logger=recording_logger
        )

    return make


def trained(pieces, n_epochs=2):
    """What is logged of some epochs."""
    for epoch in range(n_epochs):
        batch = pieces.runner.run(test_mode=False)
        pieces.learner.train(batch, epoch * 1000, epoch)
    speed = {"agent_steps_per_second"}
    return {key: series for key, series in pieces.logger.series.items() if key not in speed}


@pytest.mark.parametrize(("alg", "env", "word"), LEARNERS)
def test_learning_is_that_of_the_cpu(gpu, assembled, alg, env, word):
    found = trained(assembled(alg, env, word))
    if gpu.plays_as_the_cpu:
        assert found == trained(assembled(alg, env, word, cuda=False))


@pytest.mark.parametrize("alg", BY_AUTOGRAD)
def test_networks_learn_where_they_play(gpu, assembled, alg):
    pieces = assembled(alg, "a_sis")
    trained(pieces)
    assert all(parameter.is_cuda for parameter in pieces.learner.mac.parameters())


@pytest.mark.parametrize("word", ["td_agents=all", "td_agents=one", "td_target=sarsa"])
def test_a_batch_is_counted_without_waiting(gpu, assembled, word):
    pieces = assembled("mf_pmd_tabular", "taxi_lite", word)
    batch = pieces.runner.run(test_mode=False)
    with gpu.no_waiting():
        statistics = pieces.learner.count(batch)
    assert statistics.visits.is_cuda
    assert statistics.visits.sum().item() == 2 * 2 * (1 if word == "td_agents=one" else 13)


@pytest.mark.parametrize("runner", ["population", "counts"])
def test_tests_are_scored_as_on_the_cpu(gpu, assembled, runner):
    words = (f"runner={runner}", "test_nepisode=4", "population.played=always")

    def scores(cuda):
        pieces = assembled("mf_pmd_tabular", "a_sis", *words, cuda=cuda)
        for _ in range(2):
            pieces.runner.run(test_mode=True)
        return pieces.logger.series

    found = scores(cuda=True)
    assert "test_exploitability_played_mean" in found or any("played" in key for key in found)
    if gpu.plays_as_the_cpu:
        assert found == scores(cuda=False)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("alg", ["mf_pmd_tabular", "mf_pmd"])
def test_a_checkpoint_goes_from_one_device_to_the_other(gpu, assembled, tmp_path, alg, there):
    pieces, loaded = assembled(alg, "a_sis", cuda=there), assembled(alg, "a_sis", cuda=not there)
    trained(pieces, 1)
    pieces.learner.save_models(str(tmp_path))
    loaded.learner.load_models(str(tmp_path))
    rows = {}
    for cuda, learner in ((there, pieces.learner), (not there, loaded.learner)):
        nu = torch.tensor([0.4, 0.6], dtype=torch.float64, device="cuda" if cuda else "cpu")
        policies = learner.mac.scored_policies()
        rows[cuda] = torch.stack([policies[name](0, nu) for name in sorted(policies)])
        assert rows[cuda].is_cuda == cuda
    torch.testing.assert_close(rows[True].cpu(), rows[False])
    trained(loaded, 1)
