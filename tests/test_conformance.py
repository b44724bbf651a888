"""Registries, yaml files and what the code reads agree with one another."""

import ast
import inspect
import re
from pathlib import Path

import mfglib.env
import pytest
import yaml

from mf_pmd import cli, controllers, envs, games, learners, runners
from mf_pmd.errors import UserError
from mf_pmd.modules import agents, critics

SOURCE = Path(cli.__file__).parent
DOCS = Path(__file__).parents[1] / "docs"
ALGS = sorted((SOURCE / "config" / "algs").glob("*.yaml"))
ENVS = sorted((SOURCE / "config" / "envs").glob("*.yaml"))
DEFAULT = SOURCE / "host" / "config" / "default.yaml"
SET_BY_THE_HOST = {"n_agents", "n_actions", "state_shape", "episode_limit", "device", "unique_token"}
SET_BY_THE_RUNNER = {"population_info"}
SET_BY_THE_CONTROLLER = {"observation_features"}
PLUGIN = [
    path
    for part in ("controllers", "learners", "modules", "runners", "envs")
    for path in sorted((SOURCE / part).rglob("*.py"))
]


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def named(files, key):
    """The pieces that yaml files name, or offer in a comment: as ``key=piece``, or for ``auto``."""
    values = {path: load(path)[key] for path in files if key in load(path)}
    names = {value for value in values.values() if value != "auto"}
    for path, value in values.items():
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(rf"^{key}: \S+ #.*\b{key}=(\w+)", text, flags=re.MULTILINE))
        if value == "auto":
            comment = re.search(rf"^{key}: auto # (.*?);", text, flags=re.MULTILINE)
            offered = comment[1].split(" | ")
            assert offered[0] == "auto"
            assert len(offered) > 2, "a choice is between two at least"
            names |= set(offered[1:])
    return names


@pytest.mark.parametrize(
    ("key", "files", "registry"),
    [
        ("learner", ALGS, learners.REGISTRY),
        ("mac", ALGS, controllers.REGISTRY),
        ("agent", ALGS, agents.REGISTRY),
        ("critic_type", ALGS, critics.REGISTRY),
        ("runner", ENVS, runners.REGISTRY),
        ("env", ENVS, envs.REGISTRY),
    ],
)
def test_every_piece_is_named_by_a_yaml_and_every_name_is_a_piece(key, files, registry):
    assert named(files, key) == set(registry)


def test_every_game_has_its_yaml():
    keys = {path.stem: load(path)["env_args"]["key"] for path in ENVS}
    assert keys.pop("mfglib") in games.MFGLIB  # one for all of MFGLib's
    assert set(keys) == set(keys.values()) == set(games.REGISTRY)
    assert not set(games.REGISTRY) & set(games.MFGLIB)
    for key, game in games.REGISTRY.items():
        assert inspect.getfile(game).endswith(f"{key}.py")


@pytest.mark.parametrize("key", sorted(games.REGISTRY))
def test_the_yaml_of_a_game_gives_every_argument_and_no_other(key):
    env_args = load(SOURCE / "config" / "envs" / f"{key}.yaml")["env_args"]
    parameters = inspect.signature(games.REGISTRY[key]).parameters
    assert set(env_args) - {"key"} == set(parameters) - {"device", "seed"}
    for name, parameter in parameters.items():  # defaults live in yaml alone
        assert (parameter.default is parameter.empty) == (name not in ("device", "seed"))
        assert parameter.kind is parameter.KEYWORD_ONLY


def test_the_yaml_of_mfglib_gives_every_knob_of_its_environments_and_no_other():
    env_args = load(SOURCE / "config" / "envs" / "mfglib.yaml")["env_args"]
    taken = {key: inspect.signature(getattr(mfglib.env.Environment, key)).parameters for key in games.MFGLIB}
    assert set(env_args["knobs"]) == {name for parameters in taken.values() for name in parameters}
    assert set(env_args["knobs"].values()) == {None}
    asked = inspect.signature(games.find_game("beach_bar")).parameters
    assert set(env_args) - {"key"} == set(asked) - {"device", "seed"}
    lines = (SOURCE / "config" / "envs" / "mfglib.yaml").read_text(encoding="utf-8").splitlines()
    for key, parameters in taken.items():  # the comment of a knob names the environments that have it
        for name in set(parameters) - {"T", "mu0"}:
            assert any(line.startswith(f"    {name}: ") and key in line for line in lines), (key, name)
    offered = next(line for line in lines if line.startswith("  key: ")).split("#")[1].split(";")[0]
    assert {word.strip() for word in offered.split("|")} == set(games.MFGLIB)


def test_the_environments_of_mfglib_are_all_there():
    made = {
        name
        for name, method in inspect.getmembers(mfglib.env.Environment, inspect.ismethod)
        if not name.startswith("_")
    }
    assert made == set(games.MFGLIB)


# configurations of another algorithm: the identity ladder is mf_ppo, told or not told who an agent is
FORM_OF = dict.fromkeys(("mf_ppo_oh", "mf_ppo_id", "mf_ppo_ind"), "mf_ppo")


@pytest.mark.parametrize("path", ALGS, ids=lambda path: path.stem)
def test_an_algorithm_is_named_after_its_files(path):
    config = load(path)
    assert config["name"] == path.stem
    learner = learners.REGISTRY[config["learner"]]
    assert Path(inspect.getfile(learner)).stem == FORM_OF.get(path.stem, path.stem)
    assert "runner" not in config
    assert config["observation"] == "index"
    assert config["buffer_cpu_only"] is False
    assert len({config[key] for key in ("batch_size_run", "batch_size", "buffer_size")}) == 1


@pytest.mark.parametrize(("name", "origin"), FORM_OF.items())
def test_a_form_differs_from_its_algorithm_in_its_identity_alone(name, origin):
    forms = [load(SOURCE / "config" / "algs" / f"{stem}.yaml") for stem in (name, origin)]
    differ = {key for key in forms[0].keys() | forms[1].keys() if forms[0].get(key) != forms[1].get(key)}
    own = forms[0]["identity"] == "own_network"  # which learns from everybody
    assert differ == {"name", "identity"} | ({"learn_agents"} if own else set())


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_an_environment_holds_what_belongs_to_the_game(path):
    config = load(path)
    assert config["runner"] == "population"
    assert config["observation"] == "features"
    assert (config["gamma"], config["add_value_last_step"], config["common_reward"]) == (1.0, False, False)
    assert {"t_max", "test_interval", "population"} <= set(config)


@pytest.mark.parametrize("path", [*ALGS, *ENVS], ids=lambda path: path.stem)
def test_every_key_has_its_comment(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    for line in lines[1:]:
        if re.fullmatch(r"\w+:", line.split("#")[0].strip()) or not line.strip():
            continue  # the head of a mapping
        assert re.fullmatch(r"\s*\w+: .*\S #\s\S.*", line), line


@pytest.mark.parametrize("path", [*ALGS, *ENVS], ids=lambda path: path.stem)
def test_no_key_is_given_twice(path):
    keys = re.findall(r"^(\w+):", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(keys) == len(set(keys))


def keys_read(path):
    """Settings that a file reads: ``args.key``, ``self.args.key`` and ``getattr(args, "key")``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            base = node.value
            if (isinstance(base, ast.Name) and base.id == "args") or (
                isinstance(base, ast.Attribute) and base.attr == "args"
            ):
                yield node.attr
        call = ast.unparse(node) if isinstance(node, ast.Call) else ""
        yield from re.findall(r"^getattr\(args, '(\w+)'", call)


def test_every_key_that_is_read_is_given():
    given = {key for path in [DEFAULT, *ALGS, *ENVS] for key in load(path)}
    read = {key for path in PLUGIN for key in keys_read(path)}
    assert {"tau", "c_xi", "batch_size_run", "output_policy", "env_args"} <= read  # the reader works
    assert read <= given | SET_BY_THE_HOST | SET_BY_THE_RUNNER | SET_BY_THE_CONTROLLER


def strings_of(path):
    """The string constants of a file that are a name: keys looked up through a variable stand there so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            yield node.value


def test_every_key_of_an_algorithm_is_read():
    files = list(SOURCE.rglob("*.py"))
    read = {key for path in files for key in (*keys_read(path), *strings_of(path))}
    for path in ALGS:
        assert set(load(path)) <= read, path


def test_no_algorithm_narrows_the_type_of_a_default():
    defaults = load(DEFAULT)
    for path in [*ALGS, *ENVS]:
        for key, value in load(path).items():
            known = defaults.get(key)
            if isinstance(known, (int, float)) and not isinstance(known, bool) and value is not None:
                assert isinstance(value, (int, float)), (path, key)
            if isinstance(known, float) or key == "grad_norm_clip":
                assert isinstance(value, float), (path, key)


MIRROR_DESCENT = {"td_error_abs", "policy_entropy", "mirror_descent_kl", "step_size"}
PPO = {
    "policy_loss",
    "critic_loss",
    "policy_entropy",
    "approx_kl",
    "clip_fraction",
    "td_error_abs",
    "advantage_std",
    "explained_variance",
}
MEAN_ACTION = {"td_error_abs", "critic_loss", "q_taken_mean", "policy_entropy", "policy_kl"}
LEARNT = {  # what each learner logs, no more and no less
    "fictitious_play": {"mean_field_exploitability", "policy_entropy", "step_size"},
    "ipmd": {*MIRROR_DESCENT, "unvisited_cells"},
    "mf_ac": {*MEAN_ACTION, "policy_loss"},
    "mf_pmd": {*MIRROR_DESCENT, "critic_loss", "policy_loss"},
    "mf_pmd_tabular": {*MIRROR_DESCENT, "unvisited_cells"},
    "mf_ppo": PPO,
    "mf_ppo_id": PPO,
    "mf_ppo_ind": PPO,
    "mf_ppo_oh": PPO,
    "mf_q": MEAN_ACTION,
    "munchausen_omd": {*MIRROR_DESCENT, "critic_loss", "unvisited_cells"},
    "omd": {"mean_field_exploitability", "policy_entropy", "mirror_descent_kl", "step_size"},
}
# policies whose exactly scored tables are promised, where it is not all three of the history
TOLD = {"mf_ppo": ("last",), "mf_ppo_id": (), "mf_ppo_ind": (), "mf_ppo_oh": ()}
OF_OBSERVATIONS = {"mf_pmd", "mf_ppo", *FORM_OF}  # algorithms that need no table of local states
TOO_MANY_STATES = {"a_taxi"}  # games whose local states are not numbered
PLAYED = "mf_pmd.md"  # the page that documents what the runner and the host log, whatever plays


def test_what_every_learner_logs_is_known():
    assert set(LEARNT) == {path.stem for path in ALGS}


def undocumented(keys, page):
    """The metrics that no line of a page names, as `key` or as `stem_first`, `_suffix`."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()

    def named(key):
        stem, _, suffix = key.rpartition("_")
        return any(f"`{key}`" in line or (f"`_{suffix}`" in line and f"`{stem}_" in line) for line in lines)

    return {key for key in keys if not named(key)}


@pytest.mark.parametrize("env", [path.stem for path in ENVS])
@pytest.mark.parametrize("alg", [path.stem for path in ALGS])
def test_every_algorithm_plays_every_game(build, alg, env):
    if env in TOO_MANY_STATES and alg not in OF_OBSERVATIONS:
        with pytest.raises(UserError, match="needs numbered local states"):
            build(alg, env)
        return
    check_a_short_run(build, alg, env)


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        pytest.param(path.stem, key, marks=[] if path.stem == "mf_pmd_tabular" else pytest.mark.slow)
        for path in ALGS
        for key in games.MFGLIB
    ],
)
def test_every_algorithm_plays_every_environment_of_mfglib(build, alg, key):
    sizes = {"building_evacuation": ("floor_l=2", "floor_w=3"), "crowd_motion": ("torus_l=3", "torus_w=4")}
    words = [f"env_args.knobs.{word}" for word in sizes.get(key, ())]
    check_a_short_run(build, alg, "mfglib", f"env_args.key={key}", *words)


def check_a_short_run(build, alg, env, *words):
    """One test and one epoch: everything that is promised is logged, and documented."""
    horizon = () if env == "mfglib" else ("env_args.horizon=2",)
    pieces = build(alg, env, "env_args.n_agents=6", *horizon, "test_nepisode=10", *words)
    learner, runner = pieces.learner, pieces.runner
    learner.logger = type(runner.logger)()  # to tell whose metrics are whose
    assert learner.supports_individual_rewards
    runner.run(test_mode=True)
    learner.train(runner.run(test_mode=False), t_env=runner.t_env, episode_num=0)
    assert set(learner.logger.series) == LEARNT[alg]
    tests = {"return_mean", "visited_share"}
    if runner.game.has_tables:
        scored = hasattr(learner.args, "output_policy") and TOLD.get(alg, ("last", "average", "tail"))
        tests |= {f"mean_field_exploitability_{name}" for name in scored or ()}
        ends = ("", "_lower", "_upper")
        tests |= {f"exploitability_{kind}{end}" for kind in ("mean", "max") for end in ends}
        tests |= {"mean_field_exploitability", "exploitability_too_weak"}
    assert {"return_mean"} | {f"test_{name}" for name in tests} <= set(runner.logger.series)
    assert not undocumented(learner.logger.series, f"{FORM_OF.get(alg, alg)}.md")
    assert not undocumented(runner.logger.series, PLAYED)


@pytest.mark.parametrize("alg", [path.stem for path in ALGS])
def test_every_algorithm_has_its_page(alg):
    page = (DOCS / f"{alg}.md").read_text(encoding="utf-8")
    assert page.startswith("# ")
    assert re.search(rf"--config={alg}\s", page), "the command"
    assert alg == Path(PLAYED).stem or f"({PLAYED}#logged-metrics)" in page
