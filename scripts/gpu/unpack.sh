#!/usr/bin/env bash
# Unpacks what pack.mjs made into a folder and runs it there, on a machine with a GPU and no Node.
# Usage: unpack.sh BUNDLE DIR [OUT] [PART...], as check.sh has them
set -eu
bundle=$1
dir=$2
out=$(mkdir -p "${3:-out}" && cd "${3:-out}" && pwd)
mkdir -p "$dir"
tar -xJf "$bundle" -C "$dir"
exec bash "$dir/scripts/gpu/check.sh" "$out" "${@:4}"
