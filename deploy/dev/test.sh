#!/usr/bin/env bash
# Runs every test on real servers and prints a summary. A skipped test is a
# failure: what is missing must be said, not passed over.
set -uo pipefail
cd "$(dirname "$0")/../.."
stack=.tools/bin/chaperone-stack
go build -o "$stack" ./cmd/chaperone-stack || exit 1
failed=()
step() { # name, command…
  local name=$1 start=$SECONDS; shift
  echo "== $name"
  if "$@"; then echo "== $name: ok ($((SECONDS - start)) s)"; else failed+=("$name"); echo "== $name: FAILED"; fi
}
# go_tests runs go test and counts a skipped test as a failure.
go_tests() {
  local log status
  log=$(mktemp)
  "$stack" exec go test -timeout 15m "$@" 2>&1 | tee "$log" | grep --line-buffered -v 'no test files'
  status=${PIPESTATUS[0]}
  if grep -q -- '--- SKIP' "$log"; then echo "a test was skipped"; status=1; fi
  rm -f "$log"
  return "$status"
}
# The corpora run many statements one after another through code whose own tests
# run with the race detector; it would only slow them down.
corpora='/test/(noninterference|questions|clinicalsql)$'
race_tests() { go_tests -race $(go list ./... | grep -vE "/test/e2e\$|$corpora"); }
corpus_tests() { go_tests $(go list ./... | grep -E "$corpora"); }
e2e_tests() { go test -count=1 -timeout 15m ./test/e2e; }
python_tests() {
  "$stack" up || return 1
  # shellcheck disable=SC1091
  (. .stack/env && cd tools/python && ../../.tools/venv/bin/pytest)
  local status=$?
  "$stack" down
  return $status
}
step "lint" deploy/dev/lint.sh
step "Go tests, with the race detector, on real servers" race_tests
step "the corpora: noninterference, equivalence, honest questions, clinical SQL" corpus_tests
step "the six promises, end to end" e2e_tests
step "Python and CrewAI against the running gateway" python_tests
echo
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all tests passed"
