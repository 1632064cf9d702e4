"""The workloads in PyTorch: a function for each kind, which returns what a training step needs."""
try:
    import torch
except ImportError:
    import torch_compat  # noqa: F401
    import torch
import torch.nn as nn
import torch.nn.functional as F


def mlp(batch, sizes):
    """A perceptron with ReLU between its layers: a function of the loss, its inputs, the optimizer."""
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(sizes) - 2:
            layers.append(nn.ReLU())
    model = nn.Sequential(*layers)
    x = torch.randn(batch, sizes[0])
    y = torch.randint(0, sizes[-1], (batch,))

    def loss(x, y):
        return F.cross_entropy(model(x), y)

    return loss, (x, y), torch.optim.Adam(model.parameters(), 1e-3, fused=True)


def feed_forward(batch, width, blocks):
    """The linear layers of a transformer's feed-forward parts, with GELU within each."""
    layers = []
    for _ in range(blocks):
        layers += [nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)]
    model = nn.Sequential(*layers)
    x = torch.randn(batch, width)
    y = torch.randint(0, width, (batch,))

    def loss(x, y):
        return F.cross_entropy(model(x), y)

    return loss, (x, y), torch.optim.AdamW(model.parameters(), 1e-4, fused=True)


KINDS = {"mlp": mlp, "feed_forward": feed_forward}
