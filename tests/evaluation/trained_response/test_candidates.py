"""Which iterate of a training is taken, by episodes that nothing else plays."""

import torch

from mf_pmd.evaluation.trained_response.candidates import Candidate, best_candidate, validate
from mf_pmd.evaluation.trained_response.deviators import Deviators
from mf_pmd.evaluation.trained_response.episodes import frozen_policy
from mf_pmd.evaluation.trained_response.plan import Plan, iterates_kept

PLAN = Plan(k=2, batch_size=64, n_batches=10)


def leaning(game, strength):
    """Deviators that lean towards the second action, the best of u = +1 and the worst of u = -1."""
    torch.manual_seed(0)
    deviators = Deviators(game, hidden_dim=4, sees_population=False)
    list(deviators.policy.parameters())[-1].data[..., 1] = strength
    return deviators


def test_an_earlier_iterate_is_taken_where_training_collapsed_and_only_there(wages):
    game = wages()
    game.pay[:] = torch.tensor([0.1, 0.9, 0.5])  # everyone's
    frozen = frozen_policy(None, game, start="uniform", floor=0.0, sees_population=False)
    good, alike, bad = leaning(game, 3.0), leaning(game, 3.0), leaning(game, -3.0)

    def best(*deviators):
        candidates = [Candidate(each, 100 * (m + 1)) for m, each in enumerate(deviators)]
        return best_candidate(game, frozen, candidates, PLAN, n_steps=512, seed=1)

    assert best(bad, good, bad).after == 200
    assert best(bad, good, alike).after == 300  # as good: the last
    assert best(bad, bad, good).after == 300
    assert best(good).after == 100
    assert best(good).greedy
    settings = {"n_steps": 1000, "seed": 1}
    returns = validate(game, frozen, Candidate(good, 1, greedy=True), PLAN, **settings)
    assert returns.shape == (4 * 64,)
    assert torch.allclose(returns, torch.full_like(returns, 2 * 0.9))  # H = 2


def test_iterates_are_kept_evenly_and_the_last_always():
    assert iterates_kept(10, 5) == {1, 3, 5, 7, 9}
    assert iterates_kept(10, 1) == {9}
    assert iterates_kept(3, 5) == {0, 1, 2}
