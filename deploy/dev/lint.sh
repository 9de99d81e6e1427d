#!/usr/bin/env bash
# Everything that is checked without running it.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.tools/bin:$PATH"
test -z "$(gofmt -l $(git ls-files '*.go'))" || { echo "not formatted:"; gofmt -l $(git ls-files '*.go'); exit 1; }
go vet ./...
staticcheck ./...
golangci-lint run ./...
(cd tools/python && ../../.tools/venv/bin/ruff check . && ../../.tools/venv/bin/ruff format --check . && ../../.tools/venv/bin/mypy)
