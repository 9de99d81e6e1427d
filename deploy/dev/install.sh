#!/usr/bin/env bash
# Installs what tests and the development stack need and what is missing:
# Debian's packages, and tools from the Go module proxy into .tools/bin. Does
# nothing that is done already. Needs Go, and root or sudo for packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p .tools/bin
export GOBIN="$PWD/.tools/bin"

need=()
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || need+=(postgresql)
command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || need+=(mariadb-server)
command -v gcc >/dev/null || need+=(gcc libc6-dev) # the race detector needs it
command -v chromium >/dev/null || need+=(chromium) # the pages are tried in a real browser
command -v sqlsmith >/dev/null || need+=(sqlsmith) # a fuzzer of PostgreSQL
command -v rsyslogd >/dev/null || [ -x /usr/sbin/rsyslogd ] || need+=(rsyslog) # a receiver of forwarded records
ls /usr/lib/*/rsyslog/lmnsd_ossl.so >/dev/null 2>&1 || need+=(rsyslog-openssl)
python3 -m venv --help >/dev/null 2>&1 || need+=(python3-venv)
command -v javac >/dev/null || need+=(default-jdk-headless) # HL7's FHIR validator
command -v mvn >/dev/null || need+=(maven)
if [ ${#need[@]} -gt 0 ]; then
  echo "installing ${need[*]} …"
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${need[@]}" >.tools/apt.log 2>&1 ||
    { tail -n 20 .tools/apt.log; exit 1; }
fi

tool() { # name, module path, version
  if [ ! -x ".tools/bin/$1" ] || [ ! -e ".tools/$1-$3" ]; then
    echo "installing $1 $3 …"
    go install "$2@$3"
    touch ".tools/$1-$3"
  fi
}
tool versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
tool victoria-logs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs v1.52.1 # speaks Splunk's HEC
tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
tool staticcheck honnef.co/go/tools/cmd/staticcheck v0.8.2
tool litewitness filippo.io/torchwood/cmd/litewitness v0.9.0 # a witness that is not ours

# toxiproxy's server is a command called "server".
if [ ! -x .tools/bin/toxiproxy-server ] || [ ! -e .tools/toxiproxy-server-v2.12.0 ]; then
  echo "installing toxiproxy-server v2.12.0 …"
  GOBIN="$PWD/.tools/toxiproxy" go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
  mv .tools/toxiproxy/server .tools/bin/toxiproxy-server
  touch .tools/toxiproxy-server-v2.12.0
fi

# The trimmed Vault is its own module: heavy, and never linked into the product.
if [ ! -x .tools/bin/vaultd ] || [ -n "$(find internal/testenv/vaultd -newer .tools/bin/vaultd -type f)" ]; then
  echo "building the Vault test server (minutes, the first time) …"
  go build -C internal/testenv/vaultd -o "$GOBIN/vaultd" .
fi

# So is the OpenTelemetry Collector's OTLP receiver.
if [ ! -x .tools/bin/otelcold ] || [ -n "$(find internal/testenv/otelcold -newer .tools/bin/otelcold -type f)" ]; then
  echo "building the OTLP test server …"
  go build -C internal/testenv/otelcold -o "$GOBIN/otelcold" .
fi

if [ ! -x .tools/venv/bin/python ] || ! cmp -s tools/python/requirements-test.txt .tools/venv/requirements; then
  echo "installing Python's test tools …"
  python3 -m venv .tools/venv
  .tools/venv/bin/pip install -q -r tools/python/requirements-test.txt
  cp tools/python/requirements-test.txt .tools/venv/requirements
fi

# The validators of exports: OCSF's published schema, and HL7's FHIR validator (150 MB of jars, the first time).
if [ ! -x .tools/bin/ocsf-validate ] || ! cmp -s internal/testenv/ocsfvalidator/requirements.txt .tools/ocsf/requirements; then
  echo "installing the validator of OCSF events …"
  python3 -m venv .tools/ocsf
  .tools/ocsf/bin/pip install -q -r internal/testenv/ocsfvalidator/requirements.txt
  printf '#!/bin/sh\nexec "%s/.tools/ocsf/bin/python" "%s/internal/testenv/ocsfvalidator/validate.py"\n' "$PWD" "$PWD" >.tools/bin/ocsf-validate
  chmod +x .tools/bin/ocsf-validate
  cp internal/testenv/ocsfvalidator/requirements.txt .tools/ocsf/requirements
fi

fhir=internal/testenv/fhirvalidator
if [ ! -x .tools/bin/fhir-validate ] || ! cat $fhir/pom.xml $fhir/Validate.java | cmp -s - .tools/fhir/source; then
  echo "installing HL7's FHIR validator …"
  rm -rf .tools/fhir
  mvn -q -B -f $fhir/pom.xml dependency:copy-dependencies "-DoutputDirectory=$PWD/.tools/fhir/lib"
  javac -cp '.tools/fhir/lib/*' -d .tools/fhir $fhir/Validate.java
  printf '#!/bin/sh\nexec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "%s/.tools/fhir:%s/.tools/fhir/lib/*" Validate "$@"\n' "$PWD" "$PWD" >.tools/bin/fhir-validate
  chmod +x .tools/bin/fhir-validate
  cat $fhir/pom.xml $fhir/Validate.java >.tools/fhir/source
fi
