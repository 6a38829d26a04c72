#!/usr/bin/env bash
# Tokens a second beside nanoGPT at GPT-2's 124M, on one GPU. Usage: nanogpt_124m.sh CHECKOUT [more flags]
set -euo pipefail
checkout="$1"; shift
exec python "$(dirname "$0")/../speed.py" --nanogpt "$checkout" --device cuda --depth 12 \
    --vocab 50304 --time 1024 --tokens 491520 --micro 12288 --rounds 3 --steps 5 --compile "$@"
