#!/usr/bin/env bash
# Everything about the CUDA backend that needs a GPU, in one command, on a machine that has one with nvcc,
# CMake and Ninja; Node for part js alone. Usage: check.sh [OUT] [PART...]
# Parts: test js sanitize bench; all of them by default.
# Builds in build-gpu/, or takes what pack.mjs has put there and beside it; writes OUT/gpu.json (out/ by default) with
# what passed and what was measured, and the logs beside it. Every part runs whatever the ones before it found.
set -u
cd "$(dirname "$0")/../.." || exit 1
out=$(mkdir -p "${1:-out}" && cd "${1:-out}" && pwd) || exit 1
asked=" ${*:2} "
build=build-gpu
failed=0

# wanted PART, or PART by name
named() { [[ $asked == *" $1 "* ]]; }
wanted() { named "$1" || named all || [[ -z ${asked// /} ]]; }

# record NAME STATUS: one line of the parts that gpu.json will hold
parts=()
record() {
  parts+=("\"$1\": $2")
  if ((${2} != 0)); then failed=1; fi
}

if [[ -x bin/node ]]; then
  export TANDEM_CUDA_LIBRARY=$PWD/build/Release/libtandem_cuda.so PATH=$PWD/bin:$PATH
else
  echo "=== build"
  cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DTANDEM_BUILD_ADDON=OFF \
    -DTANDEM_BUILD_CUDA=ON -DTANDEM_BUILD_CUDA_TESTS=ON \
    ${TANDEM_CUDA_ARCHITECTURES:+-DTANDEM_CUDA_ARCHITECTURES="$TANDEM_CUDA_ARCHITECTURES"} \
    >"$out/build.log" 2>&1 &&
    cmake --build $build --target tandem_cuda_tests tandem_cuda_bench --parallel "$(nproc)" >>"$out/build.log" 2>&1
  record build $?
  tail -n 3 "$out/build.log"
  export TANDEM_CUDA_LIBRARY=$PWD/$build/Release/libtandem_cuda.so
fi

tests=$(find $build -name tandem_cuda_tests -type f 2>/dev/null | head -n 1)
bench=$(find $build -name tandem_cuda_bench -type f 2>/dev/null | head -n 1)

if wanted test && [[ -n $tests ]]; then
  echo "=== tests"
  timeout 300 "$tests" 2>&1 | tee "$out/tests.log" | tail -n 40
  record tests "${PIPESTATUS[0]}"
elif wanted test; then
  echo "=== tests: nothing tested: tandem_cuda_tests is not built"
  record tests 127
fi

# `npm run build` and `npm run build:cuda` make what these need, where Node is
if wanted js && command -v node >/dev/null && [[ -d dist ]]; then
  echo "=== checks from JavaScript"
  timeout 300 node test/gpu/run.mjs 2>&1 | tee "$out/js.log"
  record js "${PIPESTATUS[0]}"
elif named js; then
  echo "=== checks from JavaScript: Node or dist/ is missing"
  record js 127
fi

if wanted sanitize; then
  for tool in memcheck racecheck; do
    echo "=== compute-sanitizer $tool"
    bash scripts/gpu/sanitize.sh "$tests" "$out" $tool
    record $tool $?
  done
fi

results='null'
if wanted bench && [[ -n $bench ]]; then
  echo "=== benchmarks"
  timeout 300 "$bench" >"$out/bench.json" 2>"$out/bench.log"
  status=$?
  record bench $status
  if ((status == 0)); then results=$(<"$out/bench.json"); fi
  cat "$out/bench.json" "$out/bench.log"
fi

gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)
{
  printf '{\n"gpu": "%s",\n"date": "%s",\n' "${gpu:-none}" "$(date -u +%FT%TZ)"
  printf '"exitCodes": {%s},\n' "$(
    IFS=,
    echo "${parts[*]}"
  )"
  printf '"bench": %s\n}\n' "$results"
} >"$out/gpu.json"
echo "=== $out/gpu.json"
exit $failed
