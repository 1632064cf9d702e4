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


class Block(nn.Module):
    """A block of a GPT with its normalisations in front."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, time, width = x.shape
        parts = self.qkv(self.norm1(x)).split(width, 2)
        q, k, v = [z.view(batch, time, self.heads, -1).transpose(1, 2) for z in parts]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def gpt(batch, layers, width, heads, time, characters):
    """A model of characters: a function of the loss, its inputs, the optimizer."""
    tokens, positions = nn.Embedding(characters, width), nn.Embedding(time, width)
    blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
    norm, head = nn.LayerNorm(width), nn.Linear(width, characters, bias=False)
    parts = nn.ModuleList([tokens, positions, blocks, norm, head])
    x = torch.randint(0, characters, (batch, time))
    y = torch.randint(0, characters, (batch, time))

    def loss(x, y):
        logits = head(norm(blocks(tokens(x) + positions.weight)))
        return F.cross_entropy(logits.view(-1, characters), y.view(-1))

    return loss, (x, y), torch.optim.AdamW(parts.parameters(), 1e-3, fused=True)


def cnn(batch):
    """Two convolutions with normalisation and pooling, then a perceptron."""

    def block(channels, filters):
        conv = nn.Conv2d(channels, filters, 3, padding=1)
        return [conv, nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]

    dense = [nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)]
    model = nn.Sequential(*block(1, 32), *block(32, 64), *dense)
    x = torch.randn(batch, 1, 28, 28)
    y = torch.randint(0, 10, (batch,))

    def loss(x, y):
        return F.cross_entropy(model(x), y)

    return loss, (x, y), torch.optim.Adam(model.parameters(), 1e-3, fused=True)


def recurrent(batch, layer, time, inputs, units, classes):
    """The last state of a recurrent layer, classified."""
    states = {"lstm": nn.LSTM, "gru": nn.GRU}[layer](inputs, units, batch_first=True)
    head = nn.Linear(units, classes)
    x = torch.randn(batch, time, inputs)
    y = torch.randint(0, classes, (batch,))

    def loss(x, y):
        return F.cross_entropy(head(states(x)[0][:, -1]), y)

    parameters = [*states.parameters(), *head.parameters()]
    return loss, (x, y), torch.optim.Adam(parameters, 1e-3, fused=True)


KINDS = {
    "mlp": mlp,
    "cnn": cnn,
    "feed_forward": feed_forward,
    "gpt": gpt,
    "recurrent": recurrent,
}
