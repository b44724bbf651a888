"""What the plugin adds to a host, and that it takes nothing away."""

from functools import partial

import pytest

from mf_pmd import controllers, envs, learners, register, runners
from mf_pmd.modules import agents, critics

OURS = {
    "learners": learners.REGISTRY,
    "controllers": controllers.REGISTRY,
    "agents": agents.REGISTRY,
    "critics": critics.REGISTRY,
    "runners": runners.REGISTRY,
    "envs": envs.REGISTRY,
}


class Batch:
    """A host's batch class."""


@pytest.fixture
def host():
    """A host that has one piece of its own in each registry."""
    return register.HostAPI(**{field: {"theirs": object()} for field in OURS}, EpisodeBatch=Batch)


def test_every_piece_is_added_and_nothing_lost(host):
    before = {field: getattr(host, field)["theirs"] for field in OURS}
    register.register(host)
    for field, ours in OURS.items():
        registry = getattr(host, field)
        assert set(registry) == {"theirs", *ours}
        assert registry["theirs"] is before[field]
        assert ours, f"nothing of ours in {field}"
        for name, piece in ours.items():
            if field != "runners":
                assert registry[name] is piece


def test_the_runner_is_bound_to_the_host_s_batch(host):
    register.register(host)
    bound = host.runners["population"]
    assert isinstance(bound, partial)
    assert bound.func is runners.REGISTRY["population"]
    assert bound.keywords["episode_batch"] is Batch


def test_a_second_call_changes_nothing(host):
    register.register(host)
    before = {field: dict(getattr(host, field)) for field in OURS}
    register.register(host)
    for field in OURS:
        after = getattr(host, field)
        assert list(after) == list(before[field])
        for name, piece in after.items():
            assert register.origin(piece) is register.origin(before[field][name])
    assert host.runners["population"].keywords["episode_batch"] is Batch


@pytest.mark.parametrize("field", OURS)
def test_taken_names_are_refused(host, field):
    name = next(iter(OURS[field]))
    getattr(host, field)[name] = stranger = object()
    with pytest.raises(ValueError, match=f"the host already has a .* named {name}"):
        register.register(host)
    assert getattr(host, field)[name] is stranger


def test_a_stranger_s_partial_is_refused(host):
    host.runners["population"] = partial(object)
    with pytest.raises(ValueError, match="runner named population"):
        register.register(host)
