"""The recurrent agent."""

from types import SimpleNamespace

from torch import Tensor, nn
from torch.nn import functional as F


class RNNAgent(nn.Module):
    """Linear, GRU cell (a linear layer when `use_rnn` is off), linear; rectified between.

    Args:
        input_shape: length of an input.
        args: ``hidden_dim``, ``use_rnn``, ``n_actions``.

    Attributes:
        reads: what it is given, see ``utils/registries.py``.
        recurrent: whether outputs depend on the hidden state.
    """

    reads = "observations"

    def __init__(self, input_shape: int, args: SimpleNamespace):
        super().__init__()
        self.hidden_dim = args.hidden_dim
        self.recurrent = args.use_rnn
        self.fc1 = nn.Linear(input_shape, args.hidden_dim)
        middle = nn.GRUCell if args.use_rnn else nn.Linear
        self.rnn = middle(args.hidden_dim, args.hidden_dim)
        self.fc2 = nn.Linear(args.hidden_dim, args.n_actions)

    def init_hidden(self) -> Tensor:
        """Zeros ``[1, H]`` where the parameters are."""
        return self.fc1.weight.new_zeros(1, self.hidden_dim)

    def forward(self, inputs: Tensor, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``[B * N, A]`` and the next hidden states ``[B * N, H]``.

        Args:
            inputs: ``[B * N, in]``.
            hidden_state: ``[B * N, H]``, or any shape of as many entries; not read unless recurrent.
        """
        x = F.relu(self.fc1(inputs))
        if self.recurrent:
            hidden = self.rnn(x, hidden_state.reshape(-1, self.hidden_dim))
        else:
            hidden = F.relu(self.rnn(x))
        return self.fc2(hidden), hidden
