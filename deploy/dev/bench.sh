#!/usr/bin/env bash
# Measures the gateway against pgx alone and against Vault by hand, on the
# development stack, and prints one table.
set -euo pipefail
cd "$(dirname "$0")/../.."
go run ./cmd/chaperone-stack up >/dev/null
# shellcheck disable=SC1091
. .stack/env
go run ./tools/bench "$@"
