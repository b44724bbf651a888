"""The actor-critics on population games: what they build, log and cost grows with N by lookups alone."""

import pytest

from mf_pmd.host.controllers import BasicMAC

ALGORITHMS = ("ia2c", "ippo", "maa2c", "mappo")


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_nothing_of_size_n_by_n_is_built(build, largest_tensor, alg):
    n_agents, horizon = 400, 2
    words = (f"env_args.n_agents={n_agents}", f"env_args.horizon={horizon}", "test_nepisode=1")
    batch_sizes = [f"{key}=1" for key in ("batch_size_run", "batch_size", "buffer_size")]
    with largest_tensor as seen:
        pieces = build(alg, "a_sis", *words, *batch_sizes)
        batch = pieces.runner.run(test_mode=False)
        pieces.learner.train(batch, t_env=pieces.runner.t_env, episode_num=0)
    width = batch["obs"].shape[-1]
    hidden = pieces.args.hidden_dim
    assert seen.largest <= max((horizon + 1) * n_agents * width, hidden * hidden) < n_agents**2


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_networks_see_local_states_and_not_agents(build, alg):
    """Rows of a step: one for each local state; of a batch: for each local state, step and episode."""
    seen = []

    def watch(module, inputs):
        seen.append(inputs[0].flatten(0, -2).shape[0])

    pieces = build(alg, "a_rps", "env_args.n_agents=200", "env_args.horizon=3")
    pieces.learner.mac.agent.register_forward_pre_hook(watch)
    pieces.learner.critic.rest.register_forward_pre_hook(watch)
    pieces.learner.train(pieces.runner.run(test_mode=False), t_env=1, episode_num=0)
    episodes, n_states, steps = pieces.args.batch_size_run, 3, 4
    assert max(seen) <= episodes * n_states * steps
    assert max(seen[:3]) <= episodes * n_states  # the steps that were played


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_the_learner_logs_is_on_its_page(build, metrics_on_page, recording_logger, alg):
    pieces = build(alg, "a_sis", "env_args.n_agents=6", "env_args.horizon=2")
    pieces.learner.logger = recording_logger
    pieces.learner.train(pieces.runner.run(test_mode=False), t_env=1, episode_num=0)
    assert metrics_on_page(alg) == set(recording_logger.series)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_all_agents_share_one_policy_unless_they_see_their_index(build, alg):
    small = ("env_args.n_agents=6", "env_args.horizon=2")
    mac = build(alg, "a_sis", *small).learner.mac
    assert isinstance(mac, BasicMAC)
    assert mac.shares_policy
    assert not build(alg, "a_sis", *small, "obs_agent_id=True").learner.mac.shares_policy
