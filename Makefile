# Two commands matter: `make demo` (the main job on embedded parts) and
# `make test` (installs what is missing, starts the real servers, runs all).

GO      ?= go
PYTHON  ?= python3
TOOLS   := $(CURDIR)/.tools
export PATH := $(TOOLS)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo demo-once test install lint go-test python-test up down bench build fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: ## tell the story on embedded parts, then leave the gateway up (Ctrl-C ends it)
	@$(GO) run ./cmd/chaperone-demo

demo-once: ## tell the story and exit; non-zero if any step went wrong
	@$(GO) run ./cmd/chaperone-demo --once

test: install ## install what is missing, start the real servers, run every test
	@deploy/dev/test.sh

install:
	@deploy/dev/install.sh

lint: install ## golangci-lint, staticcheck, vet, ruff, mypy
	@deploy/dev/lint.sh

up: install ## start the development stack (real servers and the gateway), write .stack/env
	@$(GO) run ./cmd/chaperone-stack up

down: ## stop the development stack
	@$(GO) run ./cmd/chaperone-stack down

bench: install ## measure against pgx alone and against Vault by hand; see docs/performance.md
	@deploy/dev/bench.sh

build: ## the production binary, static
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/chaperone ./cmd/chaperone

fmt: ## format Go and Python
	@gofmt -w $$(git ls-files '*.go')

clean: down ## remove everything that was built or started here
	@rm -rf .stack .tools bin
