"""Configuration: merging, words, comments, and what is said about mistakes."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.errors import UserError
from mf_pmd.host.utils.config import (
    HOST_CONFIG,
    catalogue,
    load_config,
    load_environment,
    load_settings,
    render,
)
from mf_pmd.host.utils.values import parse_value
from mf_pmd.host.utils.yaml_files import parse_yaml, read_settings

TOY = str(Path(__file__).with_name("toy.yaml"))
ROOTS = [HOST_CONFIG]


def load(*words: str) -> dict:
    return load_config("ippo", TOY, words, ROOTS)


def test_order_of_merging():
    values = load("q_nstep=3")
    assert values["optim_alpha"] == 0.99  # default.yaml
    assert values["t_max"] == 1200  # the environment, over default.yaml
    assert values["batch_size_run"] == 10  # the algorithm, over default.yaml
    assert values["q_nstep"] == 3  # the word, over the algorithm
    assert values["env_args"]["key"] == "toy"


def test_the_algorithm_wins_over_the_environment(tmp_path):
    (tmp_path / "algs").mkdir()
    (tmp_path / "algs" / "mine.yaml").write_text("t_max: 7  # environment steps\n")
    assert load_config("mine", TOY, [], [tmp_path, *ROOTS])["t_max"] == 7


def test_an_environment_without_an_algorithm():
    values = load_environment(TOY, ["t_max=30", "env_args.n_agents=4"], ROOTS)
    assert (values["t_max"], values["env_args"]["n_agents"], values["env_args"]["key"]) == (30, 4, "toy")
    assert values["optim_alpha"] == 0.99
    assert "entropy_coef" not in values  # of algorithms
    with pytest.raises(UserError, match="env-config is missing"):
        load_environment(None, [], ROOTS)


@pytest.mark.parametrize("name", [TOY, TOY.removesuffix(".yaml")])
def test_paths_work_with_and_without_suffix(name):
    assert load_config("ippo", name, [], ROOTS)["env"] == "toy"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("t_max=1e6", 1000000),
        ("t_max=500", 500),
        ("lr=1e-3", 0.001),
        ("lr=1", 1.0),
        ("use_rnn=false", False),
        ("use_rnn=True", True),
        ("seed=null", None),
        ("seed=3", 3),
        ("wandb_team=us", "us"),
        ("wandb_team=None", None),
        ("label=a=b", "a=b"),
        ("label='7'", "7"),
        ("grad_norm_clip=0.5", 0.5),
        ("progress=bar", "bar"),
        ("checkpoint_path=", ""),
    ],
)
def test_words(word, value):
    key = word.partition("=")[0]
    result = load(word)[key]
    assert result == value
    assert type(result) is type(value)


def test_the_last_word_wins_and_the_yaml_gives_the_type():
    assert load("seed=3", "seed=null")["seed"] is None
    assert load("grad_norm_clip=1", "grad_norm_clip=0.5")["grad_norm_clip"] == 0.5


def test_dotted_words_and_mappings():
    assert load("env_args.early=2")["env_args"]["early"] == 2
    args = load("env_args={early: 1, key: other}")["env_args"]
    assert (args["early"], args["key"], args["n_agents"]) == (1, "other", 3)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("t_mx=1", ["t_mx=1", "did you mean t_max?"]),
        ("earli=1", ["earli=1", "did you mean env_args.early?"]),
        ("early=1", ["early=1", "did you mean env_args.early?"]),
        ("env_args.erly=1", ["env_args.erly=1", "did you mean env_args.early?"]),
        ("t_max.x=1", ["t_max.x=1"]),
        ("t_max=1.5", ["t_max=1.5", "whole number", "10000|1200"]),
        ("t_max=inf", ["t_max=inf"]),
        ("lr=fast", ["lr=fast", "a number"]),
        ("lr=nan", ["lr=nan", "a number"]),
        ("lr=null", ["lr=null", "a number"]),
        ("use_rnn=1", ["use_rnn=1", "True or False"]),
        ("seed=one", ["seed=one", "whole number"]),
        ("progress=bars", ["progress=bars", "did you mean bar?"]),
        ("t_max", ["t_max", "key=value"]),
    ],
)
def test_mistakes_are_named_in_one_line_with_a_remedy(word, parts):
    with pytest.raises(UserError) as caught:
        load(word)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert any(option in message for option in part.split("|")), message


def test_unknown_and_missing_names_list_what_there_is():
    with pytest.raises(UserError, match=r"--config=ipo: .*did you mean ippo\?"):
        load_config("ipo", TOY, [], ROOTS)
    with pytest.raises(UserError, match=r"--config is missing: .*ippo"):
        load_config(None, TOY, [], ROOTS)
    with pytest.raises(UserError, match="--env-config=nowhere"):
        load_config("ippo", "nowhere", [], ROOTS)


def test_broken_yaml_is_a_user_error(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1\n")
    with pytest.raises(UserError, match=r"bad\.yaml"):
        read_settings(bad, "bad")
    bad.write_text("- 1\n")
    with pytest.raises(UserError, match="mapping"):
        read_settings(bad, "bad")


@given(st.integers())
def test_integers_come_back(value):
    assert parse_value("key", str(value), default=1) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back(value):
    assert parse_value("key", repr(value), default=1.0) == value


@given(st.lists(st.integers(-(10**6), 10**6)))
def test_lists_come_back(value):
    assert parse_value("key", str(value), default=[64, 64]) == value


@given(st.text(st.characters(codec="ascii", exclude_characters="'\"")))
def test_texts_come_back(value):
    assert parse_value("key", value, default="text") == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("abc"),
        lambda inner: st.lists(inner),
        max_leaves=5,
    )
)
def test_values_of_undeclared_keys_come_back(value):
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    assert parse_value("key", text.removesuffix("...\n").strip(), default=None) == value


def test_lists_are_checked_against_the_default():
    assert parse_value("layers", "[1, 2]", default=[0.5]) == [1.0, 2.0]
    with pytest.raises(UserError, match="layers"):
        parse_value("layers", "[1, x]", default=[64])
    with pytest.raises(UserError, match="layers"):
        parse_value("layers", "64", default=[64])


def test_numbers_as_people_write_them():
    assert parse_yaml("[1e-3, 1e3, 5, 1.5, .5, 1_000]") == [0.001, 1000.0, 5, 1.5, 0.5, 1000]
    assert parse_yaml("[v1.2, 1.2.3, e5]") == ["v1.2", "1.2.3", "e5"]


@pytest.mark.parametrize("path", sorted(HOST_CONFIG.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_has_a_comment_on_its_line(path):
    settings = read_settings(path, "here")
    assert [key for key, note in settings.notes.items() if not note.comment] == []


def test_rendering_keeps_comments_names_sources_and_is_yaml():
    settings = load_settings("ippo", TOY, ["env_args.early=2"], ROOTS)
    text = render(settings)
    assert yaml.safe_load(text) == settings.values
    lines = {line.split(":")[0].strip(): line for line in text.splitlines()}
    assert lines["early"].endswith("# steps of the episodes that end early  [with]")
    assert lines["optim_alpha"].endswith("[default.yaml]")
    assert lines["epochs"].endswith("# gradient steps a batch  [algs/ippo.yaml]")
    assert "[envs/toy.yaml]" in lines["n_agents"]


def test_catalogue():
    assert set(catalogue("algs", ROOTS)) == {"ia2c", "ippo", "iql", "maa2c", "mappo", "qmix", "vdn"}
