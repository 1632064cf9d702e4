#!/usr/bin/env bash
# Runs compute-sanitizer over the tests that sanitize.list names. Usage: sanitize.sh TESTS OUT TOOL
# TESTS: the program tandem_cuda_tests, TOOL: memcheck or racecheck. Several tests at once (TANDEM_SANITIZE_JOBS, 4), each
# in a process of its own; a line a test, the logs in OUT/TOOL/, at last `TOOL: N passed, N failed, N left out`.
# Exit code 127 where compute-sanitizer or TESTS is missing and 77 without a GPU: then nothing was tested, and it says so.
set -u
list="$(dirname "$0")/sanitize.list"
tests=$1
tool=$3
logs=$2/$tool
case $tool in
  # the whole of cuBLASLt's kernels would take most of the time
  memcheck) column=2 options="--kernel-name-exclude kns=cutlass" ;;
  # races are those of shared memory, which it cannot follow through cuBLASLt's kernels: only ours, by their namespace
  racecheck) column=3 options="--kernel-name kns=tandem" ;;
  *)
    echo "expected memcheck or racecheck, received $tool"
    exit 2
    ;;
esac
nothing() {
  echo "$tool: nothing tested: $1"
  exit "$2"
}
[[ -x $tests ]] || nothing "tandem_cuda_tests is not built" 127
command -v compute-sanitizer >/dev/null || nothing "compute-sanitizer is missing" 127
answer=$("$tests" "=no test")
status=$?
if ((status == 77)); then nothing "${answer#nothing tested: }" 77; fi
mkdir -p "$logs"

# check NAME SECONDS: passes where that one test ran to its end and the tool found nothing
check() {
  local log=$logs/$1.log status=0 start=$SECONDS
  # shellcheck disable=SC2086 # an option and its value
  timeout -k 5 "$2" compute-sanitizer --tool "$tool" --error-exitcode 9 $options "$tests" "=$1" >"$log" 2>&1 || status=$?
  if ((status == 124 || status == 137)); then
    echo "not ok $1: not done within $2 s"
  elif ((status != 0)); then
    echo "not ok $1: exit code $status: $log"
  elif ! grep -qx '1 passed, 0 failed' "$log"; then
    echo "not ok $1: there is no such test"
  else
    echo "ok $1 ($((SECONDS - start)) s)"
  fi
}
export -f check
export tests tool logs options

awk -v column=$column '!/^#/ && NF && $column != "-" { print $1, $column }' "$list" |
  xargs -r -L 1 -P "${TANDEM_SANITIZE_JOBS:-4}" bash -c 'check "$@"' check | tee "$logs.results"
awk -v column=$column '!/^#/ && NF && $column == "-" { $2 = $3 = ""; print "left out " $0 }' "$list" | tr -s ' '
passed=$(grep -c '^ok ' "$logs.results")
failed=$(grep -c '^not ok ' "$logs.results")
left=$(awk -v column=$column '!/^#/ && NF && $column == "-"' "$list" | wc -l)
echo "$tool: $passed passed, $failed failed, $left left out"
((failed == 0 && passed > 0))
