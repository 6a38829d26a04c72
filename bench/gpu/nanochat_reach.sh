#!/usr/bin/env bash
# Time to nanochat's bits per byte on one GPU. Usage: nanochat_reach.sh CHECKOUT DATA [more flags]
# (--depth 8, --ours 300 and so on; ours is as long as --ours says, fixed in advance)
set -euo pipefail
checkout="$1"; data="$2"; shift 2
exec python "$(dirname "$0")/../reach.py" --nanochat "$checkout" --data "$data" --device cuda \
    --depth 6 --vocab 32768 --time 1024 --steps 200 --peer-batch 262144 --peer-micro 65536 \
    --ours 200 --our-batch 131072 --flags=--compile "$@"
