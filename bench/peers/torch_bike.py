"""Trains a model of examples/lib/bike.mjs in PyTorch, from the parameters in a file: reads the work
and the order of rows in a folder, prints the mean error of its forecasts. See bench/bike.mjs."""
import json
import pathlib
import struct
import sys

from torch_models import torch

nn = torch.nn
folder = pathlib.Path(sys.argv[1])
work = json.loads((folder / "work").read_text())
torch.set_num_threads(1)


def numbers(name, dtype, *shape):
    return torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=dtype).view(*shape)


def floats(name, *shape):
    return numbers(name, torch.float32, *shape)


def read_parameters(file):
    """The tensors of a safetensors file."""
    data = file.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        part = bytearray(data[start + begin : start + end])
        tensors[key] = torch.frombuffer(part, dtype=torch.float32).view(entry["shape"])
    return tensors


class Recurrent(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gru = nn.GRU(width, 32, batch_first=True)
        self.dense = nn.Linear(32, 1)

    def forward(self, x):
        return self.dense(self.gru(x)[0][:, -1])


def build(kind, width, start):
    if kind == "mlp":
        layers = [nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)]
        model = nn.Sequential(*layers)
        names = {"dense": "0", "dense_1": "2", "dense_2": "4"}
        rename = lambda key: names[key.split(".")[0]] + "." + key.split(".")[1]  # noqa: E731
    else:
        model = Recurrent(width)
        names = {"weightIh": "weight_ih_l0", "weightHh": "weight_hh_l0"}
        names |= {"biasIh": "bias_ih_l0", "biasHh": "bias_hh_l0"}
        rename = lambda key: ".".join(names.get(part, part) for part in key.split("."))  # noqa: E731
    model.load_state_dict({rename(key): value for key, value in start.items()})
    return model


def error():
    kind, shape = work["name"], work["shape"]
    model = build(kind, shape[-1], read_parameters(pathlib.Path(sys.argv[2])))
    optimizer = torch.optim.Adam(model.parameters(), work["learningRate"])
    x, y = floats("x", -1, *shape), floats("y", -1, 1)
    for order in numbers("order", torch.int32, work["fit"]["epochs"], len(x)).long():
        for rows in order.split(work["fit"]["batchSize"]):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        forecasts = model(floats("test", -1, *shape))[:, 0]
    rentals = (work["mean"] + work["deviation"] * forecasts).clamp(min=0)
    return (rentals - torch.tensor(work["counts"])).abs().mean().item()


print(error())
