"""A learnt policy of what agents observe, for games whose local states may be too many for tables."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..controllers.observation_mac import LogitsSampler
from ..errors import UserError
from ..functional.checks import NotAPolicyError, require_policy
from ..functional.mean_field import Policy
from ..games import Game, PopulationGame
from ..modules.agents import DeepSetNetworkAgent
from ..modules.iterates import Iterates, as_weights
from ..modules.parameter_history import ParameterHistory
from ..modules.policy_history import OUTPUT_POLICIES

END_WITH_THEIR_AGENTS = ("one_hot", "own_network")  # identities that tell nothing of another population


@dataclass(frozen=True)
class ObservationPolicy:
    """pi(a | o_i), pi(a | o_i, m) or one of either for each agent; m is what a deep set sees of all agents.

    Attributes:
        name: ``last``, ``average`` or ``tail``.
        agent: the network, its own parameters those of the last iterate.
        members: parameters of the iterates that the policy is the mean of, [K, P].
        n_features, n_actions: F and A of the game that it was learnt in.
        n_agents: N there.
        identity: how an agent tells who it is, one of ``IDENTITIES``; ``none`` where all share the policy.
    """

    name: str
    agent: DeepSetNetworkAgent
    members: Tensor
    n_features: int
    n_actions: int
    n_agents: int
    identity: str

    @property
    def shares_policy(self) -> bool:
        """Whether all agents act by one policy of what they observe."""
        return self.identity == "none"

    def probabilities(self, features: Tensor) -> Tensor:
        """pi(. | o_i) of all agents, exactly: features [B, N, F] -> [B, N, A]."""
        rows = Iterates(self.agent, self.members).mean_policy(features, everyone(features))
        return require_policy(rows, name=f"the {self.name} policy")

    @torch.no_grad()
    def act(self, features: Tensor) -> Tensor:
        """Actions of all agents, drawn from torch's global generator: [B, N, F] -> [B, N] int64.

        Of a mean of iterates each agent plays one that it draws, see ``Iterates.drawn_logits``.

        Raises:
            NotAPolicyError: the network puts out NaN.
        """
        if len(self.members) == 1:
            logits = self.agent(features, everyone(features))
        else:
            logits = Iterates(self.agent, self.members).drawn_logits(features, everyone(features))
        if bool(logits.isnan().any()):
            raise NotAPolicyError(
                f"the {self.name} policy puts out NaN: nothing can be said of what it would do"
            )
        return LogitsSampler().select_action(logits)

    def on_cells(self, game: PopulationGame) -> Policy:
        """The same as a policy of local states, (h, nu [S]) -> [S, A], of a game where they are numbered.

        What a deep set sees of infinitely many agents is the mean of its feature over nu. Of agents who each
        have a policy it is the mean of these.
        """
        policy = self.within(game)
        states = torch.arange(game.n_states, device=game.device)

        @torch.no_grad()
        def rows(h: int, nu: Tensor) -> Tensor:
            progress = torch.full((1,), h / game.horizon, device=game.device)
            features = game.features(game.parts(states).unsqueeze(0), nu.float().unsqueeze(0), progress)
            return policy._of_cells(features[0], nu.float().to(game.device))

        return rows

    @property
    def others_matter(self) -> bool:
        """Whether what an agent does takes more to be known than what it observes."""
        return self.agent.population_dependent or not self.shares_policy

    @torch.no_grad()
    def last_of_some(self, features: Tensor, who: Tensor | None) -> Tensor:
        """The last iterate's rows of some agents.

        Args:
            features: of all agents, [B, N, F]; or of the agents asked for alone, where ``others_matter`` not.
            who: [B, k] int64; None for all of whom there are features.

        Returns:
            [B, k, A].
        """
        rows = torch.softmax(self.agent(features, everyone(features)), -1)
        return rows if who is None else rows.gather(1, who.unsqueeze(-1).expand(*who.shape, self.n_actions))

    def within(self, game: Game) -> "ObservationPolicy":
        """The policy for the agents of a game, who may be more or fewer than those of training.

        Raises:
            UserError: observations or actions of another number; or another number of agents, where
                identities end with those of training.
        """
        self.require_of(game)
        agent = copy.deepcopy(self.agent).to(game.device)
        agent.network.n_agents = game.n_agents
        return replace(self, agent=agent, members=self.members.to(game.device))

    def require_of(self, game: Game) -> None:
        """Refuse a game that the policy cannot play.

        Raises:
            UserError: observations or actions of another number; or another number of agents, where
                identities end with those of training.
        """
        if self.n_features != game.n_features:
            raise UserError(
                f"the policy was learnt from observations of {self.n_features} numbers, those of this game "
                f"have {game.n_features}: what they show (env_args.observe_density) must be as in training"
            )
        if self.n_actions != game.n_actions:
            raise UserError(
                f"the policy was learnt with {self.n_actions} actions, this game has {game.n_actions}"
            )
        if self.identity in END_WITH_THEIR_AGENTS and self.n_agents != game.n_agents:
            raise UserError(
                f"env_args.n_agents={game.n_agents}: the policy was learnt by {self.n_agents} agents that "
                f"know who they are (identity={self.identity}), and tells nothing of others; a policy of "
                "identity=none plays among any number"
            )

    def _of_cells(self, features: Tensor, nu: Tensor) -> Tensor:
        """Mean over the iterates of what an agent in each cell does: [S, F] and nu [S] -> [S, A]."""
        network = _OnCells(self.agent)
        total = torch.zeros((), device=features.device)
        for vector in self.members:
            weights = as_weights(network, vector)
            total = total + torch.func.functional_call(network, weights, (features, nu))
        return total / len(self.members)


def everyone(features: Tensor) -> Tensor:
    """That all agents are there: features [..., N, F] -> [..., N] bool."""
    return torch.ones((), dtype=torch.bool, device=features.device).expand(features.shape[:-1])


class _OnCells(torch.nn.Module):
    """The policy of an agent that is in each local state, against a distribution over them."""

    def __init__(self, agent: DeepSetNetworkAgent) -> None:
        super().__init__()
        self.network = agent.network

    def forward(self, features: Tensor, nu: Tensor) -> Tensor:
        """[S, F] and nu [S] -> the mean over agents of the rows [S, A]."""
        n_states, network = len(nu), self.network
        alone = features.unsqueeze(1)  # [S, 1, F], everyone of a state in one place
        of_each = network.embed(alone, torch.ones(n_states, 1, dtype=torch.bool, device=nu.device))  # [S, E]
        embedding = None if of_each is None else (nu @ of_each).expand(n_states, -1)
        n_rows = 1 if network.identity == "none" else network.n_agents
        logits = network(alone.expand(-1, n_rows, -1), embedding=embedding, agents=None)  # [S, N or 1, A]
        return torch.softmax(logits, -1).mean(1)


def read_observation_policies(folder: Path, saved: dict[str, Any]) -> dict[str, ObservationPolicy]:
    """The policies that can be made of what a checkpoint keeps, by name.

    Args:
        folder: of the checkpoint.
        saved: the contents of its policy.th: ``meta``, and the iterates kept (None for the last alone).
    """
    meta = saved["meta"]
    agent = DeepSetNetworkAgent(meta["n_features"], SimpleNamespace(**meta))
    agent.load_state_dict(torch.load(folder / "agent.th", map_location="cpu", weights_only=True))
    last = torch.nn.utils.parameters_to_vector(agent.parameters()).detach().unsqueeze(0)
    members = {"last": last}
    if saved["history"] is not None:
        history = ParameterHistory(meta["output_policy"])
        history.load_state_dict(saved["history"])
        members |= {name: history.members(name) for name in history.kept()}
    sizes = {key: meta[key] for key in ("n_features", "n_actions", "n_agents", "identity")}
    return {
        name: ObservationPolicy(name, agent, members[name], **sizes)
        for name in OUTPUT_POLICIES
        if name in members
    }
