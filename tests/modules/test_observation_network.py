"""The network of observations: symmetry, identities against what they stand for, and what they cost."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mf_pmd.modules.agents import DeepSetNetworkAgent
from mf_pmd.modules.critics import DeepSetQ, DeepSetValue
from mf_pmd.modules.observation_network import IDENTITIES, ObservationNetwork

R, N, F, D, A, E = 3, 7, 5, 8, 4, 6


def make(identity="none", *, embedding_dim=0, n_agents=N, n_features=F, hidden_dim=D, random=True):
    torch.manual_seed(0)
    network = ObservationNetwork(
        n_features=n_features,
        n_outputs=A,
        n_agents=n_agents,
        hidden_dim=hidden_dim,
        identity=identity,
        embedding_dim=embedding_dim,
    )
    for parameter in network.parameters() if random else ():
        torch.nn.init.normal_(parameter, std=0.7)
    return network


def observations(seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(R, N, F, generator=random), torch.rand(R, N, generator=random) < 0.7


def outputs(network, features, present, agents=None):
    own = features if agents is None else features[:, agents]
    return network(own, embedding=network.embed(features, present), agents=agents)


FORMS = [*((name, 0) for name in IDENTITIES), ("none", E), ("one_hot", E), ("number", E)]


@pytest.mark.parametrize(("identity", "embedding_dim"), FORMS)
def test_first_outputs_are_zero_and_any_agents_can_be_asked(identity, embedding_dim):
    features, present = observations()
    network = make(identity, embedding_dim=embedding_dim, random=False)
    assert torch.equal(outputs(network, features, present), torch.zeros(R, N, A))
    network = make(identity, embedding_dim=embedding_dim)
    every = outputs(network, features, present)
    assert every.shape == (R, N, A)
    some = torch.tensor([5, 0, 2])
    assert torch.allclose(outputs(network, features, present, some), every[:, some], atol=1e-6)
    flat = network(features[0], embedding=network.embed(features[0], present[0]), agents=None)
    assert torch.allclose(flat, every[0], atol=1e-6)


@pytest.mark.parametrize(("identity", "embedding_dim"), FORMS)
def test_permuting_agents_permutes_outputs_only_where_nobody_knows_who_they_are(identity, embedding_dim):
    features, present = observations()
    network = make(identity, embedding_dim=embedding_dim)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        first = outputs(network, features, present)
        second = outputs(network, features[:, order], present[:, order])
    assert torch.allclose(first[:, order], second, atol=1e-5) == (identity == "none")


def test_the_embedding_is_that_of_present_agents_and_moves_the_outputs():
    features, present = observations()
    network = make("none", embedding_dim=E)
    with torch.no_grad():
        first = outputs(network, features, present)
        away = torch.where(present.unsqueeze(-1), features, torch.tensor(9.0))
        second = outputs(network, away, present)
        assert torch.equal(first[present], second[present])
        other = features.clone()
        other[:, 0] += 1.0
        moved = outputs(network, other, torch.ones_like(present)) - outputs(
            network, features, torch.ones_like(present)
        )
        assert (moved[:, 1:].abs().amax(-1) > 1e-4).all()
        alone = make("none")
        assert torch.equal(outputs(alone, features, present)[:, 1:], outputs(alone, other, present)[:, 1:])


def as_one_layer(network, inputs):
    """The network as a perceptron whose first layer takes all inputs side by side."""
    pieces = [network.own.weight]
    if network.embedding_dim:
        pieces.append(network.population.weight)
    if network.identity in ("one_hot", "number"):
        pieces.append(network.who.T)
    hidden = torch.tanh(inputs @ torch.cat(pieces, 1).T + network.own.bias)
    return network.last(torch.tanh(network.second(hidden)))


@pytest.mark.parametrize("embedding_dim", [0, E])
@pytest.mark.parametrize("identity", ["none", "one_hot", "number"])
def test_identity_and_population_are_more_inputs_of_one_layer(identity, embedding_dim):
    features, present = observations()
    network = make(identity, embedding_dim=embedding_dim)
    inputs = [features]
    if embedding_dim:
        inputs.append(network.embed(features, present).unsqueeze(1).expand(R, N, E))
    if identity == "one_hot":
        inputs.append(torch.eye(N).expand(R, N, N))
    elif identity == "number":
        inputs.append((torch.arange(N) / (N - 1)).reshape(1, N, 1).expand(R, N, 1))
    expected = as_one_layer(network, torch.cat(inputs, -1))
    found = outputs(network, features, present)
    assert torch.allclose(found, expected, atol=1e-5)
    gradients = [torch.autograd.grad(out.square().sum(), network.parameters()) for out in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("agents", [None, [4, 1]])
def test_own_networks_are_a_loop_over_n_networks(agents):
    features, present = observations()
    network = make("own_network")
    weights = [parameter.detach() for parameter in network.parameters()]
    who = range(N) if agents is None else agents
    expected = []
    for i in who:
        w0, b0, w1, b1, w2, b2 = (weight[i] for weight in weights)
        hidden = torch.tanh(torch.tanh(features[:, i] @ w0 + b0) @ w1 + b1)
        expected.append(hidden @ w2 + b2)
    found = outputs(network, features, present, None if agents is None else torch.tensor(agents))
    assert torch.allclose(found, torch.stack(expected, 1), atol=1e-5)
    found[:, 1].square().sum().backward()
    touched = torch.zeros(N, dtype=torch.bool)
    touched[1] = True
    for parameter in network.parameters():
        assert torch.equal(parameter.grad.flatten(1).abs().sum(1) > 0, touched)


def test_own_networks_are_drawn_independently_as_linear_layers_are():
    first = make("own_network", n_agents=400, random=False).networks.weight_0.detach()
    assert first.shape == (400, F, D)
    assert first.abs().max() <= F**-0.5
    assert abs(first.var().item() - 1 / (3 * F)) < 0.03 / (3 * F)
    correlation = torch.corrcoef(first.flatten(1).T)  # over networks
    assert (correlation - torch.eye(F * D)).abs().max() < 0.25


def test_gradients_survive_what_is_done_in_place():
    network = make("one_hot", embedding_dim=2, hidden_dim=3).double()
    features, present = observations()
    features = features[:1, :, :].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: outputs(network, x, present[:1]), features)


class Largest(TorchDispatchMode):
    """Keeps the number of entries of the largest tensor that any operation puts out."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(output, torch.Tensor):
                self.largest = max(self.largest, output.untyped_storage().nbytes() // output.element_size())
        return result


@pytest.mark.parametrize("identity", ["one_hot", "number"])
def test_an_index_costs_no_tensor_of_n_by_n(identity):
    n_agents = 3000
    network = make(identity, n_agents=n_agents, embedding_dim=4)
    features = torch.randn(2, n_agents, F)
    with Largest() as seen:
        out = outputs(network, features, torch.ones(2, n_agents, dtype=torch.bool))
        out.square().sum().backward()
    assert 0 < seen.largest <= 2 * n_agents * D


def make_args(**changes):
    args = {
        "hidden_dim": D,
        "n_actions": A,
        "n_agents": N,
        "identity": "none",
        "embedding_dim": E,
        "population_dependent": False,
        "observation_features": F,
    }
    return SimpleNamespace(**{**args, **changes})


def test_a_policy_sees_the_population_only_when_told_and_a_critic_whenever_it_is_embedded():
    features, present = observations()
    for told in (False, True):
        agent = DeepSetNetworkAgent(F, make_args(population_dependent=told))
        assert agent.network.embedding_dim == (E if told else 0)
        assert agent.population_dependent is told
        assert agent(features, present).shape == (R, N, A)
        assert agent.init_hidden().shape == (1, D)
    assert DeepSetValue({}, make_args()).network.embedding_dim == E
    assert DeepSetValue({}, make_args(embedding_dim=0)).network.embedding_dim == 0


@pytest.mark.parametrize("identity", IDENTITIES)
def test_critics_value_every_agent_asked_for(identity):
    features, present = observations()
    args = make_args(identity=identity, embedding_dim=0 if identity == "own_network" else E)
    some = torch.tensor([6, 0])
    for kind, shape in ((DeepSetValue, ()), (DeepSetQ, (A,))):
        critic = kind({}, args)
        assert torch.equal(critic(features, present), torch.zeros(R, N, *shape))
        for parameter in critic.parameters():
            torch.nn.init.normal_(parameter)
        every = critic(features, present)
        assert torch.allclose(critic(features, present, some), every[:, some], atol=1e-4)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_an_absent_identity_means_none_and_agents_alone_will_do_without_a_population(identity):
    features, present = observations()
    agent = DeepSetNetworkAgent(F, make_args(identity=identity, embedding_dim=0))
    for parameter in agent.parameters():
        torch.nn.init.normal_(parameter)
    some = torch.tensor([3, 1])
    alone = agent(features[:, some], None, some)
    assert torch.allclose(alone, agent(features, present, some), atol=1e-5)
    args = make_args()
    del args.identity
    assert DeepSetNetworkAgent(F, args).network.identity == "none"
