"""Frozen flows against path enumeration, and the bracket's coverage against known answers."""

import itertools

import pytest
import torch

from mf_pmd.functional.frozen_flows import (
    FrozenFlows,
    bracket,
    expected_moves,
    greedy_deviation,
    largest_bracket,
    payable,
    values_of,
)

RHO0 = torch.tensor([0.3, 0.7], dtype=torch.float64)
HORIZON, STATES, ACTIONS = 3, 2, 2


def random_flows(n_flows, *, seed=0, spread=1.0):
    """Random problems around a common one; ``spread`` 0 makes them equal."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        common = torch.rand(*shape[1:], generator=generator, dtype=torch.float64)
        own = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return (1 - spread) * common + spread * own

    transition = draw(n_flows, HORIZON, STATES, ACTIONS, STATES) + 0.1
    rewards = draw(n_flows, HORIZON, STATES, ACTIONS)
    return FrozenFlows(transition / transition.sum(-1, keepdim=True), rewards)


def random_policy(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(torch.randn(HORIZON, STATES, ACTIONS, generator=generator).double(), -1)


def deterministic_actions():
    for choice in itertools.product(range(ACTIONS), repeat=HORIZON * STATES):
        yield torch.tensor(choice).reshape(HORIZON, STATES)


def one_hot(actions):
    return torch.nn.functional.one_hot(actions, ACTIONS).double()


def paths(flows, b, policy):
    """Chance and cells of every path of one flow under a policy."""
    for path in itertools.product(itertools.product(range(STATES), range(ACTIONS)), repeat=HORIZON):
        chance = float(RHO0[path[0][0]])
        for h, (s, a) in enumerate(path):
            chance *= float(policy[h, s, a])
            if h + 1 < HORIZON:
                chance *= float(flows.transition[b, h, s, a, path[h + 1][0]])
        yield chance, path


def value(flows, b, policy):
    """V(flow_b, pi), path by path."""
    return sum(
        chance * sum(float(flows.reward[b, h, s, a]) for h, (s, a) in enumerate(path))
        for chance, path in paths(flows, b, policy)
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_values_are_the_sums_over_paths(seed):
    flows = random_flows(2, seed=seed)
    actions = greedy_deviation(random_flows(3, seed=seed + 9)).actions  # of other flows: any policy will do
    values = values_of(flows, actions)
    assert values.shape == (2, HORIZON + 1, STATES)
    for b in range(2):
        expected = value(flows, b, one_hot(actions))
        assert (values[b, 0] @ RHO0).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_expected_moves_leave_a_return_its_mean_and_take_its_luck(seed):
    flows, policy = random_flows(1, seed=seed), random_policy(seed)
    deviation = greedy_deviation(random_flows(3, seed=seed + 9))
    moves = expected_moves(flows, deviation.values)
    start = (deviation.values[0] @ RHO0).item()
    plain, adjusted = [], []
    for chance, path in paths(flows, 0, policy):
        got = sum(float(flows.reward[0, h, s, a]) for h, (s, a) in enumerate(path))
        moved = sum(float(moves[0, h, s, a]) for h, (s, a) in enumerate(path))
        plain.append((chance, got))
        adjusted.append((chance, got + start + moved))
    assert mean_of(adjusted) == pytest.approx(mean_of(plain), abs=1e-12)


def mean_of(outcomes):
    return sum(chance * outcome for chance, outcome in outcomes)


def test_no_luck_is_left_of_a_deviation_on_its_own_problem():
    flows = random_flows(3, spread=0.0)
    deviation = greedy_deviation(flows)
    moves = expected_moves(flows, deviation.values)
    start = (deviation.values[0] @ RHO0).item()
    for chance, path in paths(flows, 0, one_hot(deviation.actions)):
        if chance > 0:
            got = sum(float((flows.reward + moves)[0, h, s, a]) for h, (s, a) in enumerate(path))
            assert got == pytest.approx(0.0, abs=1e-12)  # so that the adjusted return is `start`, always
    assert start == pytest.approx(value(flows, 0, one_hot(deviation.actions)), abs=1e-12)


def test_the_greedy_deviation_is_the_best_on_equal_flows():
    flows = random_flows(4, spread=0.0, seed=3)
    best = max(value(flows, 0, one_hot(actions)) for actions in deterministic_actions())
    found = greedy_deviation(flows)
    assert value(flows, 0, one_hot(found.actions)) == pytest.approx(best, abs=1e-12)
    assert (found.values[0] @ RHO0).item() == pytest.approx(best, abs=1e-12)
    assert torch.equal(found.values[HORIZON], torch.zeros(STATES, dtype=torch.float64))


def test_batches_of_problems_are_solved_one_by_one():
    several = [random_flows(5, seed=seed) for seed in range(3)]
    together = FrozenFlows(*(torch.stack(parts) for parts in zip(*several, strict=True)))
    found = greedy_deviation(together)
    worth = values_of(together, found.actions[:, None])
    moves, paid = expected_moves(together, found.values[:, None]), payable(together)
    for d, flows in enumerate(several):
        alone = greedy_deviation(flows)
        assert torch.equal(found.actions[d], alone.actions)
        assert torch.allclose(found.values[d], alone.values)
        assert torch.allclose(worth[d], values_of(flows, alone.actions))
        assert torch.allclose(moves[d], expected_moves(flows, alone.values))
        assert paid[d] == payable(flows)


def test_what_the_game_can_pay():
    reward = torch.zeros(2, HORIZON, STATES, ACTIONS, dtype=torch.float64)
    reward[0, 1, 0, 1] = 2.0
    reward[1, 2, 1, 0] = -4.0
    flows = FrozenFlows(torch.full((2, HORIZON, STATES, ACTIONS, STATES), 0.5).double(), reward)
    assert payable(flows).item() == 3.0


def test_the_ends_by_hand():
    fitted, held_out = torch.tensor([1.0, 3.0, 2.0, 2.0]).double(), torch.tensor([0.5, 1.5]).double()
    found = bracket(fitted, held_out, 100.0, z=2.0)
    error = 2.0 * 0.5**0.5 / 2**0.5
    assert found.estimate == 1.0
    assert found.lower == pytest.approx(1.0 - error)
    assert found.upper == pytest.approx(max(2.0 + 2.0 * (2 / 3) ** 0.5 / 2, 1.0 + error))
    assert not found.too_weak


def test_a_best_response_gains_nothing():
    zero = torch.zeros(5, dtype=torch.float64)
    assert bracket(zero, zero, 1.0) == (0.0, 0.0, 0.0, False)


@pytest.mark.parametrize(
    ("fitted", "held_out", "payable", "weak"),
    [
        ([0.0, 1.0, 0.0, 1.0], [1.0, -1.0, 1.0, -1.0], 4.0, True),  # no gain shown, and wide
        ([0.0, 1.0, 0.0, 1.0], [1.0, -1.0, 1.0, -1.0], 40.0, False),  # wide, but little beside the stakes
        ([5.0, 5.1, 4.9, 5.0], [3.0, 3.1, 2.9, 3.0], 40.0, True),  # the halves disagree
        ([5.0, 7.1, 2.9, 5.0], [3.0, 5.1, 1.9, 3.0], 40.0, False),  # but not beyond their intervals
        ([2.0, 2.1, 1.9, 2.0], [2.0, 1.9, 2.1, 2.0], 4.0, False),
    ],
)
def test_when_a_deviator_is_too_weak(fitted, held_out, payable, weak):
    found = bracket(torch.tensor(fitted).double(), torch.tensor(held_out).double(), payable)
    assert found.too_weak == weak


def test_the_largest_is_chosen_by_one_half_and_measured_by_the_other():
    fitted = torch.tensor([[0.0, 2.0, 1.0], [0.2, 2.2, 1.2]]).double()
    held_out = torch.tensor([[3.0, 1.0, 0.0], [3.2, 1.2, 0.4]]).double()
    found, chosen = largest_bracket(fitted, held_out, torch.full((3,), 50.0).double(), z=1.0)
    alone = bracket(fitted[:, 1], held_out[:, 1], 50.0, z=1.0)
    assert chosen == 1
    assert (found.estimate, found.lower) == (alone.estimate, alone.lower)
    assert found.upper == pytest.approx(3.1 + 0.1)  # the first unit's held-out end, the largest of all


def test_the_largest_of_many_equal_gains_is_not_flattered():
    # 300 units that gain nothing, each seen through noise: the raw maximum of their means would say .5
    estimates, raw, covered = [], [], 0
    for seed in range(100):
        noise = torch.randn(40, 300, generator=torch.Generator().manual_seed(seed)).double()
        found, _ = largest_bracket(noise[:20], noise[20:], torch.full((300,), 20.0).double())
        estimates.append(found.estimate)
        raw.append(noise[20:].mean(0).max().item())
        covered += found.lower <= 0 <= found.upper
    assert abs(torch.tensor(estimates).mean()) < 3 * (1 / 20 / 100) ** 0.5
    assert min(raw) > 0.3
    assert covered >= 95


def test_the_largest_of_unequal_gains_is_covered():
    truth = torch.linspace(0, 1, 30).double()
    covered = 0
    for seed in range(100):
        noise = torch.randn(40, 30, generator=torch.Generator().manual_seed(seed)).double()
        found, _ = largest_bracket(noise[:20] + truth, noise[20:] + truth, torch.full((30,), 20.0).double())
        covered += found.lower <= 1.0 <= found.upper
    assert covered >= 95


def test_the_bracket_covers_what_enumeration_finds():
    # flows drawn from ten equally likely ones, so that the estimand is a maximum over 64 policies
    everything, policy = random_flows(10, seed=7, spread=0.6), random_policy(seed=2)
    own = sum(value(everything, b, policy) for b in range(10)) / 10
    values = [
        sum(value(everything, b, one_hot(actions)) for b in range(10)) / 10
        for actions in deterministic_actions()
    ]
    truth, covered = max(values) - own, 0
    gains = {}  # of each deviation on each of the ten flows, in expectation over the agent's own moves
    for seed in range(100):
        index = torch.randint(10, (200,), generator=torch.Generator().manual_seed(seed))
        fit = FrozenFlows(everything.transition[index[:100]], everything.reward[index[:100]])
        actions = greedy_deviation(fit).actions
        key = tuple(actions.flatten().tolist())
        if key not in gains:
            gains[key] = torch.tensor(
                [value(everything, b, one_hot(actions)) - value(everything, b, policy) for b in range(10)]
            ).double()
        found = bracket(gains[key][index[:100]], gains[key][index[100:]], payable(fit).item())
        covered += found.lower <= truth <= found.upper
    assert covered >= 90
