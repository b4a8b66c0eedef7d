"""PyTorch: nn.RNN, nn.LSTM or nn.GRU over the whole sequence, eager mode."""

import torch
from torch import nn

NAME = "PyTorch"
CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Network(nn.Module):
    """The recurrence and a linear readout of its last output."""

    def __init__(self, cell, input_size, num_units, num_classes):
        super().__init__()
        self.rnn = CELLS[cell](input_size, num_units, batch_first=True)
        self.readout = nn.Linear(num_units, num_classes)

    def forward(self, inputs):
        outputs, _ = self.rnn(inputs)
        return self.readout(outputs[:, -1])


class Peer:
    """Trains on the task's batches in turn."""

    def __init__(self, task):
        self.network = Network(task.cell, task.input_size, task.num_units, 10)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=task.learning_rate
        )
        self.compute_loss = nn.CrossEntropyLoss()
        self.batches = [
            (torch.from_numpy(inputs), torch.from_numpy(labels).long())
            for inputs, labels in task.batches
        ]
        self._set_weights(task)

    def _set_weights(self, task):
        """Gates in PyTorch's order: LSTM i, f, j, o; GRU r, u, candidate."""
        kernel, bias = task.gates()
        order = {"lstm": [0, 2, 1, 3]}.get(task.cell, range(len(kernel)))
        kernel = torch.cat([torch.from_numpy(kernel[i]).T for i in order])
        bias = torch.cat([torch.from_numpy(bias[i]) for i in order])
        with torch.no_grad():
            self.network.rnn.weight_ih_l0.copy_(kernel[:, : task.input_size])
            self.network.rnn.weight_hh_l0.copy_(kernel[:, task.input_size :])
            self.network.rnn.bias_ih_l0.copy_(bias)
            self.network.rnn.bias_hh_l0.zero_()
            self.network.readout.weight.copy_(torch.from_numpy(task.readout[0].T))
            self.network.readout.bias.copy_(torch.from_numpy(task.readout[1]))

    def train(self, num_steps):
        """Does `num_steps` updates; returns the first one's loss."""
        for step in range(num_steps):
            inputs, labels = self.batches[step % len(self.batches)]
            self.optimizer.zero_grad()
            loss = self.compute_loss(self.network(inputs), labels)
            loss.backward()
            self.optimizer.step()
            if step == 0:
                first = loss.item()
        return first

    def logits(self, inputs):
        """The logits of all images, `[num_images, 10]`."""
        with torch.no_grad():
            return self.network(torch.from_numpy(inputs))
