#!/usr/bin/env bash
# Tokens a second beside nanochat at depth 6, on one GPU. Usage: nanochat_d6.sh CHECKOUT [more flags]
set -euo pipefail
checkout="$1"; shift
exec python "$(dirname "$0")/../speed.py" --nanochat "$checkout" --device cuda --depth 6 \
    --vocab 32768 --time 1024 --tokens 262144 --micro 65536 --peer-micro 65536 \
    --rounds 3 --steps 10 --compile "$@"
