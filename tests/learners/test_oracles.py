"""omd and fictitious_play as runs: they follow the maths, read no sample, and say what they need."""

import math
from types import SimpleNamespace

import pytest
import torch

import mf_pmd
from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.fictitious_play import fictitious_play_step
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step
from mf_pmd.host import run

ALGS = ("omd", "fictitious_play")
WORDS = ["env_args.n_agents=30", "env_args.horizon=4"]
EPOCH = 40  # 10 episodes of 4 steps


@pytest.fixture(params=ALGS)
def alg(request):
    return request.param


@pytest.fixture
def pieces(build):
    """Runner and learner of a small game."""
    return lambda alg, *words, env="a_beach": build(alg, env, *WORDS, *words)


def policies(alg, model, shape, count):
    """The iterates of the pure functions, pi_1 .. pi_count."""
    logits = torch.zeros(shape, dtype=torch.float64)
    policy = torch.full(shape, 1 / shape[-1], dtype=torch.float64)
    for t in range(count):
        if alg == "omd":
            logits = online_mirror_descent_step(model, logits, step_size=1.0).logits
            policy = torch.softmax(logits, -1)
        else:
            policy = fictitious_play_step(model, policy, weight=1 / (t + 2)).policy
        yield policy


def test_the_learner_follows_the_functions(pieces, make_game, alg):
    found = pieces(alg, "learner_log_interval=1")
    model = make_game("a_beach", horizon=4).mean_field_model()
    batch = found.runner.run(test_mode=False)
    before = torch.full((4, 10, 3), 1 / 3, dtype=torch.float64)
    for epoch, policy in enumerate(policies(alg, model, (4, 10, 3), 15)):
        found.learner.train(batch, t_env=EPOCH * (epoch + 1), episode_num=0)
        table = found.learner.mac.agent.log_table
        assert torch.isfinite(table).all()
        assert torch.allclose(table.exp().double(), policy, atol=1e-6)
        assert torch.equal(found.learner.mac.history.mean("last"), table.exp())
        exact = mean_field_exploitability(model, tabular_policy(before)).item()
        assert found.learner.logger.last("mean_field_exploitability") == pytest.approx(exact, abs=1e-12)
        before = policy
    assert found.learner.mac.output_policy == "last"


def test_what_was_played_is_not_read(pieces, alg):
    tables = []
    for poison in (False, True):
        found = pieces(alg)
        batch = found.runner.run(test_mode=False)
        if poison:
            batch["reward"][:] = math.nan
        for _ in range(3):
            found.learner.train(batch, t_env=EPOCH, episode_num=10)
        tables.append(found.learner.mac.agent.log_table.clone())
    assert torch.equal(*tables)
    assert (tables[0].exp() - 1 / 3).abs().max() > 0.1


def test_a_game_without_tables_is_refused(pieces, alg):
    learner = pieces(alg).learner
    for info in ({"model": None}, {}):
        known = {k: v for k, v in learner.args.population_info.items() if k != "model"}
        args = SimpleNamespace(**{**vars(learner.args), "population_info": known | info})
        with pytest.raises(
            UserError, match=f"env_args.key=a_beach: a game without tables, and {alg} "
        ) as caught:
            type(learner)(learner.mac, {}, learner.logger, args)
        assert "\n" not in str(caught.value)


REFUSED = [
    (["gamma=0.5"], r"gamma=0.5: .*set gamma=1.0"),
    (["common_reward=True"], r"common_reward=True: .*set common_reward=False"),
    (["buffer_size=20"], r"batch_size_run=10, batch_size=10, buffer_size=20: .*set all three"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_settings_that_cannot_be_served_are_refused(pieces, alg, words, message):
    with pytest.raises(UserError, match=message):
        pieces(alg, *words)


def test_an_agent_that_is_no_table_is_refused(pieces, alg):
    learner, network = pieces(alg).learner, pieces("mf_pmd").learner
    with pytest.raises(UserError, match="needs agent=mean_field_table"):
        type(learner)(network.mac, {}, learner.logger, learner.args)


@pytest.mark.parametrize("step", ["0.0", "-1.0"])
def test_a_step_of_nothing_is_refused(pieces, step):
    with pytest.raises(UserError, match=rf"step_size={step}: must be positive"):
        pieces("omd", f"step_size={step}")


def test_tables_that_are_not_finite_stop_training(pieces, alg):
    found = pieces(alg)
    batch = found.runner.run(test_mode=False)
    model = found.learner.model
    found.learner.model = model._replace(reward=lambda mu: model.reward(mu) * math.nan)
    remedy = {"omd": r"lower step_size=1.0", "fictitious_play": r"env_args.key=a_beach are not finite"}[alg]
    with pytest.raises(DivergenceError, match=remedy):
        found.learner.train(batch, t_env=EPOCH, episode_num=10)


def test_extreme_logits_stay_finite_and_playable(pieces):
    found = pieces("omd", "step_size=100000.0")
    batch = found.runner.run(test_mode=False)
    for _ in range(5):
        found.learner.train(batch, t_env=EPOCH, episode_num=10)
    table = found.learner.mac.agent.log_table
    assert torch.isfinite(table).all()
    assert table.min() < -1e4
    found.runner.run(test_mode=True)


def test_a_checkpoint_holds_the_policy(configure, alg):
    result = run.train(configure(alg, "a_sis", *WORDS, f"t_max={3 * EPOCH}", "test_nepisode=10"))
    checkpoint = mf_pmd.load(result.checkpoint)
    assert checkpoint.policy is checkpoint.policies["last"]
    assert checkpoint.policy.table.shape == (4, 2, 2)
    assert checkpoint.policy.private_tables is None


def test_a_checkpoint_of_the_other_oracle_is_refused(configure):
    words = [*WORDS, "test_nepisode=10"]
    first = run.train(configure("omd", "a_sis", *words, f"t_max={EPOCH}"))
    with pytest.raises(UserError, match="checkpoint_path"):
        run.train(
            configure(
                "fictitious_play",
                "a_sis",
                *words,
                f"t_max={3 * EPOCH}",
                f"checkpoint_path={first.checkpoint}",
            )
        )
