"""The bracket against closed forms, the agent itself counted in the population."""

import mfglib.env
import pytest
import torch

ENVIRONMENTS = {
    "rock-paper-scissors, uniform": mfglib.env.Environment.rock_paper_scissors,
    "rock-paper-scissors, mean-field Nash": mfglib.env.Environment.rock_paper_scissors,
    "left-right, mean-field Nash": mfglib.env.Environment.left_right,
}
CASES = list(ENVIRONMENTS)


@pytest.mark.parametrize("name", CASES)
def test_the_games_are_mfglibs(closed_forms, name):
    environment = ENVIRONMENTS[name]()
    game = closed_forms.CASES[name].game(n_agents=5)
    assert (game.horizon, game.n_states, game.n_actions) == (
        environment.T + 1,
        environment.n_states,
        environment.n_actions,
    )
    assert game.initial_law.tolist() == environment.mu0.tolist()
    random = torch.Generator().manual_seed(0)
    mu = torch.rand(6, game.n_states, game.n_actions, generator=random)
    mu /= mu.sum((1, 2), keepdim=True)
    zero = torch.zeros(())
    for t in range(environment.T + 1):
        for one in mu:
            law = environment.prob(t, one).movedim(0, -1)
            assert torch.equal(game.transition_table(one, zero), law)
            assert torch.allclose(game.reward_table(one, zero), environment.reward(t, one), atol=1e-6)


@pytest.mark.parametrize("n_agents", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_the_closed_forms_are_what_enumeration_finds(closed_forms, enumeration, name, n_agents):
    case = closed_forms.CASES[name]
    game = case.game(n_agents)
    joint = enumeration.JointGame(game)
    profile = case.policy().expand(n_agents, -1, -1, -1)
    # only the first move matters: deviations of the first row, the rest as it is
    own = joint.returns(profile)[0]
    best = -torch.inf
    for a in range(game.n_actions):
        deviating = profile.clone()
        deviating[0, 0] = torch.nn.functional.one_hot(torch.tensor(a), game.n_actions).double()
        best = max(best, joint.returns(deviating)[0].item())
    assert best - own.item() == pytest.approx(case.truth(n_agents), abs=1e-12)


def repeat(case, score_of, *, n_agents, n_episodes, repetitions, individual=False):
    """How often the interval of the mean and that of the maximum cover, and verdicts that mislead."""
    truth, policy = case.truth(n_agents), case.policy()
    mean = largest = misleading = 0
    for seed in range(repetitions):
        torch.manual_seed(seed)
        score = score_of(case.game(n_agents, seed), policy, n_episodes, individual=individual)
        verdict = score.verdict(score.gains())
        mean += verdict.mean.lower <= truth <= verdict.mean.upper
        largest += verdict.largest.lower <= truth <= verdict.largest.upper
        misleading += verdict.mean.upper < truth and not verdict.too_weak
    return mean, largest, misleading


@pytest.mark.parametrize("n_agents", [5, 20])
@pytest.mark.parametrize("name", CASES)
def test_the_interval_covers_the_closed_form(closed_forms, score_of, name, n_agents):
    case = closed_forms.CASES[name]
    mean, largest, misleading = repeat(case, score_of, n_agents=n_agents, n_episodes=40, repetitions=20)
    assert min(mean, largest) >= 17  # at a coverage of .95, less than 2 in 100
    assert misleading <= 1


def test_agents_judged_one_by_one_are_covered_too(closed_forms, score_of):
    case = closed_forms.CASES["rock-paper-scissors, uniform"]
    mean, largest, misleading = repeat(
        case, score_of, n_agents=5, n_episodes=100, repetitions=20, individual=True
    )
    assert min(mean, largest) >= 17
    assert misleading <= 1


@pytest.mark.slow
@pytest.mark.parametrize("n_agents", [5, 20, 100])
@pytest.mark.parametrize("name", CASES)
def test_the_interval_covers_in_ninety_of_a_hundred(closed_forms, score_of, name, n_agents):
    case = closed_forms.CASES[name]
    for n_episodes in (40, 400) if n_agents < 100 else (40,):
        mean, largest, misleading = repeat(
            case, score_of, n_agents=n_agents, n_episodes=n_episodes, repetitions=100
        )
        assert mean >= 90
        assert largest >= 90
        assert misleading <= 5


@pytest.mark.parametrize("seed", range(10))
def test_a_deviator_fitted_on_too_little_never_makes_a_small_number(closed_forms, score_of, seed):
    # 40 episodes at N = 5: the truth is .267
    case = closed_forms.CASES["rock-paper-scissors, uniform"]
    torch.manual_seed(seed)
    scores = score_of(case.game(5, seed), case.policy(), 40).scores()
    assert scores["exploitability_too_weak"] == 1.0 or scores["exploitability_mean_upper"] >= case.truth(5)
