"""Both oracles against MFGLib's, iterate by iterate, on random games in float64."""

import pytest
import torch

from mf_pmd.functional.fictitious_play import fictitious_play_step
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step

HORIZON, STATES, ACTIONS, ITERATIONS = 4, 3, 2, 25


@pytest.fixture
def float64():
    """MFGLib computes in torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def environment(float64):
    """A model as MFGLib's Environment, whose kernels come as [s', s, a] and whose last step is T."""
    from mfglib.env import Environment

    def make(model):
        return Environment(
            T=HORIZON - 1,
            S=(STATES,),
            A=(ACTIONS,),
            mu0=model.initial_law,
            r_max=1.0,
            reward_fn=lambda env, t, mu: model.reward(mu),
            transition_fn=lambda env, t, mu: model.transition(mu).permute(2, 0, 1),
        )

    return make


def iterates(algorithm, environment, start):
    """The policies of an algorithm of MFGLib, from ``start`` on."""
    state = algorithm.init_state(environment, start)
    for _ in range(ITERATIONS):
        state = algorithm.step_next_state(state, None, None)
        yield state.pi


@pytest.mark.parametrize("seed", range(3))
def test_online_mirror_descent(environment, random_model, seed):
    from mfglib.alg import OnlineMirrorDescent

    model = random_model(seed, horizon=HORIZON, n_states=STATES, n_actions=ACTIONS)
    logits = torch.zeros(HORIZON, STATES, ACTIONS)
    moved = 0.0
    for theirs in iterates(OnlineMirrorDescent(alpha=0.7), environment(model), torch.softmax(logits, -1)):
        logits = online_mirror_descent_step(model, logits, step_size=0.7).logits
        ours = torch.softmax(logits, -1)
        assert torch.allclose(ours, theirs, atol=1e-10)
        moved = max(moved, (ours - 0.5).abs().max().item())
    assert moved > 0.2


@pytest.mark.parametrize("seed", range(3))
def test_fictitious_play(environment, random_model, random_policy, seed):
    # kernels free of mu: there MFGLib's density, of a population of best responses, is that of a deviator
    from mfglib.alg import FictitiousPlay

    model = random_model(seed, horizon=HORIZON, n_states=STATES, n_actions=ACTIONS)
    fixed = model.transition(torch.full((STATES, ACTIONS), 1 / (STATES * ACTIONS)))
    model = model._replace(transition=lambda mu: fixed)
    policy = start = random_policy(seed, HORIZON, STATES, ACTIONS)
    responses = set()
    for t, theirs in enumerate(iterates(FictitiousPlay(), environment(model), start)):
        found = fictitious_play_step(model, policy, weight=1 / (t + 2))
        policy = found.policy
        responses.add(tuple(found.response.argmax(-1).flatten().tolist()))
        assert torch.allclose(policy, theirs, atol=1e-10)
    assert len(responses) > 1
