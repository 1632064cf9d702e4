"""What PyTorch reaches on a GPU, named as by tandem_cuda_bench (bench/cuda/main.cpp) where that measures
the same: products, attention and passes over memory, of random data, timed by events of the device.

Prints the JSON document of bench/cuda/main.cpp, whose `results` are medians, with `best` beside them.
With --out the document is written anew after every number, so that a run that ends early leaves what it
has. Usage: torch_gpu.py [--device cuda|cpu] [--budget SECONDS] [--filter TEXT] [--quick] [--out FILE]
"""
import argparse
import json
import os
import statistics
import sys
import time

try:
    import torch
except ImportError:
    import torch_compat  # noqa: F401
    import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
parser.add_argument("--budget", type=float, default=60, help="seconds after which nothing new begins")
parser.add_argument("--filter", default="", help="only what has this in its name")
parser.add_argument("--quick", action="store_true", help="few runs")
parser.add_argument("--out", help="where the document goes as well")
args = parser.parse_args()

DEVICE = args.device
ON_GPU = DEVICE == "cuda"
RUNS = 5 if args.quick else 20
# On a CPU only to see that everything works: sizes are an eighth or less there.
CUBES = [1024, 4096, 8192] if ON_GPU else [64, 128]
TIMES = [(8, 1024), (2, 4096)] if ON_GPU else [(2, 64)]
MANY = 2**26 if ON_GPU else 2**18
END = time.monotonic() + args.budget
report = {"device": "", "version": torch.__version__, "results": {}, "best": {}, "notes": []}


def milliseconds(run):
    """The times of a call by the device's clock. A pause of the device goes before each call, so that
    it never waits for Python."""
    for _ in range(3):
        run()
    times = []
    for _ in range(RUNS):
        if ON_GPU:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            torch.cuda._sleep(300_000)
            begin.record()
            run()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
    return times


def save():
    if args.out:
        with open(args.out + ".part", "w") as file:
            json.dump(report, file, indent=2)
        os.replace(args.out + ".part", args.out)


def measure(name, amount, prepare):
    """Adds `amount` by the time of what `prepare` returns: of 10^9 a number is one a second. Operands
    are made only for names that are wanted."""
    if args.filter not in name:
        return
    if time.monotonic() > END:
        report["notes"].append(f"{name}: no time was left")
        return
    try:
        times = milliseconds(prepare())
        unit = 1e-9 if name.endswith("T/s") else 1e-6
        report["results"][name] = amount / statistics.median(times) * unit
        report["best"][name] = amount / min(times) * unit
        print(f"{name}: {report['results'][name]:.4g}", file=sys.stderr, flush=True)
    except Exception as error:  # what a version or a device lacks is left out
        report["notes"].append(f"{name}: {type(error).__name__}: {error}".splitlines()[0])
    if ON_GPU:
        torch.cuda.empty_cache()
    save()


def rand(*shape, dtype=torch.float32):
    return torch.randn(*shape, device=DEVICE).to(dtype)


def bytes_of(*shape):
    return torch.randint(-127, 128, shape, dtype=torch.int8, device=DEVICE)


def product(size, dtype, tf32):
    def prepare():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = rand(size, size, dtype=dtype), rand(size, size, dtype=dtype)
        out = torch.empty(size, size, dtype=dtype, device=DEVICE)
        return lambda: torch.mm(a, b.t(), out=out)

    return prepare


def int8_product(size):
    def prepare():
        a, b = bytes_of(size, size), bytes_of(size, size)
        return lambda: torch._int_mm(a, b.t())

    return prepare


def products():
    types = {
        "float32": (torch.float32, False),
        "tf32": (torch.float32, True),
        "bfloat16": (torch.bfloat16, False),
        "float16": (torch.float16, False),
    }
    for size in CUBES:
        for name, (dtype, tf32) in types.items():
            measure(f"product {name} {size}, T/s", 2 * size**3, product(size, dtype, tf32))
        measure(f"product int8 {size}, T/s", 2 * size**3, int8_product(size))
    torch.backends.cuda.matmul.allow_tf32 = False


def linear(m, n, k):
    """Layers of GPT-2: in bfloat16, and in bytes with the pass that makes floats of the sums."""
    work = 2 * m * n * k
    shape = f"{m} x {n} x {k}"

    def bfloat16():
        x, w, b = (rand(*s, dtype=torch.bfloat16) for s in ((m, k), (n, k), (n,)))
        return lambda: F.linear(x, w, b)

    def int8(compiled):
        x, w = bytes_of(m, k), bytes_of(n, k)
        scale, bias = torch.rand(n, device=DEVICE), rand(n)

        def run():
            return torch._int_mm(x, w.t()).float() * scale + bias

        return torch.compile(run) if compiled else run

    measure(f"linear bfloat16 {shape}, T/s", work, bfloat16)
    if m > 16:  # fewer rows torch._int_mm refuses
        measure(f"linear int8 {shape} by _int_mm and a pass, T/s", work, lambda: int8(False))
        if ON_GPU and not args.quick:
            measure(f"linear int8 {shape} by compiled _int_mm, T/s", work, lambda: int8(True))


def attention(batch, time_):
    """16 heads of 64, causal, bfloat16; half of the scores count."""
    heads, depth = 16, 64
    work = 2 * batch * heads * time_ * time_ * depth
    title = f"attention bfloat16 {batch}x{heads}x{time_}x{depth} causal"
    ways = {"": None}
    if ON_GPU:
        ways |= {" by flash": [SDPBackend.FLASH_ATTENTION], " by cuDNN": [SDPBackend.CUDNN_ATTENTION]}

    def operands():
        made = [rand(batch, heads, time_, depth, dtype=torch.bfloat16) for _ in range(3)]
        return [one.requires_grad_() for one in made]

    def attend(q, k, v, way):
        if way is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        with sdpa_kernel(way):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    for suffix, way in ways.items():

        def forward(way=way):
            q, k, v = (one.detach() for one in operands())
            return lambda: attend(q, k, v, way)

        def backward(way=way):
            q, k, v = operands()
            y = attend(q, k, v, way)
            dy = torch.randn_like(y)
            return lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)

        measure(f"{title}, forward{suffix}, T/s", work, forward)
        measure(f"{title}, backward{suffix}, T/s", 2.5 * work, backward)


def memory():
    rows = MANY // 1024

    def copy():
        x, y = rand(MANY), torch.empty(MANY, device=DEVICE)
        return lambda: y.copy_(x)

    def unary(function, *shape):
        def prepare():
            x = rand(*shape)
            return lambda: function(x)

        return prepare

    def add(*other):
        def prepare():
            x, y = rand(rows, 1024), rand(*other)
            out = torch.empty_like(x)
            return lambda: torch.add(x, y, out=out)

        return prepare

    def layer_norm():
        x, w, b = rand(rows, 1024), rand(1024), rand(1024)
        return lambda: F.layer_norm(x, (1024,), w, b)

    def layer_norm_grad():
        x, w, b = (rand(*s).requires_grad_() for s in ((rows, 1024), (1024,), (1024,)))
        y = F.layer_norm(x, (1024,), w, b)
        dy = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, (x, w, b), dy, retain_graph=True)

    def transpose():
        side = int(MANY**0.5)
        x = rand(side, side)
        return lambda: x.t().contiguous()

    def adamw():
        weight = rand(MANY).requires_grad_()
        weight.grad = rand(MANY)
        optimizer = torch.optim.AdamW([weight], 1e-3, weight_decay=0.01, fused=True)
        return optimizer.step

    flat = (rows, 1024)
    measure("copy by the runtime, GB/s", 8 * MANY, copy)
    measure("adamw, GB/s", 28 * MANY, adamw)
    measure("softmax of 1024, GB/s", 8 * MANY, unary(lambda x: F.softmax(x, 1), *flat))
    measure("layerNorm of 1024, GB/s", 8 * MANY, layer_norm)
    measure("layerNormGrad of 1024, GB/s", 12 * MANY, layer_norm_grad)
    measure("relu, GB/s", 8 * MANY, unary(F.relu, MANY))
    measure("gelu, GB/s", 8 * MANY, unary(F.gelu, MANY))
    measure("add, GB/s", 12 * MANY, add(rows, 1024))
    measure("add of a row, GB/s", 8 * MANY, add(1024))
    measure("dropout, GB/s", 8 * MANY, unary(lambda x: F.dropout(x, 0.1), MANY))
    measure("sum of rows, GB/s", 4 * MANY, unary(lambda x: x.sum(1), *flat))
    measure("sum of columns, GB/s", 4 * MANY, unary(lambda x: x.sum(0), *flat))
    measure("transpose, GB/s", 8 * MANY, transpose)


report["device"] = torch.cuda.get_device_name(0) if ON_GPU else "cpu"
products()
for batch_, time_ in TIMES:
    attention(batch_, time_)
memory()
LINEARS = [(1, 3072, 768), (128, 3072, 768), (4096, 3072, 768), (4096, 4096, 4096)]
for sizes in LINEARS if ON_GPU else [(32, 48, 64)]:
    linear(*sizes)
save()
print(json.dumps(report, indent=2))
