"""Policies and the game draw from streams of their own, though a host seeds both with one number."""

import pytest
import torch

from mf_pmd.envs import PopulationEnv


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_game_does_not_repeat_the_global_stream(make_game, seed):
    game = make_game("a_sis", n_agents=100, seed=seed)
    torch.manual_seed(seed)
    shared = torch.isin(game.uniforms(10), torch.rand(10, 100)).double().mean().item()
    assert shared < 0.01


def test_nor_does_an_environment_that_is_reset_with_a_seed():
    knobs = {"horizon": 3, "eps": 0.0, "eps_beta": 0.0, "eps_recovery": 0.0, "population": "others"}
    env = PopulationEnv(key="a_sis", n_agents=2000, **knobs)
    env.reset(seed=5)
    torch.manual_seed(5)
    same_draws = torch.rand(1, 2000) >= env.game.initial_law[0]
    assert (env.states == same_draws.long()).double().mean().item() < 0.9


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("alg", ["mf_pmd_tabular", "ipmd", "mf_pmd"])
def test_actions_in_training_do_not_depend_on_the_draws_that_led_to_a_state(build, alg, seed):
    # the first policy is uniform: in every state of every step, every action is as frequent
    runner = build(alg, "a_sis", "env_args.n_agents=1000", "env_args.horizon=5", f"seed={seed}").runner
    batch = runner.run(test_mode=False)
    states, actions = batch["obs"][:, :-1, :, 0].long(), batch["actions"][:, :-1, :, 0]
    for h in range(5):
        for s in range(2):
            here = actions[:, h][states[:, h] == s].double()
            assert len(here) > 500
            assert abs(here.mean().item() - 0.5) < 4.5 * 0.5 / len(here) ** 0.5, (h, s)
