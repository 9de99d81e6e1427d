#!/usr/bin/env bash
# Measures what understanding, rewriting and masking cost; see docs/performance.md.
# It starts its own databases.
set -euo pipefail
cd "$(dirname "$0")/../.."
# One after the other: two at once would measure each other.
go test -p 1 -count=1 -run XXX -bench 'Analyze|Encode|Row|Maskers|Detectors' \
  ./connectors/postgres ./connectors/mysql ./gateway ./masking
go run ./tools/bench/masks "$@"
