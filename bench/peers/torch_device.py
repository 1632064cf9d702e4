"""Times PyTorch's training steps and predictions on a device: reads requests as JSON lines, writes
answers. See torch-device.mjs. Usage: torch_device.py cuda|cpu [THREADS]
THREADS, 1 by default, are those that a compiler may use: several processes compile at one time.

Modes: 'eager'; 'graph', a whole step or prediction captured as one CUDA graph; 'compile'; and
'reduce-overhead', torch.compile with CUDA graphs of its own.
"""
import gc
import json
import math
import os
import sys
import time

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", (sys.argv + ["1"])[2])

from torch_models import KINDS, torch  # noqa: E402
from torch_forward import FORWARDS  # noqa: E402

DEVICE = sys.argv[1]
ON_GPU = DEVICE == "cuda"
TYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "bf16-mixed": torch.bfloat16,
    "fp16-mixed": torch.float16,
}
# Products in float32 are float32 on all sides; by default PyTorch rounds factors of convolutions.
torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False


def synchronize():
    if ON_GPU:
        torch.cuda.synchronize()


def compiled(function, mode):
    if mode in ("eager", "graph"):
        return function
    return torch.compile(function, mode=None if mode == "compile" else mode)


def captured(run, before=lambda: None):
    """`run` as one CUDA graph, and the value that it gave."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    before()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = run()

    def replay():
        graph.replay()
        return value

    replay.run = run  # the graph works on memory of what `run` holds
    return replay


def training(model, batch, precision, mode):
    """A function that takes a step and returns its loss on the device."""
    arguments = dict(model)
    kind = arguments.pop("kind")
    with torch.device(DEVICE):
        loss, inputs, optimizer = KINDS[kind](batch, **arguments)
    for group in optimizer.param_groups:
        group["capturable"] = ON_GPU and mode == "graph"
    loss = compiled(loss, mode)
    mixed = precision != "float32"

    def step():
        optimizer.zero_grad(set_to_none=True)
        if mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(DEVICE, TYPES[precision] if mixed else None, mixed, mode != "graph"):
            value = loss(*inputs)
        value.backward()
        optimizer.step()
        return value.detach()

    if mode != "graph":
        return step
    return captured(step, lambda: optimizer.zero_grad(set_to_none=True))


def prediction(model, batch, precision, mode):
    """A function that predicts from an input of the host to an output of the host, both pinned."""
    arguments = dict(model)
    kind, dtype = arguments.pop("kind"), TYPES[precision]
    with torch.device(DEVICE):
        module, x = FORWARDS[kind](batch, **arguments)
    module = module.to(dtype).eval().requires_grad_(False)
    x = x.to(dtype) if x.is_floating_point() else x
    pin = (lambda one: one.pin_memory()) if ON_GPU else (lambda one: one)
    host_x, call = pin(x.cpu()), compiled(module, mode)
    with torch.no_grad():
        host_y = pin(module(x).cpu())

    def run():
        if mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.no_grad():
            x.copy_(host_x, non_blocking=True)
            host_y.copy_(call(x), non_blocking=True)

    return captured(run) if mode == "graph" else run


def measure(run, seconds):
    """Milliseconds of a call that is waited for, its loss read: `p50` and `p99`; of one in a row of
    calls that wait for nothing: `flow`; and of the processor in these: `cpu`."""
    for _ in range(2):
        run()
    synchronize()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        value = run()
        if value is None:
            synchronize()
        else:
            float(value)
        times.append(time.perf_counter() - start)
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1e3  # noqa: E731
    count = max(3, math.ceil(seconds / times[len(times) // 2]))
    synchronize()
    start, used = time.perf_counter(), time.process_time()
    for _ in range(count):
        run()
    synchronize()
    flow, cpu = time.perf_counter() - start, time.process_time() - used
    return {"p50": at(0.5), "p99": at(0.99), "flow": flow / count * 1e3, "cpu": cpu / count * 1e3}


def release():
    """Gives back memory that others on the device may need, where it is much."""
    gc.collect()
    if ON_GPU and torch.cuda.memory_reserved() > 4 << 30:
        torch.cuda.empty_cache()


def prepare(request):
    """Processes that compile run their first steps at one time: memory may be short for a while."""
    make = prediction if request["task"] == "predict" else training
    for tries in range(3):
        torch.manual_seed(0)
        try:
            run = make(*(request[name] for name in ("model", "batch", "precision", "mode")))
            measure(run, 0.0)
            return run
        except torch.OutOfMemoryError:
            if tries == 2:
                raise
        run = None
        release()
        time.sleep(10)
    raise AssertionError


def answer(request, runs):
    key = request["key"]
    if request["op"] == "prepare":
        runs[key] = prepare(request)
        found = {}
    elif request["op"] == "measure":
        found = measure(runs[key], request["seconds"])
    else:
        runs.pop(key, None)
        found = {}
    release()
    return found


def main():
    name = torch.cuda.get_device_name(0) if ON_GPU else "cpu"
    print(json.dumps({"version": torch.__version__, "device": name}), flush=True)
    runs = {}
    for line in sys.stdin:
        try:
            found = answer(json.loads(line), runs)
        except Exception as error:  # torch.compile needs more than PyTorch itself does
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":  # workers of torch.compile import this file again
    main()
