"""Episodes on a GPU: from their first step on the host waits for nothing, and they are those of the CPU."""

import contextlib
from pathlib import Path

import pytest
import torch

from mf_pmd.errors import DivergenceError
from mf_pmd.functional.distributions import count_values
from mf_pmd.games import REGISTRY, PopulationGame
from mf_pmd.games.a_sis import ASIS
from mf_pmd.runners import compiled_step
from mf_pmd.runners.counted_population import CountedPopulation

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
SMALL = ("env_args.n_agents=13", "batch_size_run=2", "batch_size=2", "buffer_size=2")
COLUMNS = ("obs", "actions", "reward", "state")
COUNTED = [k for k, kind in REGISTRY.items() if issubclass(kind, PopulationGame) and not kind.random_rewards]


@pytest.fixture
def plays(build):
    """Assembles a runner, on the GPU or not."""

    def make(alg, env, *words, cuda=True):
        horizon = "env_args.knobs.T=2" if env == "mfglib" else "env_args.horizon=3"
        return build(alg, env, *SMALL, horizon, *words, f"use_cuda={cuda}").runner

    return make


@contextlib.contextmanager
def no_waiting_from(owner, name, gpu, monkeypatch):
    """Within the block the host may not wait from the first call of a function on."""
    function = getattr(owner, name)
    with contextlib.ExitStack() as stack:

        def first(*args, **kwargs):
            monkeypatch.setattr(owner, name, function)
            stack.enter_context(gpu.no_waiting())
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, first)
        yield


def play(runner, gpu, monkeypatch):
    """The second batch, which finds what the first has made ready."""
    step = (runner.stepper, "step") if runner.compiled is None else (runner, "compiled")
    runner._play(test_mode=False)
    with no_waiting_from(*step, gpu, monkeypatch):
        return runner._play(test_mode=False)[0]


def same(batch, other):
    """Whether two batches hold the same, on whichever devices they are."""
    assert batch["actions"].is_cuda != other["actions"].is_cuda
    return all(torch.equal(batch[key].cpu(), other[key].cpu()) for key in COLUMNS)


@pytest.mark.parametrize("env", [*sorted(REGISTRY), *map(str, EXAMPLES)], ids=lambda env: Path(env).stem)
def test_a_step_of_every_game_waits_for_nothing(gpu, plays, monkeypatch, env):
    numbered = env not in REGISTRY or issubclass(REGISTRY[env], PopulationGame)
    alg = "mf_pmd_tabular" if numbered else "mf_ppo"
    found = play(plays(alg, env), gpu, monkeypatch)
    assert found["obs"].is_cuda
    if gpu.plays_as_the_cpu:
        runner = plays(alg, env, cuda=False)
        runner._play(test_mode=False)
        assert same(found, runner._play(test_mode=False)[0])


@pytest.mark.parametrize(
    ("alg", "word"),
    [
        ("mf_pmd", "population_dependent=True"),
        ("mf_pmd", "agent=deep_set_network"),
        ("mf_ppo", "identity=own_network"),
        ("mf_q", "beta=1.0"),
        ("ipmd", "output_policy=last"),
    ],
)
def test_whatever_plays_waits_for_nothing(gpu, plays, monkeypatch, alg, word):
    found = play(plays(alg, "a_sis", word), gpu, monkeypatch)
    if gpu.plays_as_the_cpu:
        runner = plays(alg, "a_sis", word, cuda=False)
        runner._play(test_mode=False)
        assert same(found, runner._play(test_mode=False)[0])


def test_the_function_that_is_compiled_waits_for_nothing(gpu, plays, monkeypatch):
    monkeypatch.setattr(compiled_step, "has_compiler", lambda: False)  # it is the function that matters here
    runner = plays("mf_pmd_tabular", "a_beach", "population.compile=True")
    found = play(runner, gpu, monkeypatch)
    if gpu.plays_as_the_cpu:
        runner = plays("mf_pmd_tabular", "a_beach", cuda=False)
        runner._play(test_mode=False)
        assert same(found, runner._play(test_mode=False)[0])


@pytest.mark.parametrize("key", sorted(COUNTED))
def test_a_counted_step_waits_for_nothing(gpu, plays, monkeypatch, key):
    runner = plays("mf_pmd_tabular", key, "runner=counts", "env_args.n_agents=1000")
    runner._play(test_mode=False)
    with no_waiting_from(CountedPopulation, "move", gpu, monkeypatch):
        found, returns = runner._play(test_mode=False)
    assert returns.is_cuda
    if gpu.plays_as_the_cpu:
        runner = plays("mf_pmd_tabular", key, "runner=counts", "env_args.n_agents=1000", cuda=False)
        runner._play(test_mode=False)
        expected = runner._play(test_mode=False)[0].statistics
        for name in ("visits", "reward_sum", "next_state", "state_count"):
            assert torch.equal(getattr(found.statistics, name).cpu(), getattr(expected, name))


@pytest.mark.parametrize("key", ["susceptible_infected", "beach_bar"])
def test_kernels_of_mfglib_are_called_on_the_cpu_and_nothing_else_waits(gpu, plays, monkeypatch, key):
    word = f"env_args.key={key}"
    runner = plays("mf_pmd_tabular", "mfglib", word)
    game = runner.game
    runner._play(test_mode=False)
    for kernel in ("_law_kernel", "_reward_kernel"):
        assert (
            getattr(game, kernel)(0, torch.full((1, *game._axes, game.n_actions), 0.1)).device.type == "cpu"
        )
    found = runner._play(test_mode=False)[0]
    if gpu.plays_as_the_cpu:
        expected = plays("mf_pmd_tabular", "mfglib", word, cuda=False)
        expected._play(test_mode=False)
        assert same(found, expected._play(test_mode=False)[0])


@pytest.mark.parametrize("runner", ["population", "counts"])
def test_a_game_that_looks_at_its_numbers_is_found_out(gpu, plays, monkeypatch, runner):
    """Or these tests could not fail."""
    name = {"population": "_move", "counts": "transition_table"}[runner]
    function = getattr(ASIS, name)

    def looks(self, *args):
        found = function(self, *args)
        assert torch.isfinite(found[-1]).all()
        return found

    monkeypatch.setattr(ASIS, name, looks)
    played = plays("mf_pmd_tabular", "a_sis", f"runner={runner}")
    step = (played.stepper, "step") if runner == "population" else (CountedPopulation, "move")
    played._play(test_mode=False)
    with pytest.raises(RuntimeError, match=r"reads|synchroniz"), no_waiting_from(*step, gpu, monkeypatch):
        played._play(test_mode=False)


def test_a_policy_that_is_none_is_found_before_the_next_batch(gpu, build):
    pieces = build("mf_q", "a_sis", *SMALL, "env_args.horizon=3", "use_cuda=True")
    with torch.no_grad():
        for parameter in pieces.learner.mac.parameters():
            parameter.fill_(torch.nan)
    pieces.runner._play(test_mode=False)
    with pytest.raises(DivergenceError, match="the Boltzmann policy holds NaN"):
        pieces.runner._play(test_mode=False)


COPIES = {"tensor", "as_tensor", "item", "tolist", "cpu", "numpy", "nonzero", "unique", "bincount"}


@pytest.mark.parametrize("key", sorted(REGISTRY))
def test_a_step_is_one_graph_without_a_copy(make_game, key):
    """As a CUDA graph must be: of one piece, and nothing in it waits or comes from the host."""
    game = make_game(key, n_agents=13, horizon=3)
    step = compiled_step.CompiledStep.__new__(compiled_step.CompiledStep)
    step.game, step.state_type, called = game, game.state_type, []

    def record(graph, inputs):
        called.append({str(getattr(node.target, "__name__", node.target)) for node in graph.graph.nodes})
        return graph.forward

    states = game.reset(2).to(game.state_type)
    n_rows = game.n_states or 1
    thresholds = torch.full((1, n_rows, game.n_actions - 1), 0.5)
    counts = count_values(game.places(states), game.n_places)
    inputs = (thresholds, states % n_rows, states, counts, torch.rand(states.shape), game.draws(2))
    torch._dynamo.reset()
    found = torch.compile(step.plain, backend=record, dynamic=False)(*inputs)
    assert torch.equal(found.actions, step.plain(*inputs).actions)
    assert len(called) == 1
    assert "gather" in called[0]
    assert not called[0] & COPIES
