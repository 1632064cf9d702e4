"""Times PyTorch's training steps: reads requests as JSON lines, writes answers. See torch.mjs."""
import json
import sys
import time

from torch_models import KINDS, torch


def make_step(request):
    torch.manual_seed(0)
    arguments = dict(request["model"])
    loss, inputs, optimizer = KINDS[arguments.pop("kind")](request["batch"], **arguments)
    if request["mode"] == "compile":
        torch._dynamo.reset()
        loss = torch.compile(loss)

    mixed = request["precision"] == "bf16-mixed"

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            value = loss(*inputs)
        value.backward()
        optimizer.step()

    return step


def measure(step, seconds):
    """Milliseconds of a step: the median and the 99th percentile."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1e3  # noqa: E731
    return {"p50": at(0.5), "p99": at(0.99)}


steps = {}
print(json.dumps({"version": torch.__version__}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    key = json.dumps([request[name] for name in ("model", "batch", "precision", "mode", "threads")])
    torch.set_num_threads(request["threads"])
    try:
        if key not in steps:
            steps[key] = make_step(request)
            measure(steps[key], 0.3)
        answer = measure(steps[key], request["seconds"])
    except Exception as error:  # torch.compile needs more than PyTorch itself does
        answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    print(json.dumps(answer), flush=True)
