#!/usr/bin/env bash
# Tokens a second beside nanochat at depth 12, on one GPU. Usage: nanochat_d12.sh CHECKOUT [more flags]
set -euo pipefail
checkout="$1"; shift
exec python "$(dirname "$0")/../speed.py" --nanochat "$checkout" --device cuda --depth 12 \
    --vocab 32768 --time 2048 --tokens 524288 --micro 65536 --peer-micro 65536 \
    --rounds 3 --steps 10 --compile "$@"
