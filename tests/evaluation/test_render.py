"""Where agents are on the map: counted exactly, drawn in a picture and an animation."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from mf_pmd import cli
from mf_pmd.evaluation import density_pictures, maps
from mf_pmd.evaluation.density import FULLEST, Crowd, watch
from mf_pmd.games.a_beach import ABeach
from mf_pmd.host import run

CALM = {"n_agents": 50, "horizon": 6, "noise": 0.0, "eps": 0.0}
TRAINED = ("env_args.n_agents=20", "env_args.horizon=4", "t_max=40", "save_model_interval=40")
TRAINED += ("test_interval=40", "test_nepisode=2")
MAPS = {"square": (4, 4), "strip": (1, 7), "large": (9, 8)}


def always(action):
    return lambda h, states: torch.full_like(states, action)


def crowd(label, shape, *, horizon=5, seed=0):
    random = np.random.default_rng(seed)
    densities = random.dirichlet(np.ones(np.prod(shape)), horizon + 1).reshape(-1, *shape)
    return Crowd(label, densities, {FULLEST: densities.max((1, 2))}, 1.5)


def test_who_all_walk_one_way_go_round_the_ring(make_game):
    game = make_game("a_beach", **CALM)
    seen = watch(game, always(2), label="walk", n_episodes=3, seed=1)
    assert seen.densities.shape == (7, 1, 10)
    assert np.allclose(seen.densities.sum((1, 2)), 1)
    for h in range(7):
        assert np.allclose(seen.densities[h, 0], np.roll(seen.densities[0, 0], h))
    assert np.allclose(seen.shares[FULLEST], seen.shares[FULLEST][0])
    assert set(seen.shares) == {FULLEST}


def test_the_return_is_the_mean_over_agents(make_game):
    """Whoever stays gets c1 (1 - dist / D) + c2 at each step, where solitude is worth nothing."""
    game = make_game("a_beach", **CALM, c3=0.0)
    seen = watch(game, always(1), label="stay", n_episodes=4, seed=2)
    nearness = 1 - np.array([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]) / 5
    expected = 6 * (0.4 * (seen.densities[0, 0] @ nearness) + 0.1)
    assert seen.mean_return == pytest.approx(expected, rel=1e-5)


def test_batches_do_not_change_what_is_counted(make_game, monkeypatch):
    """Episodes played one by one: each has a fullest tile of its own, and all count alike."""
    game = make_game("a_beach", **CALM)
    monkeypatch.setattr("mf_pmd.evaluation.density.AGENT_STEPS_AT_ONCE", 1)
    seen = watch(game, always(1), label="stay", n_episodes=5, seed=3)
    assert np.allclose(seen.densities.sum((1, 2)), 1)
    assert (seen.shares[FULLEST] >= seen.densities.max((1, 2)) - 1e-12).all()
    assert seen.densities * 250 == pytest.approx((seen.densities * 250).round())


def test_a_game_may_count_more(make_game):
    class Walkers(ABeach):
        def tallies(self, states, actions, next_states):
            return {"walking": actions != 1, "gone": next_states != states}

    game = make_game("a_beach", **CALM)
    game.__class__ = Walkers
    seen = watch(game, lambda h, states: always(h % 3)(h, states), label="", n_episodes=2, seed=4)
    assert seen.shares["walking"].tolist() == seen.shares["gone"].tolist() == [1, 0, 1, 1, 0, 1]


def test_watching_leaves_the_generators_as_they_were(make_game):
    game = make_game("a_beach", **CALM)
    torch.manual_seed(5)
    before = torch.get_rng_state(), game.generator.get_state()
    watch(game, always(1), label="", n_episodes=2, seed=5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(game.generator.get_state(), before[1])


@pytest.mark.parametrize("shape", MAPS.values(), ids=MAPS)
def test_both_pictures_are_drawn(tmp_path, shape):
    crowds = [crowd("uniform policy", shape, seed=1), crowd("learnt policy", shape, seed=2)]
    regions = tuple(tuple(int(column > 1) for column in range(shape[1])) for _ in range(shape[0]))
    picture = density_pictures.draw_panels(crowds, [0, 5], "title", tmp_path / "a.png", regions=regions)
    assert picture.read_bytes().startswith(b"\x89PNG")
    animation = density_pictures.draw_animation(crowds, "title", tmp_path / "a.gif", regions=regions)
    with Image.open(animation) as opened:
        assert opened.n_frames == 6
        lasts = []
        for frame in range(6):
            opened.seek(frame)
            lasts.append(opened.info["duration"])
    assert lasts == [density_pictures.HELD, *[density_pictures.PACE] * 4, density_pictures.HELD]
    assert not plt.get_fignums()


def test_a_frame_has_the_colours_of_its_step(tmp_path):
    """Everybody on the left tile, then everybody on the right one: the lightest colour changes places."""
    densities = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    only = Crowd("", densities, {}, 0.0)
    file = density_pictures.draw_animation([only], "", tmp_path / "a.gif")
    yellow = np.array([253, 231, 36])
    with Image.open(file) as opened:
        for frame, tile in enumerate([0, 1]):
            opened.seek(frame)
            pixels = np.asarray(opened.convert("RGB")).astype(int)
            height, width = pixels.shape[:2]
            middle = pixels[height // 2, : int(0.8 * width)]
            light = np.flatnonzero(abs(middle - yellow).max(1) <= 6)
            assert len(light) > width / 5
            assert (light.mean() > 0.4 * width) == bool(tile)


def test_regions_are_outlined_where_they_meet():
    _, panel = plt.subplots()
    maps.outline(panel, ((0, 0, 1), (0, 2, 1)))
    lines = [(*line.get_xdata(), *line.get_ydata()) for line in panel.lines]
    plt.close()
    assert sorted(lines) == sorted(
        [(1.5, 1.5, -0.5, 0.5), (1.5, 1.5, 0.5, 1.5), (0.5, 0.5, 0.5, 1.5), (0.5, 1.5, 0.5, 0.5)]
    )


def test_frames_are_even_and_end_at_the_end():
    assert density_pictures.frames(3) == [0, 1, 2, 3]
    many = density_pictures.frames(1001)
    assert len(many) <= density_pictures.MOST_FRAMES + 1
    assert set(np.diff(many[:-1])) == {8}
    assert many[-1] == 1001


def test_shares_are_written_short():
    shares = (0.0, 0.0004, 0.0041, 0.0096, 0.126, 1.0)
    assert [maps.per_cent(share) for share in shares] == ["0", "0", ".4", "1", "13", "100"]


def test_a_few_steps_are_shown():
    assert maps.shown_steps(128) == [0, 8, 16, 32, 64, 128]
    assert maps.shown_steps(20) == [0, 1, 2, 5, 10, 20]
    assert maps.shown_steps(1) == [0, 1]


@pytest.fixture(scope="module")
def trained(configure):
    """The results folders of short runs on a game with a map and on one without."""
    words = (*TRAINED, "save_model_interval=40")
    return {
        game: run.train(configure("mf_pmd_tabular", game, *words)).results_dir
        for game in ("a_beach", "a_sis")
    }


def test_the_verb_draws_both(capsys, trained, tmp_path):
    words = ["render", str(trained["a_beach"]), "--episodes", "2", "--steps", "4,0", "--policy", "last"]
    assert cli.main([*words, "--out", str(tmp_path / "new")]) == 0
    files = [tmp_path / "new" / name for name in ("density.png", "density.gif")]
    assert capsys.readouterr().out.split() == list(map(str, files))
    with Image.open(files[1]) as opened:
        assert opened.n_frames == 5


def test_a_policy_of_observations_is_drawn_with_its_jams(capsys, configure, monkeypatch, tmp_path):
    trained = run.train(configure("mf_ppo", "a_taxi", *TRAINED, "hidden_dim=4", "epochs=1"))
    drawn = []

    def keep(crowds, *rest, **regions):
        drawn.extend([crowds, regions])
        return tmp_path

    monkeypatch.setattr("mf_pmd.evaluation.render.draw_panels", keep)
    monkeypatch.setattr("mf_pmd.evaluation.render.draw_animation", keep)
    assert cli.main(["render", str(trained.checkpoint), "--episodes", "1", "--out", str(tmp_path)]) == 0
    crowds, regions = drawn[:2]
    assert [crowd.label for crowd in crowds] == ["uniform policy", "learnt policy (last)"]
    assert all(crowd.densities.shape == (5, 5, 5) for crowd in crowds)
    assert all(set(crowd.shares) == {FULLEST, "jammed", "carrying"} for crowd in crowds)
    assert regions == {"regions": ((1, 1, 0, 2, 2),) * 5}


REFUSED = {
    "no map": ("a_sis", (), "ASIS has no map: where its agents are is in population.png"),
    "no such step": ("a_beach", ("--steps", "0,5"), "--steps=5: this game has steps 0 to 4"),
    "no number": ("a_beach", ("--steps", "0,x"), "--steps=0,x: whole numbers apart by commas are needed"),
    "no episode": ("a_beach", ("--episodes", "0"), "--episodes=0: at least 1 is needed"),
    "no such policy": ("a_beach", ("--policy", "best"), "--policy=best: choose one of last, average, tail"),
    "no game": ("a_beach", ("with", "env_args.n_sites=4"), "name the game that they change"),
    "other sizes": (
        "a_beach",
        ("--env-config=a_beach", "with", "env_args.n_sites=4"),
        "the policy was learnt with",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_refusals_are_one_line_and_write_nothing(capsys, trained, tmp_path, mistake):
    game, words, reason = REFUSED[mistake]
    assert cli.main(["render", str(trained[game]), "--out", str(tmp_path / "new"), *words]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused(capsys, trained, tmp_path):
    (tmp_path / "file").touch()
    words = ["render", str(trained["a_beach"]), "--out", str(tmp_path / "file" / "below")]
    assert cli.main(words) == 2
    assert "cannot be written to" in capsys.readouterr().err
