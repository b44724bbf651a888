"""A learnt policy, read back without a host."""

import json
from pathlib import Path

import pytest
import torch

import mf_pmd
from mf_pmd.controllers import REGISTRY as CONTROLLERS
from mf_pmd.errors import UserError
from mf_pmd.evaluation.checkpoint import LOADABLE
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.host import run
from mf_pmd.modules.policy_history import OUTPUT_POLICIES

SMALL = ["env_args.n_agents=30", "env_args.horizon=3", "t_max=120", "c_mix=0.0"]
SMALL += ["test_interval=30", "save_model_interval=30"]
FORMS = {
    "table": ("mf_pmd_tabular", ["output_policy=average"]),
    "network": ("mf_pmd", ["hidden_dim=8", "critic_steps=5", "policy_steps=5"]),
    "population": (
        "mf_pmd",
        ["hidden_dim=8", "critic_steps=5", "policy_steps=5", "population_dependent=True"],
    ),
}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def trained(configure, form):
    alg, words = FORMS[form]
    return run.train(configure(alg, "a_sis", *SMALL, *words))


def test_policies_are_those_of_the_run(trained, form, make_game):
    checkpoint = mf_pmd.load(trained.checkpoint)
    assert checkpoint.game == "a_sis"
    assert checkpoint.path == trained.checkpoint
    assert set(checkpoint.policies) == set(OUTPUT_POLICIES)
    assert checkpoint.policy is checkpoint.policies["average" if form == "table" else "tail"]
    assert (checkpoint.policy.horizon, checkpoint.policy.n_states, checkpoint.policy.n_actions) == (3, 2, 2)
    game = make_game("a_sis", horizon=3)
    metrics = json.loads((trained.results_dir / "metrics.json").read_text())
    for name, policy in checkpoint.policies.items():
        found = mean_field_exploitability(game.mean_field_model(), policy).item()
        logged = metrics[f"test_mean_field_exploitability_{name}"]["values"][-1]
        assert found == pytest.approx(logged, abs=1e-6)
        rows = policy(1, torch.tensor([0.3, 0.7]))
        assert rows.shape == (2, 2)
        assert torch.allclose(rows.sum(-1), torch.ones(2))
        assert (policy.table is None) == (form == "population")


def test_a_run_or_its_results_may_be_named(trained):
    policies = [
        mf_pmd.load(path).policy(0, torch.tensor([0.5, 0.5]))
        for path in (trained.checkpoint, str(trained.models_dir), trained.results_dir)
    ]
    assert all(torch.equal(rows, policies[0]) for rows in policies)
    assert mf_pmd.load(trained.models_dir).path.name == "120"  # the newest, not the last by name


@pytest.mark.parametrize("path", [".", "nowhere"])
def test_what_is_no_checkpoint_is_refused(tmp_path, path):
    with pytest.raises(UserError, match=r"path=.*name a mean-field run") as caught:
        mf_pmd.load(tmp_path / path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("alg", ["iql", "qmix", "mf_q", "maa2c"])
def test_an_algorithm_without_a_mean_field_policy_is_refused_and_the_others_are_named(configure, alg):
    words = ["env_args.n_agents=5", "env_args.horizon=2", "t_max=4", "test_nepisode=2"]
    checkpoint = run.train(configure(alg, "a_sis", *words)).checkpoint
    with pytest.raises(UserError, match=r"cannot be loaded; name a run of mf_pmd, ") as caught:
        mf_pmd.load(checkpoint)
    assert "\n" not in str(caught.value)


def test_the_algorithms_named_are_those_that_keep_a_mean_field_policy(configure):
    package = Path(mf_pmd.__file__).parent
    algorithms = {path.stem for path in package.glob("**/config/algs/*.yaml")}
    assert {"iql", "mf_pmd"} <= algorithms
    macs = {name for name, mac in CONTROLLERS.items() if name != "mean_action_mac"}
    assert set(LOADABLE) == {alg for alg in algorithms if configure(alg, "a_sis")["mac"] in macs}


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "policy.th").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"policy.th is damaged"):
        mf_pmd.load(tmp_path)


@pytest.mark.parametrize("contents", [{"a": 1}, [1, 2], {"meta": {"game": "a_sis"}}])
def test_a_file_of_something_else_is_named(tmp_path, contents):
    torch.save(contents, tmp_path / "policy.th")
    with pytest.raises(UserError, match=r"policy.th is damaged"):
        mf_pmd.load(tmp_path)
