"""The runner's step: small integers, few bytes, no copies, and the compiled form."""

import logging
import shutil
from types import MethodType

import pytest
import torch

from mf_pmd.controllers.mean_field_controller import MeanFieldMAC
from mf_pmd.controllers.population_mac import InverseCDFSampler
from mf_pmd.errors import UserError
from mf_pmd.functional.distributions import count_values
from mf_pmd.functional.sampling import inverse_cdf_thresholds
from mf_pmd.games import TableGame
from mf_pmd.games.a_beach import ABeach
from mf_pmd.host.utils.random_states import seed_everything
from mf_pmd.runners import compiled_step
from mf_pmd.runners.compiled_step import CompiledStep, has_compiler
from mf_pmd.runners.stepper import Stepper

WORDS = ["env_args.n_agents=300", "env_args.horizon=5", "batch_size_run=3", "batch_size=3", "buffer_size=3"]
LEARNERS = ("mf_pmd_tabular", "mf_pmd", "mf_q", "mf_ac", "ipmd", "munchausen_omd")


def tensors(batch):
    return {key: batch[key] for key in ("obs", "actions", "reward", "state", "terminated", "actions_onehot")}


class Plain:
    """Steps a game as it is stepped without the runner: ``reset`` and ``step_at``, in int64."""

    state_type = torch.int64

    def __init__(self, game):
        self.game = game

    def reset(self, batch_size):
        return self.game.reset(batch_size)

    def step(self, h, states, actions, counts):
        return self.game.step_at(h, states, actions.long())


@pytest.mark.parametrize("env", ["a_sis", "a_rps", "a_beach", "taxi_lite", "mfglib"])
def test_small_integers_play_what_int64_plays(build, env):
    words = WORDS if env != "mfglib" else [word for word in WORDS if "horizon" not in word]
    played = []
    for plainly in (False, True):
        seed_everything(3)
        runner = build("mf_pmd_tabular", env, *words).runner
        if plainly:
            runner.stepper = Plain(runner.game)
            runner.layout[0]["obs"]["dtype"], runner.layout[0]["actions"]["dtype"] = (
                torch.float32,
                torch.int64,
            )
        batch = runner.run(test_mode=False)
        played.append((tensors(batch), runner.game.generator.get_state(), torch.get_rng_state()))
    (small, *streams), (wide, *others) = played
    assert (small["obs"].dtype, wide["obs"].dtype) == (torch.uint8, torch.float32)
    assert (small["actions"].dtype, wide["actions"].dtype) == (torch.uint8, torch.int64)
    assert all(torch.equal(small[key].double(), wide[key].double()) for key in small)
    assert all(torch.equal(one, two) for one, two in zip(streams, others, strict=True))


@pytest.mark.parametrize("alg", LEARNERS)
def test_an_agent_step_takes_few_bytes_and_is_stored_once(build, alg):
    pieces = build(alg, "a_beach", *WORDS)
    batch = pieces.runner.run(test_mode=False)
    per_step = sum(column.nbytes for column in batch.data.stored.values()) / batch["reward"][:, :-1].numel()
    assert per_step < 24
    assert per_step == pytest.approx(
        6 * 6 / 5, rel=0.1
    )  # uint8, uint8 and float32, T + 1 of T; state a little
    if pieces.buffer is None:
        assert batch["obs"].data_ptr() == batch.data.stored["obs"].data_ptr()
    pieces.learner.train(batch, 0, 0)


def test_a_batch_of_one_epoch_needs_no_buffer(build):
    assert build("mf_pmd_tabular", "a_beach", *WORDS).buffer is None
    assert build("mf_pmd", "a_beach", *WORDS).buffer is None


def test_agents_who_see_features_are_stored_as_ever(build):
    batch = build("ippo", "a_beach", *WORDS, "hidden_dim=4").runner.run(test_mode=False)
    assert (batch["obs"].dtype, batch["actions"].dtype) == (torch.float32, torch.int64)


@pytest.mark.parametrize("alg", ["ippo", "iql", "mf_ppo"])
def test_networks_of_the_host_may_see_numbers(build, alg):
    pieces = build(
        alg, "a_sis", "env_args.n_agents=6", "env_args.horizon=3", "hidden_dim=4", "observation=index"
    )
    batch = pieces.runner.run(test_mode=False)
    assert batch["obs"].dtype == torch.uint8
    if pieces.buffer is not None:
        pieces.buffer.insert_episode_batch(batch)
        batch = pieces.buffer.sample(pieces.runner.batch_size)
    pieces.learner.train(batch, 0, 0)


def test_parts_of_one_s_own_are_shown_as_they_are(build, monkeypatch):
    monkeypatch.setattr(ABeach, "parts", lambda self, states: states.unsqueeze(-1) / 4)
    batch = build("mf_ppo", "a_beach", *WORDS, "observation=index").runner.run(test_mode=False)
    assert batch["obs"].dtype == torch.float32
    assert batch["obs"].unique().tolist() == [site / 4 for site in range(10)]


class Wandering(TableGame):
    """Kernels that depend on the step."""

    time_dependent = True

    def transition_table(self, mu, personal, steps):
        return torch.full((*mu.shape, 2), 0.5, dtype=mu.dtype)

    def reward_table(self, mu, personal, steps):
        return 0 * mu


class Frozen(ABeach):
    """A step of one's own."""

    def sample_step(self, states, actions, others):
        return super().sample_step(states, actions, others)


@pytest.fixture
def frozen(make_game):
    beach = make_game("a_beach")
    knobs = {name: getattr(beach, name) for name in ("c1", "c2", "c3", "noise", "eps", "eps_beta")}
    return Frozen(n_agents=20, horizon=3, n_sites=10, bar=None, population="others", **knobs)


def test_a_step_of_one_s_own_gets_int64_and_counts_for_itself(frozen):
    stepper = Stepper(frozen)
    states = stepper.reset(2)
    step = stepper.step(0, states, torch.zeros(2, 20, dtype=torch.uint8), None)
    assert states.dtype == step.next_states.dtype == torch.int64


def inputs_of(game, seed=0):
    states = game.reset(2).to(game.state_type)
    policy = torch.softmax(torch.randn(1, game.n_states, game.n_actions), -1)
    return inverse_cdf_thresholds(policy), states, states, count_values(states, game.n_states)


def test_compiling_what_is_no_function_is_refused(frozen):
    with pytest.raises(UserError, match=r"population.compile=True: Frozen .* set population.compile=False"):
        CompiledStep(frozen, logging.getLogger("test").warning)
    wandering = Wandering(
        n_agents=4, n_states=2, n_actions=2, horizon=2, initial_law=torch.tensor([0.5, 0.5])
    )
    with pytest.raises(UserError, match="Wandering"):
        CompiledStep(wandering, logging.getLogger("test").warning)


NO_COMPILERS = {
    "named and not there": ("CXX", "/nonexistent"),
    "none": ("PATH", "/nonexistent"),
    "there and compiles nothing": ("CXX", shutil.which("false")),
    "there and does nothing": ("CXX", shutil.which("true")),
}


def test_a_compiler_that_does_not_end_is_none(monkeypatch, tmp_path):
    waiting = tmp_path / "waiting"
    waiting.write_text("#!/bin/sh\nexec sleep 30\n")
    waiting.chmod(0o755)
    monkeypatch.setattr(compiled_step, "PATIENCE", 0.2)
    assert not compiled_step.compiles(str(waiting))


@pytest.mark.parametrize(("variable", "value"), NO_COMPILERS.values(), ids=NO_COMPILERS)
def test_without_a_compiler_the_plain_step_plays_after_one_warning(build, monkeypatch, variable, value):
    seed_everything(3)
    plain = tensors(build("mf_pmd_tabular", "a_beach", *WORDS).runner.run(test_mode=False))
    monkeypatch.setenv(variable, value)
    assert not has_compiler()
    seed_everything(3)
    warned = []
    monkeypatch.setattr(logging.Logger, "warning", lambda self, text, *values: warned.append(text % values))
    runner = build("mf_pmd_tabular", "a_beach", *WORDS, "population.compile=True").runner
    fallen_back = tensors(runner.run(test_mode=False))
    runner.run(test_mode=False)
    assert len([text for text in warned if "population.compile" in text]) == 1
    assert all(torch.equal(plain[key], fallen_back[key]) for key in plain)


@pytest.mark.parametrize(
    ("alg", "env", "words"),
    [
        ("mf_pmd_tabular", "a_beach", ["runner=counts"]),
        ("mf_ppo", "a_taxi", ["hidden_dim=4"]),
        ("ipmd", "a_beach", []),
    ],
)
def test_a_run_of_which_nothing_is_compiled_says_so(build, monkeypatch, alg, env, words):
    warned = []
    monkeypatch.setattr(logging.Logger, "warning", lambda self, text, *values: warned.append(text % values))
    monkeypatch.setattr("mf_pmd.runners.compiled_step.has_compiler", lambda: True)
    for word in ("False", "True"):
        assert not [text for text in warned if "population.compile" in text]
        build(alg, env, *WORDS, *words, f"population.compile={word}")
    (said,) = [text for text in warned if "population.compile" in text]
    assert "nothing is compiled" in said
    assert all(word in said for word in words if word.startswith("runner"))


class Lazy(InverseCDFSampler):
    """A sampler of one's own, by which everyone plays the first action."""

    def select_action(self, policy, rows):
        return torch.zeros_like(rows)


def lazily(self, ep_batch, t_ep, t_env, bs=slice(None), test_mode=False):
    return torch.zeros_like(ep_batch["obs"][bs, t_ep, :, 0])


@pytest.mark.parametrize("word", ["False", "True"])
@pytest.mark.parametrize("way", ["sampler", "selection of a class", "selection of an instance"])
def test_a_way_of_drawing_actions_of_one_s_own_is_played(build, monkeypatch, way, word):
    warned = []
    monkeypatch.setattr(logging.Logger, "warning", lambda self, text, *values: warned.append(text % values))
    monkeypatch.setattr("mf_pmd.runners.compiled_step.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    make = MeanFieldMAC.__init__

    def make_with_an_own_way(self, *args):
        make(self, *args)
        if way == "sampler":
            self.action_selector = Lazy()
        elif way == "selection of an instance":
            self.select_actions = MethodType(lazily, self)

    monkeypatch.setattr(MeanFieldMAC, "__init__", make_with_an_own_way)
    if way == "selection of a class":
        monkeypatch.setattr(MeanFieldMAC, "select_actions", lazily, raising=False)
    runner = build("mf_pmd_tabular", "a_beach", *WORDS, f"population.compile={word}").runner
    assert not runner.run(test_mode=False)["actions"].any()
    assert [text for text in warned if "nothing is compiled" in text] == warned
    assert len(warned) == (word == "True")


@pytest.mark.parametrize(
    ("alg", "shared"), [("mf_pmd_tabular", True), ("mf_pmd", True), ("mf_q", True), ("ipmd", False)]
)
def test_controllers_say_whether_thresholds_tell_all(build, alg, shared):
    assert build(alg, "a_beach", *WORDS).learner.mac.draws_from_thresholds is shared


def test_what_torch_cannot_compile_is_played_plainly_after_one_warning(make_game):
    def refuse(*inputs):
        raise torch._dynamo.exc.TorchDynamoException("no\nway")

    warned = []
    step = CompiledStep(make_game("a_beach", n_agents=20), lambda text, *values: warned.append(text % values))
    step._compiles, step._function = True, refuse
    for _ in range(2):
        played = step(0, *inputs_of(step.game))
        assert played.actions.shape == (2, 20)
    assert [text for text in warned if "cannot compile" in text] == [
        "population.compile=True: torch cannot compile the step of this game (no), so that it is not"
    ]


class Tabled(TableGame):
    """A fixed transition, of which a game of tables keeps thresholds."""

    fixed_transition = True

    def transition_table(self, mu, personal):
        return torch.full((*mu.shape, 2), 0.5, dtype=mu.dtype)

    def reward_table(self, mu, personal):
        return mu + 0 * personal[..., None, None]


def test_what_a_game_keeps_of_its_tables_is_compiled_once(monkeypatch):
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compile_as_it_is = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_as_it_is(f, backend=keep, dynamic=False))
    monkeypatch.setattr("mf_pmd.runners.compiled_step.has_compiler", lambda: True)
    law = torch.tensor([0.5, 0.5])
    games = [Tabled(n_agents=20, n_states=2, n_actions=2, horizon=4, initial_law=law) for _ in range(2)]
    step, made = CompiledStep(games[0], pytest.fail), []
    inputs, _ = inputs_of(games[0]), inputs_of(games[1])
    for h in range(4):
        torch.manual_seed(h)
        expected = step.plain(*inputs, torch.rand(2, 20), games[1].draws(2))
        torch.manual_seed(h)
        assert all(torch.equal(*pair) for pair in zip(step(h, *inputs), expected, strict=True))
        made.append(len(graphs))
    assert made[0] == 0
    assert made[1] == made[3] > 0


def test_the_compiled_runner_plays_what_the_plain_one_plays(build, monkeypatch):
    # traced, and run without code being generated: the same operations, whatever a compiler makes of them
    compile_as_it_is = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_as_it_is(f, backend="eager", dynamic=False))
    monkeypatch.setattr("mf_pmd.runners.compiled_step.has_compiler", lambda: True)
    played = []
    for word in ("False", "True"):
        seed_everything(3)
        runner = build("mf_pmd_tabular", "a_beach", *WORDS, f"population.compile={word}").runner
        batch = runner.run(test_mode=False)
        played.append([*tensors(batch).values(), runner.game.generator.get_state(), torch.get_rng_state()])
    assert runner.compiled is not None
    assert runner.compiled._compiles
    assert all(torch.equal(one, two) for one, two in zip(*played, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="no C++ compiler here")
@pytest.mark.parametrize("key", ["a_sis", "a_rps", "a_beach", "taxi_lite"])
def test_compiled_code_plays_what_the_plain_step_plays(make_game, key):
    games = [make_game(key, n_agents=500) for _ in range(2)]
    step = CompiledStep(games[1], pytest.fail)
    torch.manual_seed(0)
    first = inputs_of(games[0])
    inputs_of(games[1])
    for h in range(3):
        torch.manual_seed(h)
        draws = torch.rand(first[1].shape), games[0].draws(2)
        expected = step.plain(*first, *draws)
        torch.manual_seed(h)
        found = step(h, *first)
        assert torch.equal(found.actions, expected.actions)
        assert torch.equal(found.next_states, expected.next_states)
        assert torch.allclose(found.rewards, expected.rewards, rtol=1e-6)  # fused multiply and add round once
