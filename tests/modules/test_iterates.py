"""The mean of networks: exactly, and in law by drawing one an agent and step."""

import copy
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.functional.masks import mask_logits
from mf_pmd.modules.agents import DeepSetNetworkAgent
from mf_pmd.modules.iterates import Iterates, as_weights, draw_groups
from mf_pmd.modules.observation_network import IDENTITIES
from mf_pmd.modules.parameter_history import ParameterHistory, most_kept

R, N, F, A, K = 2, 3, 4, 3, 5
FORMS = [*((name, 0) for name in IDENTITIES), ("none", 2), ("one_hot", 2)]


def make(identity, embedding_dim, n_members=K):
    torch.manual_seed(0)
    args = SimpleNamespace(
        hidden_dim=6,
        n_actions=A,
        n_agents=N,
        identity=identity,
        embedding_dim=embedding_dim,
        population_dependent=embedding_dim > 0,
    )
    agent = DeepSetNetworkAgent(F, args)
    vector = torch.nn.utils.parameters_to_vector(agent.parameters())
    return Iterates(agent, 0.8 * torch.randn(n_members, len(vector)))


def one_by_one(iterates, features, present):
    """Logits of every iterate, [K, R, N, A], by a loop over copies of the network."""
    agent, found = copy.deepcopy(iterates.agent), []
    for vector in iterates.members:
        torch.nn.utils.vector_to_parameters(vector, agent.parameters())
        found.append(agent(features, present).detach())
    return torch.stack(found)


def observations():
    random = torch.Generator().manual_seed(2)
    return torch.randn(R, N, F, generator=random), torch.tensor([[True, True, True], [True, False, True]])


@pytest.mark.parametrize(("identity", "embedding_dim"), FORMS)
def test_the_mean_policy_is_the_mean_over_a_loop(identity, embedding_dim, monkeypatch):
    iterates = make(identity, embedding_dim)
    features, present = observations()
    available = torch.rand(R, N, A, generator=torch.Generator().manual_seed(3)) < 0.7
    logits = one_by_one(iterates, features, present)
    for rows_at_once in (1, 2 * R * N, 10**6):
        monkeypatch.setattr("mf_pmd.modules.iterates.ROWS_AT_ONCE", rows_at_once)
        found = iterates.mean_policy(features, present)
        assert torch.allclose(found, torch.softmax(logits, -1).mean(0), atol=1e-6)
        masked = torch.softmax(mask_logits(logits, available), -1).mean(0)
        assert torch.allclose(iterates.mean_policy(features, present, available), masked, atol=1e-6)


@pytest.mark.parametrize(("identity", "embedding_dim"), FORMS)
def test_every_agent_draws_an_iterate_of_its_own(identity, embedding_dim, assert_laws, monkeypatch):
    monkeypatch.setattr("mf_pmd.modules.iterates.ROWS_AT_ONCE", 2 * R * N)
    iterates = make(identity, embedding_dim)
    features, present = observations()
    logits = one_by_one(iterates, features, present)
    if identity == "own_network":  # the exact mean instead
        drawn = iterates.drawn_logits(features, present)
        assert torch.allclose(drawn.exp(), torch.softmax(logits, -1).mean(0), atol=1e-6)
        return
    counts = torch.zeros(R * N, K)
    pairs = torch.zeros(K, K)
    for _ in range(200):
        drawn = iterates.drawn_logits(features, present)
        distance = (drawn - logits).abs().amax(-1)  # [K, R, N]
        assert (distance.amin(0) < 1e-5).all(), "each agent plays an iterate, on what it sees itself"
        which = distance.argmin(0).flatten()
        counts[torch.arange(R * N), which] += 1
        pairs[which[0], which[1]] += 1
    assert_laws(counts, torch.full((R * N, K), 1 / K))
    assert_laws(pairs.flatten(), torch.full((K * K,), 1 / K**2))


@pytest.mark.parametrize(("n_rows", "n_groups"), [(1, 1), (1, 7), (100, 1), (1000, 3), (5, 40)])
def test_every_row_lies_in_one_slot(n_rows, n_groups):
    torch.manual_seed(0)
    groups = draw_groups(n_rows, n_groups, device=torch.device("cpu"))
    assert groups.row.shape[0] == n_groups
    assert torch.equal(groups.row.flatten()[groups.slot], torch.arange(n_rows))
    assert len(groups.slot.unique()) == n_rows
    longest = torch.bincount(groups.slot // groups.row.shape[1], minlength=n_groups).max()
    assert groups.row.shape[1] == longest, "no slot more than the longest group needs"


def test_the_cost_is_one_forward_pass_whatever_the_number_of_iterates():
    rows = {}
    for n_members in (4, 64):
        iterates = make("none", 0, n_members)
        features = torch.randn(8, 500, F)
        torch.manual_seed(0)
        rows[n_members] = draw_groups(8 * 500, n_members, device=torch.device("cpu")).row.numel()
        assert iterates.drawn_logits(features, torch.ones(8, 500, dtype=torch.bool)).shape == (8, 500, A)
    assert rows[4] < 1.1 * 4000
    assert rows[64] < 1.6 * 4000


def test_a_vector_of_parameters_by_name():
    iterates = make("one_hot", 0)
    named = as_weights(iterates.agent, iterates.members[1])
    torch.nn.utils.vector_to_parameters(iterates.members[1], iterates.agent.parameters())
    for name, value in iterates.agent.named_parameters():
        assert torch.equal(named[name], value)


@pytest.mark.parametrize("output_policy", ["last", "average", "tail"])
def test_only_what_the_output_policy_needs_is_kept(output_policy):
    module = torch.nn.Linear(1, 1)
    history = ParameterHistory(output_policy)
    for t in range(7):
        for parameter in module.parameters():
            torch.nn.init.constant_(parameter, float(t))
        history.record(module)
    expected = {"last": [], "average": range(7), "tail": [3, 4, 5, 6]}[output_policy]
    assert [vector[0].item() for vector in history.window] == list(expected)
    assert len(history.window) == most_kept(output_policy, 7)
    kept = {"last": (), "average": ("last", "average", "tail"), "tail": ("last", "tail")}[output_policy]
    assert history.kept() == kept
    for name in kept:
        assert history.members(name)[:, 0].tolist() == {"last": [6], "tail": [3, 4, 5, 6]}.get(
            name, [*range(7)]
        )
