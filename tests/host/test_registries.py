"""Pieces that do not fit each other are refused by what they declare, before anything is written."""

from pathlib import Path

import pytest

from mf_pmd.errors import UserError
from mf_pmd.host import run
from mf_pmd.host.utils.registries import look_up


class Reads:
    """A piece that declares what it reads."""

    def __init__(self, what):
        self.reads = what


PIECES = {"ours": Reads("rows"), "theirs": Reads("cells"), "silent": object()}


@pytest.mark.parametrize("name", ["ours", "silent"])
def test_a_piece_that_fits_or_declares_nothing_is_found(name):
    assert look_up(PIECES, "piece", name, given="rows", by="a user") is PIECES[name]


def test_a_piece_that_does_not_fit_is_refused_and_those_that_do_are_named():
    with pytest.raises(UserError) as caught:
        look_up(PIECES, "piece", "theirs", given="rows", by="a user")
    assert str(caught.value) == "piece=theirs: reads cells, and a user gives it rows; use ours or silent"
    assert look_up(PIECES, "piece", "theirs") is PIECES["theirs"]


AGENTS = ("mean_action_q", "mean_field_network", "mean_field_table", "soft_q_network")
CRITICS = ("mean_field_critic", "mean_action_critic")
ACTORS, VALUES = ("ia2c", "ippo", "mappo"), ("iql", "vdn", "qmix")
MISFITS = [
    *((alg, f"agent={agent}", "use rnn$") for alg in ("ippo", "iql") for agent in AGENTS),
    *((alg, f"agent={AGENTS[2]}", "use rnn$") for alg in ("ia2c", "mappo", "vdn")),
    *((alg, f"critic_type={name}", "use ac_critic or cv_critic$") for alg in ACTORS for name in CRITICS),
    *((alg, "action_selector=epsilon_greedy", "use multinomial or soft_policies$") for alg in ACTORS),
    *((alg, "action_selector=soft_policies", "use epsilon_greedy$") for alg in VALUES),
    ("iql", "action_selector=multinomial", "use epsilon_greedy$"),
]


@pytest.mark.parametrize(("algorithm", "word", "remedy"), MISFITS)
def test_pieces_that_do_not_fit_are_refused(configure, algorithm, word, remedy):
    config = configure(algorithm, "a_sis", "env_args.n_agents=5", "env_args.horizon=2", word)
    with pytest.raises(UserError, match=rf"^{word}: reads .*{remedy}") as caught:
        run.train(config)
    assert "\n" not in str(caught.value)
    assert not any(Path(config["local_results_path"]).iterdir())


def test_sampled_policies_may_be_those_of_the_available_actions(configure):
    words = ("env_args.n_agents=5", "env_args.horizon=2", "t_max=4", "action_selector=multinomial")
    assert run.train(configure("ippo", "a_sis", *words)).t_env >= 4
