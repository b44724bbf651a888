"""``mf-pmd symmetry`` and ``mf-pmd exploitability``: what they print, and what they refuse."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mf_pmd import cli
from mf_pmd.evaluation import trained_game
from mf_pmd.evaluation.symmetry import choose, claims
from mf_pmd.host import run

SMALL = ["env_args.n_agents=30", "env_args.horizon=3"]
TRAINED = [*SMALL, "t_max=60", "test_interval=60", "test_nepisode=10"]
BLIND = '''
import torch
from mf_pmd.games import PopulationGame, Step


class Blind(PopulationGame):
    """Two states, kept or left by the action; the first half is paid for leaving."""

    def __init__(self, *, n_agents, device="cpu", seed=0):
        law = torch.tensor([0.5, 0.5])
        super().__init__(
            n_agents=n_agents, n_states=2, n_actions=2, horizon=3, initial_law=law, device=device, seed=seed
        )

    def sample_step(self, states, actions, others):
        pay = 0.5 + 0.2 * self.personal * actions
        return Step((states + actions) % 2, pay.expand(states.shape).float())
'''

TABLED = '''
import torch
from mf_pmd.games import SymmetryConstants, TableGame


class Tabled(TableGame):
    """Two states, drawn anew; the second pays half of the agents more and half less."""

    def __init__(self, *, n_agents, device="cpu", seed=0):
        super().__init__(
            n_agents=n_agents, n_states=2, n_actions=1, horizon=3, initial_law=torch.tensor([0.5, 0.5]),
            constants=SymmetryConstants(CONSTANTS), device=device, seed=seed,
        )

    def transition_table(self, mu, personal):
        law = torch.full((2, 1, 2), 0.5).to(mu)
        return law.expand(*torch.broadcast_shapes(mu.shape[:-2], personal.shape), 2, 1, 2)

    def reward_table(self, mu, personal):
        pay = 0.5 + SPREAD * personal[..., None, None] * torch.tensor([[0.0], [1.0]]).to(mu)
        return (pay + 0 * mu).to(mu.dtype)
'''


@pytest.fixture
def told(capsys):
    """Exit status, standard output and standard error of a command."""

    def tell(*argv):
        status = cli.main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return tell


@pytest.fixture
def blind(tmp_path):
    (tmp_path / "blind.py").write_text(BLIND)
    file = tmp_path / "blind.yaml"
    file.write_text(
        "env: population # ours\nrunner: population # ours\n"
        "env_args: # its knobs\n  key: blind.py:Blind # the game\n  n_agents: 30 # N\n"
    )
    return str(file)


@pytest.fixture(scope="module")
def checkpoints(configure):
    """A checkpoint of each kind of policy on a small a_sis."""
    words = {
        "mf_pmd_tabular": [],
        "ipmd": [],
        "mf_pmd": ["population_dependent=True", "hidden_dim=8", "critic_steps=2", "policy_steps=2"],
    }
    return {
        alg: str(run.train(configure(alg, "a_sis", *TRAINED, *more)).checkpoint)
        for alg, more in words.items()
    }


SHORT = ["t_max=8", "test_interval=8", "save_model_interval=8", "test_nepisode=2", "batch_size_run=2"]
SHORT += ["batch_size=2", "buffer_size=2"]
RUNNERS = {"population": ("mf_pmd_tabular", []), "episode": ("mf_ppo", ["hidden_dim=4", "runner=episode"])}


@pytest.fixture
def library(tmp_path):
    """The yaml of a game of an author's own, in a folder of its own."""
    folder = tmp_path / "library"
    folder.mkdir()
    for file in (Path(__file__).parents[2] / "examples").glob("crowded_library.*"):
        shutil.copy(file, folder)
    return folder / "crowded_library.yaml"


@pytest.fixture
def trained(configure, capsys):
    """The checkpoint of a short run, what the run printed put aside."""

    def train(alg, env, *words):
        checkpoint = run.train(configure(alg, env, *SHORT, *words)).checkpoint
        capsys.readouterr()
        return checkpoint

    return train


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_policy_of_a_game_of_one_s_own_is_judged_in_it(told, trained, library, runner):
    alg, words = RUNNERS[runner]
    sizes = ["env_args.n_agents=20", "env_args.horizon=4"]
    checkpoint = str(trained(alg, str(library), *sizes, *words))
    status, out, err = told("exploitability", checkpoint, "--episodes", "8", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["game"] == f"{library.with_suffix('.py')}:CrowdedLibrary"
    status, out, err = told("render", checkpoint)
    assert (status, out) == (2, "")
    assert err == "error: CrowdedLibrary has no map: where its agents are is in population.png\n"
    moved = library.parent.rename(library.parent.with_name("moved")) / library.name
    for verb in ("exploitability", "render"):
        status, out, err = told(verb, checkpoint)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"was trained on the game in {library.with_suffix('.py')}, which is no longer there" in err
        assert "--env-config=FILE.yaml" in err
    named = ["--env-config", str(moved), "--episodes", "8", "with", *sizes]
    assert told("exploitability", checkpoint, *named)[::2] == (0, "")


def test_a_checkpoint_that_knows_no_game_is_of_the_one_named(told, trained):
    words = ["env_args.n_agents=20", "env_args.horizon=4", "hidden_dim=4", "runner=episode"]
    checkpoint = trained("mf_ppo", "a_beach", *words)
    status, out, err = told("render", str(checkpoint), "--episodes", "2", "--steps", "0,4")
    assert (status, err, out.count("density")) == (0, "", 2)
    (checkpoint / "config.json").unlink()  # as EPyMARL leaves one
    status, out, err = told("exploitability", str(checkpoint), "--episodes", "8")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "name it, --env-config=ENV" in err
    named = ["--env-config=a_beach", "--episodes", "8", "with", *words[:2]]
    assert told("exploitability", str(checkpoint), *named)[::2] == (0, "")


def test_a_policy_of_an_environment_that_is_no_population_game_is_refused(told, trained, lamps):
    checkpoint = str(trained("mf_ppo", lamps(horizon=3), "hidden_dim=4"))
    for verb in ("exploitability", "render"):
        status, out, err = told(verb, checkpoint)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "env_args.key=lamps: no such game" in err


def test_symmetry_in_words(told):
    status, out, err = told("symmetry", "--env-config=a_sis", "--episodes", "20", "with", *SMALL)
    assert (status, err) == (0, "")
    assert out.startswith("a_sis: N = 30, H = 3, S = 2, A = 2, population others\n")
    assert "alpha                0.1004 (exact)" in out
    assert "20 episodes of 30 agents under the uniform policy" in out
    assert "certificate max_i E^i <= E(pi) + 2 B" in out
    assert "of at most H = 3" in out
    assert "(susceptible, 1)" in out
    assert "assumed: agents of a type are alike" in out
    assert "are lower bounds\n  of alpha and beta" in out


def test_symmetry_as_json_is_what_it_says_in_words(told):
    words = ["symmetry", "--env-config=a_beach", "--episodes", "20", "--json", "with", *SMALL]
    status, out, _ = told(*words, "env_args.eps=0.0", "env_args.eps_beta=0.0", "env_args.n_agents=2000")
    assert status == 0
    found = json.loads(out)
    assert found["constants"][0]["alpha"] == {"value": 0.0, "kind": "exact", "where": ""}
    assert found["constants"][0]["monotone"] is True
    assert found["trajectories"]["alpha"]["largest_rms"]["lower"] == 0
    assert found["trajectories"]["seen"]["visits"][0][0] > 0
    bound = found["certificate"]
    assert (bound["kind"], bound["vacuous"]) == ("certificate", False)
    assert sum(bound["terms"].values()) == pytest.approx(bound["bound"])
    assert bound["nash_gap"] == pytest.approx(2 * bound["bound"])


def test_all_methods_agree_on_a_small_game(told):
    words = ["--method", "closed-form,enumeration,kernels,trajectories", "--episodes", "20", "--json"]
    status, out, _ = told(
        "symmetry", "--env-config=a_rps", *words, "with", "env_args.n_agents=4", "env_args.horizon=2"
    )
    assert status == 0
    found = json.loads(out)
    closed, enumerated, sampled = found["constants"]
    for name in ("alpha", "beta"):
        assert enumerated[name]["kind"] == "exact"
        assert enumerated[name]["value"] == pytest.approx(closed[name]["value"], abs=1e-9)
        assert sampled[name]["kind"] == "lower bound"
        assert sampled[name]["value"] <= closed[name]["value"] + 1e-6


def test_a_certificate_that_says_nothing_is_called_vacuous(told):
    words = ["symmetry", "--env-config=a_sis", "--method", "closed-form", "with", "env_args.n_agents=30"]
    assert "vacuous: no one can gain more than H = 20" in told(*words)[1]


def test_a_game_too_small_for_trajectories_is_told_what_is_known(told):
    words = ["symmetry", "--env-config=a_rps", "--episodes", "20"]
    status, out, err = told(*words, "with", "env_args.n_agents=2")
    assert (status, err) == (0, "")
    assert "beta                 0.09977 (exact)" in out
    assert "nothing from trajectories: " in out
    assert "certificate" in out
    status, out, err = told(*words, "--method", "trajectories", "with", "env_args.n_agents=2")
    assert (status, out) == (2, "")
    assert "2 agents" in err


def test_an_estimate_is_not_called_a_certificate(told):
    words = ["symmetry", "--env-config=a_sis", "--method", "kernels", "with", *SMALL]
    status, out, _ = told(*words)
    assert status == 0
    assert "estimate of E(pi) + 2 B, no certificate: constants by sampled kernels" in out
    assert "<=" not in out.split("estimate of")[1]


@pytest.fixture
def tabled(tmp_path):
    """A game of an author's own that declares what it is told."""

    def write(constants, spread=0.2):
        (tmp_path / "tabled.py").write_text(
            TABLED.replace("CONSTANTS", constants).replace("SPREAD", str(spread))
        )
        file = tmp_path / "tabled.yaml"
        file.write_text(
            "env: population # ours\nrunner: population # ours\n"
            "env_args: # its knobs\n  key: tabled.py:Tabled # the game\n  n_agents: 30 # N\n"
        )
        return str(file)

    return write


def test_what_a_game_declares_is_a_condition_of_its_certificate(told, tabled):
    words = ["--method", "closed-form"]
    status, out, _ = told("symmetry", f"--env-config={tabled('0, .2, 0, 0, 1')}", *words)
    assert status == 0
    assert "beta                 0.2 (declared)" in out
    assert "certificate, if the declared constants hold, max_i E^i <= E(pi) + 2 B" in out
    out = told("symmetry", f"--env-config={tabled('0, .2, 0, 0, 1')}", *words, "--json")[1]
    assert json.loads(out)["certificate"]["kind"] == "certificate if the declared constants hold"


def test_what_a_game_declares_against_its_tables_is_refused(told, tabled):
    for more in ([], ["--method", "closed-form"]):
        status, out, err = told("symmetry", f"--env-config={tabled('0, 0, 0, 0, 1')}", *more)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "beta = 0, but 0.2 was seen" in err


def test_the_firmest_constants_carry_the_certificate(told):
    words = [
        "--method",
        "kernels,enumeration,closed-form",
        "with",
        "env_args.n_agents=4",
        "env_args.horizon=2",
    ]
    status, out, _ = told("symmetry", "--env-config=a_rps", *words)
    assert status == 0
    assert "certificate max_i E^i <= E(pi) + 2 B, constants by closed form" in out
    words[1] = "kernels,enumeration"
    assert (
        "certificate max_i E^i <= E(pi) + 2 B, constants by enumeration"
        in told("symmetry", "--env-config=a_rps", *words)[1]
    )


def test_trajectories_that_contradict_a_claim_are_heard(told, monkeypatch):
    words = ["--episodes", "100", "with", "env_args.n_agents=30", "env_args.eps=3.0"]
    heard = ["symmetry", "--env-config=a_rps", *words]
    assert "CONTRADICTED" not in told(*heard)[1]
    found = json.loads(told(*heard[:2], "--json", *words)[1])
    assert found["contradictions"] == []
    least, honest = found["trajectories"]["beta"]["at_least"]["value"], choose.declared_symmetry
    assert least > 0.01

    def shy(game):
        known = honest(game)
        return known._replace(beta=known.beta._replace(value=least / 1.5))

    monkeypatch.setattr(choose, "declared_symmetry", shy)
    claim = f"CONTRADICTED: beta = {least / 1.5:.4g} (exact) by closed form"
    line = f"{claim}, trajectories show at least {least:.4g}"
    assert line in told(*heard)[1]
    (told_once,) = json.loads(told(*heard[:2], "--json", *words)[1])["contradictions"]
    assert told_once.startswith(line)
    monkeypatch.setattr(claims, "is_centred", lambda game: False)
    assert "CONTRADICTED" not in told(*heard)[1]  # of others than the mean, twice the claim is possible


def test_whose_mean_is_that_of_no_type(make_game):
    assert claims.is_centred(make_game("a_sis"))
    assert claims.is_centred(make_game("a_beach", population="all"))
    assert not claims.is_centred(make_game("a_sis", eps_recovery=2.0))  # clipped
    uneven = make_game("a_sis")
    uneven.personal = torch.ones_like(uneven.personal)
    assert not claims.is_centred(uneven)


def test_a_game_without_tables_is_measured_from_its_trajectories(told, blind):
    status, out, _ = told("symmetry", f"--env-config={blind}", "--episodes", "40", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["constants"] == []
    assert found["certificate"] is None
    assert found["trajectories"]["alpha"]["largest_rms"]["upper"] == 0  # next states follow from the action
    rms = found["trajectories"]["beta"]["rms"]
    assert rms["lower"][0][1] <= 0.2 <= rms["upper"][0][1]
    assert rms["upper"][0][0] < 1e-5
    assert told("symmetry", f"--env-config={blind}", "--episodes", "40")[0] == 0


@pytest.mark.parametrize("policy", ["last", "average", "tail"])
def test_exploitability_in_words(told, checkpoints, policy):
    status, out, err = told(
        "exploitability", checkpoints["mf_pmd_tabular"], "--episodes", "40", "--policy", policy
    )
    assert (status, err) == (0, "")
    assert out.startswith("a_sis: N = 30, H = 3, S = 2, A = 2, population others\n")
    assert f"policy {policy} of " in out
    assert "N-player exploitability, the worst off" in out
    assert "E(pi) + 2 B" in out


def test_exploitability_as_json(told, checkpoints):
    status, out, _ = told("exploitability", checkpoints["mf_pmd_tabular"], "--episodes", "40", "--json")
    assert status == 0
    found = json.loads(out)
    assert 0 <= found["mean_field_exploitability"] < found["uniform_mean_field_exploitability"]
    assert found["exploitability_mean_lower"] <= found["exploitability_mean_upper"]
    bound = found["certificate"]
    assert bound["nash_gap"] == pytest.approx(found["mean_field_exploitability"] + 2 * bound["bound"])
    assert found["changed"] == []


@pytest.mark.parametrize(
    ("alg", "why"), [("ipmd", "policies of their own"), ("mf_pmd", "reads the population")]
)
def test_no_certificate_for_what_it_does_not_speak_of(told, checkpoints, alg, why):
    status, out, _ = told("exploitability", checkpoints[alg], "--episodes", "8")
    assert status == 0
    assert f"no certificate: {'agents have' if alg == 'ipmd' else 'the policy'} {why}" in out


def test_another_number_of_agents_is_said(told, checkpoints):
    words = ["--env-config=a_sis", "--episodes", "8", "with", "env_args.n_agents=50", "env_args.horizon=3"]
    status, out, _ = told("exploitability", checkpoints["mf_pmd_tabular"], *words)
    assert status == 0
    assert "judged with n_agents=50 (trained with 30)" in out


def test_a_checkpoint_may_play_the_trajectories(told, checkpoints):
    player = ["--policy", checkpoints["mf_pmd_tabular"]]
    status, out, _ = told("symmetry", "--env-config=a_sis", "--episodes", "20", *player, "with", *SMALL)
    assert status == 0
    assert f"under policy tail of {checkpoints['mf_pmd_tabular']}" in out


REFUSED = [
    (["symmetry"], "--env-config is missing"),
    (["symmetry", "--env-config=a_sos"], "did you mean a_sis?"),
    (["symmetry", "--env-config=a_sis", "--method", "guess"], "--method=guess: choose of closed-form"),
    (["symmetry", "--env-config=a_sis", "--method", "enumeration"], "N = 1000, S = 2, A = 2"),
    (["symmetry", "--env-config=a_sis", "--episodes", "1"], "at least"),
    (["symmetry", "--env-config=a_sis", "--policy", "nowhere"], "path=nowhere"),
    (["symmetry", "--env-config=a_sis", "--episodes", "100000"], "26843 can be held at once"),
    (["symmetry", "--env-config=a_rps", "--policy", "CHECKPOINT"], "was trained on a_sis"),
    (["symmetry", "--env-config=a_sis", "--policy", "CHECKPOINT"], "3 steps, this game has 20"),
    (["symmetry", "--env-config=a_sis", "--seed", "-1"], "--seed=-1: a whole number from 0"),
    (["symmetry", "--env-config=a_sis", "with", "env_args.eps=2.0"], "env_args.eps=2.0"),
    (["symmetry", "--env-config=a_sis", "with", "tau=2.0"], "no such setting"),
    (["exploitability", "nowhere"], "path=nowhere"),
    (["exploitability", "CHECKPOINT", "--policy", "best"], "--policy=best: choose one of"),
    (["exploitability", "CHECKPOINT", "--seed", "4294967296"], "--seed=4294967296: a whole number"),
    (["exploitability", "CHECKPOINT", "--episodes", "3"], "--episodes=3: at least 4"),
    (["exploitability", "CHECKPOINT", "--env-config=a_rps"], "was trained on a_sis"),
    (["exploitability", "CHECKPOINT", "--env-config=a_sis"], "3 steps, this game has 20"),
    (["exploitability", "CHECKPOINT", "with", "env_args.n_agents=3"], "name the game that they change"),
]


@pytest.mark.parametrize(("words", "reason"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_refusals_are_one_line(told, checkpoints, words, reason):
    words = [checkpoints["mf_pmd_tabular"] if word == "CHECKPOINT" else word for word in words]
    status, out, err = told(*words)
    assert (status, out) == (2, "")
    assert reason in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_game_without_a_name_is_refused(told, checkpoints, tmp_path):
    nameless = tmp_path / "nameless.yaml"
    nameless.write_text("env: population # of this package\nenv_args: # the game\n  n_agents: 10 # N\n")
    status, out, err = told("exploitability", checkpoints["mf_pmd_tabular"], f"--env-config={nameless}")
    assert (status, out) == (2, "")
    assert err == "error: env_args.key: missing, it names the game\n"


def test_a_closed_form_is_refused_where_there_is_none(told, blind):
    status, _, err = told("symmetry", f"--env-config={blind}", "--method", "closed-form")
    assert status == 2
    assert err.startswith("error: A game without ")
    status, _, err = told("symmetry", f"--env-config={blind}", "--method", "kernels")
    assert (status, err.count("\n")) == (2, 1)


def test_a_checkpoint_without_its_game_asks_for_it(told, checkpoints, tmp_path):
    saved = torch.load(f"{checkpoints['mf_pmd_tabular']}/policy.th", weights_only=True)
    torch.save(saved, tmp_path / "policy.th")  # as another host leaves it
    status, _, err = told("exploitability", str(tmp_path))
    assert status == 2
    assert "--env-config=a_sis" in err
    words = ["--env-config=a_sis", "--episodes", "8", "with", *SMALL]
    assert told("exploitability", str(tmp_path), *words)[0] == 0


@pytest.mark.parametrize("text", ["{not json", "{}", "[]"])
def test_a_damaged_config_is_named(told, checkpoints, tmp_path, text):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints["mf_pmd_tabular"], copy)
    (copy / "config.json").write_text(text)
    status, out, err = told("exploitability", str(copy))
    assert (status, out) == (2, "")
    assert err == f"error: {copy / 'config.json'} is damaged; take another checkpoint\n"


@pytest.mark.parametrize(
    ("trained", "named", "same"),
    [
        ("a_sis", "a_sis", True),
        ("a_sis", "a_rps", False),
        ("/old/cars.py:Cars", "/new/cars.py:Cars", True),
        ("/old/cars.py:Cars", "/old/cars.py:Bikes", False),
    ],
)
def test_a_game_is_known_by_its_name_wherever_its_file_lies(trained, named, same):
    checkpoint = SimpleNamespace(game=trained)
    assert trained_game.is_its_game(checkpoint, named) == same


def test_a_game_that_scales_its_rewards_says_so(told):
    pytest.importorskip("mfglib")
    words = ["symmetry", "--env-config=mfglib", "--method", "closed-form", "with", "env_args.key=left_right"]
    status, out, _ = told(*words)
    assert status == 0
    assert out.splitlines()[1] == "rewards scaled into [0, 1]: the published game's times 0.5"


def test_a_game_of_packed_states_tells_its_closed_form_alone(told):
    for words in ((), ("--method=closed-form",)):
        code, out, _ = told("symmetry", "--env-config=a_taxi", *words)
        assert code == 0
        assert "a_taxi: N = 1000, H = 128, S = 550,502,400, A = 5, population others" in out
        assert re.search(r"alpha +0\.098 \(exact\)", out)
        assert re.search(r"L_pop +2\.4 \(upper bound\)", out)
        assert "vacuous: no one can gain more than H = 128" in out
    values = json.loads(told("symmetry", "--env-config=a_taxi", "--json")[1])
    assert values["n_states"] == 550_502_400
    assert values["trajectories"] is None
    refused = {
        "--method=enumeration": "it enumerates populations of numbered local states, and those of a_taxi",
        "--method=kernels": "it samples tables of numbered local states, and those of a_taxi",
        "--method=trajectories": "it compares agents who stand in the same numbered local state",
        "--method=closed": "choose of closed-form, enumeration, kernels, trajectories",
        "--policy=somewhere": "it plays trajectories, for which a_taxi has too many local states",
    }
    for word, why in refused.items():
        code, _, error = told("symmetry", "--env-config=a_taxi", word)
        assert code == 2
        assert f"{word}: {why}" in error
        assert error.count("\n") == 1
