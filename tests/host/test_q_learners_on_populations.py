"""iql, vdn and qmix on population games: rewards, sizes, what is logged, what is refused."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.host import run

ALGORITHMS = ("iql", "vdn", "qmix")
TEAMS = ("vdn", "qmix")
SMALL = ("env_args.n_agents=6", "env_args.horizon=3", "test_nepisode=10")


def learn(pieces, epochs=1):
    """Play, keep, sample and learn, as the host's loop does."""
    for _ in range(epochs):
        pieces.buffer.insert_episode_batch(pieces.runner.run(test_mode=False))
        pieces.learner.train(pieces.buffer.sample(pieces.args.batch_size), pieces.runner.t_env, 0)


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("env", ["a_sis", "a_rps", "a_beach"])
def test_every_game_is_played_and_scored(build, alg, env):
    pieces = build(alg, env, *SMALL)
    learn(pieces, epochs=2)
    pieces.runner.run(test_mode=True)
    logged = pieces.learner.logger.series
    expected = {"loss", "td_error_abs", "return_mean", "epsilon", "test_return_mean"}
    assert expected | {"test_mean_field_exploitability", "test_exploitability_mean"} <= set(logged)
    assert pieces.learner.supports_individual_rewards == (alg == "iql")
    assert pieces.learner.mac.shares_policy


@pytest.mark.parametrize("alg", TEAMS)
def test_a_team_takes_the_common_reward_of_itself_and_refuses_others(build, alg):
    assert build(alg, "a_sis", *SMALL).args.common_reward
    with pytest.raises(UserError, match=rf"^common_reward=False: mixer={alg} .*common_reward=True"):
        build(alg, "a_sis", *SMALL, "common_reward=False")


@pytest.mark.parametrize("alg", TEAMS)
@pytest.mark.parametrize("scalarisation", ["sum", "mean"])
def test_returns_are_those_of_an_agent_however_rewards_are_learnt_from(build, alg, scalarisation):
    """The common reward is the sum or mean of the individual ones; what is logged does not depend on it."""
    batches, returns = [], []
    for words in ([], ["common_reward=True", f"reward_scalarisation={scalarisation}"]):
        pieces = build("iql" if not words else alg, "a_sis", *SMALL, *words)
        torch.manual_seed(0)  # the networks have drawn differently
        batches.append(pieces.runner.run(test_mode=False)["reward"])
        pieces.runner.run(test_mode=True)
        returns.append(pieces.learner.logger.last("return_mean"))
    individual, common = batches
    team = individual.sum(-1, keepdim=True)
    torch.testing.assert_close(common[:, :-1], (team if scalarisation == "sum" else team / 6)[:, :-1])
    assert returns[0] == returns[1] == pytest.approx(individual.sum(1).mean().item())


def test_a_buffer_of_small_integers_resumes_bit_for_bit(configure, checkpoint_entries):
    """Agents who see their state's number alone: a byte a state and an action, in the buffer and on disk."""
    sizes = ["batch_size_run=2", "batch_size=4", "buffer_size=8", "hidden_dim=4", "test_nepisode=2"]
    words = [*SMALL, *sizes, "observation=index", "test_interval=6", "save_model_interval=24"]

    def short(*more):
        return configure("iql", "a_sis", *words, *more)

    whole = run.train(short("t_max=60"))  # 20 episodes: the ring of 8 is written over, before and after
    first = run.train(short("t_max=30"))
    second = run.train(short("t_max=60", f"checkpoint_path={first.models_dir}"))
    expected, reached = checkpoint_entries(whole.checkpoint), checkpoint_entries(second.checkpoint)
    assert expected.keys() == reached.keys()
    for name, value in expected.items():
        same = torch.equal(value, reached[name]) if torch.is_tensor(value) else value == reached[name]
        assert same, name
    for entries in (expected, checkpoint_entries(first.checkpoint)):
        kept = {key: entries[f"host/buffer/stored/{key}"] for key in ("obs", "actions")}
        assert [(len(column), column.dtype) for column in kept.values()] == [(8, torch.uint8)] * 2


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_nothing_of_size_n_by_n_is_built(build, largest_tensor, alg):
    n_agents, horizon = 400, 2
    words = (f"env_args.n_agents={n_agents}", f"env_args.horizon={horizon}", "test_nepisode=1")
    with largest_tensor as seen:
        pieces = build(alg, "a_sis", *words, "batch_size_run=1", "batch_size=1", "buffer_size=2")
        learn(pieces)
    args = pieces.args
    sizes = [args.buffer_size * (horizon + 1) * n_agents * pieces.learner.obs_size, args.hidden_dim**2]
    if alg == "qmix":
        sizes.append(n_agents * args.mixing_embed_dim * args.hypernet_embed)
    assert seen.largest <= max(sizes) < n_agents**2


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_networks_see_local_states_and_not_agents(build, alg):
    """Rows of a sample: one for each local state, step and episode."""
    seen = []
    pieces = build(alg, "a_rps", "env_args.n_agents=200", "env_args.horizon=3")
    for mac in (pieces.learner.mac, pieces.learner.target_mac):
        mac.agent.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[:-1].numel()))
    learn(pieces)
    assert max(seen) <= pieces.args.batch_size * 3 * 4


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_the_learner_logs_is_on_its_page(build, metrics_on_page, recording_logger, alg):
    pieces = build(alg, "a_sis", *SMALL)
    pieces.learner.logger = recording_logger
    learn(pieces)
    assert metrics_on_page(alg) == set(recording_logger.series) | {"epsilon"}
