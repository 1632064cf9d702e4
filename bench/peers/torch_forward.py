"""The models that are served beside PyTorch on a GPU: a function for each kind, which returns a module and
an input of so many rows. See bench/lib/gpu-cases.mjs."""
from torch_models import Block, F, nn, torch


def mlp(rows, sizes):
    """A perceptron with ReLU between its layers."""
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), torch.randn(rows, sizes[0])


class EncoderLayer(Block):
    """A layer of a transformer's encoder with norms behind the sums, as in BERT."""

    def forward(self, x):
        rows, time, width = x.shape
        parts = self.qkv(x).split(width, 2)
        q, k, v = [z.view(rows, time, self.heads, -1).transpose(1, 2) for z in parts]
        y = F.scaled_dot_product_attention(q, k, v)
        x = self.norm1(x + self.out(y.transpose(1, 2).reshape(rows, time, width)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


def encoder(rows, layers, width, heads, time):
    """A transformer's encoder."""
    model = nn.Sequential(*[EncoderLayer(width, heads) for _ in range(layers)])
    return model, torch.randn(rows, time, width)


class NextToken(nn.Module):
    """A GPT that computes the logits of what follows the last token."""

    def __init__(self, layers, width, heads, time, characters):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(characters, width), nn.Embedding(time, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters, bias=False)

    def forward(self, x):
        y = self.norm(self.blocks(self.tokens(x) + self.positions.weight))
        return self.head(y[:, -1:])


def gpt(rows, layers, width, heads, time, characters):
    model = NextToken(layers, width, heads, time, characters)
    return model, torch.randint(0, characters, (rows, time))


FORWARDS = {"mlp": mlp, "encoder": encoder, "gpt": gpt}
