"""Times PyTorch's training steps: reads requests as JSON lines, writes answers. See torch.mjs."""
import json
import sys
import time

try:
    import torch
except ImportError:
    import torch_compat  # noqa: F401
    import torch
import torch.nn as nn
import torch.nn.functional as F


def mlp(sizes):
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(sizes) - 2:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def make_step(sizes, batch, mode):
    torch.manual_seed(0)
    model = mlp(sizes)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    x = torch.randn(batch, sizes[0])
    y = torch.randint(0, sizes[-1], (batch,))

    def loss_of(x, y):
        return F.cross_entropy(model(x), y)

    loss = torch.compile(loss_of) if mode == "compile" else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(x, y).backward()
        optimizer.step()

    return step


def measure(step, seconds):
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    times.sort()
    return times[len(times) // 2] * 1e3


steps = {}
print(json.dumps({"version": torch.__version__}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    key = (tuple(request["sizes"]), request["batch"], request["mode"], request["threads"])
    torch.set_num_threads(request["threads"])
    try:
        if key not in steps:
            torch._dynamo.reset() if request["mode"] == "compile" else None
            steps[key] = make_step(request["sizes"], request["batch"], request["mode"])
            measure(steps[key], 0.3)
        answer = {"ms": measure(steps[key], request["seconds"])}
    except Exception as error:  # torch.compile needs more than PyTorch itself does
        answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(answer), flush=True)
